import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { CertificateDetail } from "../contract/certificates.ts";
import { mediaType } from "../contract/headers.ts";
import { issuerProfiles, type IssuedIssuer, type IssueIssuerRequest, type IssuerPage, type IssuerProfile } from "../contract/issuers.ts";
import { paths } from "../contract/paths.ts";
import type { Revocation } from "../contract/revocations.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { decodePem } from "../pki/pem.ts";
import { api, apiHelp, apiOptions, ApiError, type Api } from "./api.ts";
import { chooseAction, noMore, readArguments, required, revocationReason, seconds, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { renderManifest, secretManifest, secretScheme, type IssuerMaterial, type SecretScheme } from "./issuer-secret.ts";
import { invite } from "./issuer-invite.ts";
import { issuerRequests } from "./issuer-request.ts";
import { folderTarget, type IssuerTarget } from "./issuer-target.ts";
import { keepRenewed } from "./issuer-watch.ts";
import { kubernetesAccess, kubernetesOptions } from "./kubernetes.ts";
import { kubernetesTarget } from "./kubernetes-secret.ts";
import { output, type Output } from "./output.ts";
import { minute, table } from "./table.ts";

/**
 * `countersign issuer invite|issue|watch|list|revoke`.
 * @param stopped  resolves when the process is asked to end
 */
export async function issuer(args: readonly string[], io: CliIo, stopped: () => Promise<unknown>): Promise<number> {
  const { values, positionals: [action, ...rest] } = readArguments(args, { ...apiOptions, ...issuerOptions });
  if (values.help || action === undefined) {
    (values.help ? io.stdout : io.stderr)(usage);
    return values.help ? 0 : 2;
  }
  const out = output(values.output, io);
  const chosen = chooseAction("issuer", action, ["invite", "issue", "watch", "list", "revoke"]);
  if (chosen === "revoke") return revoke(values, rest, io, out);
  noMore(rest);
  switch (chosen) {
    case "invite": {
      const trustDomain = required(values["trust-domain"], "--trust-domain", "west.example");
      await invite(api(values, io), { trustDomain, unconstrained: values.unconstrained, dnsDomains: values["dns-domain"], ttl: values.ttl, tls: (values["ca-cert"] ?? io.env["COUNTERSIGN_CA_CERT"]) === "web" ? "web" : "spiffe" }, out);
      return 0;
    }
    case "issue": {
      const [request, scheme, folder] = [requestOf(values), schemeOf(values), values["out-dir"]];
      if (folder !== undefined && existsSync(join(folder, scheme.key))) {
        throw new ApiError(`${join(folder, scheme.key)} exists and is not overwritten; move it away or name another folder. "countersign issuer watch" replaces it.`);
      }
      await issue(values, scheme, await issuerRequests(api(values, io), request)(), out);
      return 0;
    }
    case "watch": return watch(values, io, stopped);
    case "list": {
      const page = await api(values, io).call<IssuerPage>("GET", `${paths.issuers}?limit=1000`);
      const rows = page.issuers.map((row) => [row.serialNumber, row.status, minute(row.notAfter).slice(5), row.trustDomain]);
      out.print(page.issuers, table(["SERIAL NUMBER", "STATUS", "UNTIL", "TRUST DOMAIN"], rows));
      return 0;
    }
  }
}

const issuerOptions = {
  for: { type: "string", default: "linkerd" },
  "trust-domain": { type: "string" },
  ttl: { type: "string" },
  unconstrained: { type: "boolean", default: false },
  "renew-before": { type: "string", default: "25h" },
  "dns-domain": { type: "string", multiple: true },
  secret: { type: "string" },
  name: { type: "string", default: "linkerd-identity-issuer" },
  namespace: { type: "string", default: "linkerd" },
  "out-dir": { type: "string" },
  once: { type: "boolean", default: false },
  reason: { type: "string", default: "unspecified" },
  ...kubernetesOptions,
} as const;

interface Flags {
  readonly for: string;
  readonly "trust-domain"?: string | undefined;
  readonly ttl?: string | undefined;
  readonly "renew-before": string;
  readonly "dns-domain"?: readonly string[] | undefined;
  readonly secret?: string | undefined;
  readonly name: string;
  readonly namespace: string;
  readonly "out-dir"?: string | undefined;
  readonly once: boolean;
  readonly reason: string;
  readonly "kube-url"?: string | undefined;
  readonly "kube-token-file"?: string | undefined;
  readonly "kube-ca-file"?: string | undefined;
}

async function issue(flags: Flags, scheme: SecretScheme, material: IssuerMaterial & IssuedIssuer, out: Output): Promise<void> {
  const folder = flags["out-dir"];
  const { key: _key, ...issued } = material;
  if (folder === undefined) {
    // The Secret is the result, key and all, for `kubectl apply -f -`; -o json is the same in JSON.
    const manifest = secretManifest(scheme, flags, material);
    out.print(manifest, renderManifest(manifest));
  } else {
    await folderTarget(folder, scheme).write(material);
    out.print(issued, `${issued.serialNumber}\n`);
  }
  out.explain(`An issuer for ${issued.trustDomain}, valid until ${minute(issued.notAfter)}.\n`);
}

async function watch(flags: Flags, io: CliIo, stopped: () => Promise<unknown>): Promise<number> {
  const [request, scheme] = [requestOf(flags), schemeOf(flags)];
  const renewBeforeMs = seconds(flags["renew-before"], "--renew-before") * 1000;
  if (renewBeforeMs >= (request.lifetimeSeconds ?? defaultLifetimeSeconds) * 1000) {
    throw new UsageError("--renew-before is not shorter than the issuer's lifetime: it would be renewed again and again.");
  }
  const target = targetOf(flags, scheme, io);
  const client = api(flags as Parameters<typeof api>[0], io);
  const ending = new AbortController();
  if (!flags.once) void stopped().then(() => ending.abort());
  return keepRenewed({
    target,
    issue: issuerRequests(client, request),
    anchors: async () => decodePem(await client.fetchPublic(paths.bundle, mediaType.pem), "CERTIFICATE").map(parseCertificate),
    isRevoked: (serialNumber) => isRevoked(client, serialNumber),
    say: io.stderr, now: Date.now, random: Math.random,
    pause: (ms) => setTimeout(ms, false, { signal: ending.signal }).catch(() => true),
  }, { renewBeforeMs, once: flags.once });
}

async function revoke(flags: Flags, rest: readonly string[], io: CliIo, out: Output): Promise<number> {
  const [serialNumber, ...more] = rest;
  if (serialNumber === undefined) throw new UsageError("revoke needs the issuer's serial number; see: countersign issuer list");
  noMore(more);
  const reason = revocationReason(flags.reason);
  const revocation = await api(flags as Parameters<typeof api>[0], io).call<Revocation>("POST", `${paths.certificates}/${encodeURIComponent(serialNumber)}/revoke`, { reason });
  out.print(revocation, `${revocation.serialNumber} is revoked (${reason}).\nProxies refuse every chain through it within a second; other software when it reads the CRL of what signed it.\n`);
  return 0;
}

/** From the public feed, so that a token that may only have issuers signed is enough. */
async function isRevoked(client: Api, serialNumber: string): Promise<boolean> {
  for (let after = 0; ;) {
    const page = JSON.parse(await client.fetchPublic(`${paths.revocations}?after=${after}&limit=1000`, mediaType.json)) as {
      readonly revocations: readonly Pick<CertificateDetail, "serialNumber">[]; readonly sequence: number; readonly more: boolean;
    };
    if (page.revocations.some((row) => row.serialNumber === serialNumber)) return true;
    if (!page.more || page.sequence <= after) return false;
    after = page.sequence;
  }
}

function requestOf(flags: Flags): Omit<IssueIssuerRequest, "csr"> {
  const profile = issuerProfiles.find((one): one is IssuerProfile => one === flags.for);
  if (profile === undefined) throw new UsageError(`--for is one of ${issuerProfiles.join(", ")}, not ${flags.for}.`);
  return {
    profile,
    trustDomain: required(flags["trust-domain"], "--trust-domain", "cluster.local"),
    ...(flags.ttl !== undefined && { lifetimeSeconds: seconds(flags.ttl, "--ttl") }),
    ...(flags["dns-domain"] && { dnsDomains: flags["dns-domain"] }),
  };
}

function schemeOf(flags: Flags): SecretScheme {
  return secretScheme(flags.secret ?? (flags.for === "linkerd" ? "linkerd" : "kubernetes.io/tls"));
}

function targetOf(flags: Flags, scheme: SecretScheme, { env }: CliIo): IssuerTarget {
  const folder = flags["out-dir"];
  if (folder !== undefined) return folderTarget(folder, scheme);
  const access = kubernetesAccess(flags, env);
  if (access === undefined) {
    throw new ApiError("this is no pod, so there is no Kubernetes API to keep a Secret in; name one with --kube-url, --kube-token-file and --kube-ca-file, or a folder with --out-dir");
  }
  return kubernetesTarget(access, scheme, flags);
}

const defaultLifetimeSeconds = 48 * 3600;
const usage = `countersign issuer: issuers for other CAs, signed by this one

  countersign issuer invite --trust-domain west.example >west.join
      prints one string for the CA of another cluster, good once, for an hour
      or --ttl; "countersign serve --upstream-file west.join" there is all:
      this CA signs its issuers from then on, and this root is its anchor
      --dns-domain NAME holds them to DNS names there (and localhost): for
      software that trusts this root by DNS names, as databases do
      --unconstrained leaves out what keeps them to SPIFFE IDs of west.example
      for software that looks at no trust domains, and refuses the constraint
  countersign issuer issue --trust-domain cluster.local | kubectl apply -f -
      makes a key here, has an issuer signed for it and prints the
      Kubernetes Secret that linkerd's identity service reads
  countersign issuer watch --trust-domain cluster.local
      keeps that Secret renewed, in a pod whose service account may get,
      create and patch it; with --out-dir a folder, anywhere
  countersign issuer list
  countersign issuer revoke SERIAL [--reason keyCompromise]
      refuses it, and with it all that it signed; a watch replaces it

  --for SOFTWARE     ${issuerProfiles.join(", ")} [linkerd]
  --trust-domain TD  what the other CA issues for; never our own
  --dns-domain NAME  it may issue DNS names below this one only; may be
                     repeated [for linkerd: identity.linkerd.TD]
  --ttl 48h          lifetime
  --secret SCHEME    linkerd: crt.pem and key.pem. kubernetes.io/tls: tls.crt,
                     tls.key and ca.crt [linkerd for linkerd]
  --name NAME        [linkerd-identity-issuer]
  --namespace NS     [linkerd]
  --out-dir DIR      files in this folder instead of a Secret
watch only:
  --renew-before 25h renewed when it has less than this left, when it was
                     revoked, and when the CA has other roots
  --once             look once; exit code 1 when it could not be done
  --kube-url URL, --kube-token-file FILE, --kube-ca-file FILE
                     outside a pod

The API token needs the role admin, or operator with the scope
issuer:TRUST-DOMAIN.
${apiHelp}`;
