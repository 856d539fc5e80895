import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { unsealAuthority } from "../../ca/authority/active-issuer.ts";
import { readConfig } from "../../ca/config/config.ts";
import { encodeUpstream } from "../../ca/config/upstream.ts";
import type { AuthorityState, AuthorityType } from "../../ca/contract/authorities.ts";
import type { IssuedCertificate } from "../../ca/contract/certificates.ts";
import type { Caller } from "../../ca/http/services.ts";
import { parseBundle, type Bundle } from "../../ca/pki/bundle.ts";
import type { AuthorityRow } from "../../ca/store/rows/authorities.ts";
import type { ObtainedIssuer } from "../../ca/upstream/obtain-issuer.ts";
import { parseBootstrap } from "../../ca/pki/bootstrap.ts";
import { subjectKeyIdentifier } from "../../ca/pki/key.ts";
import { encodePem } from "../../ca/pki/pem.ts";
import { emptyName, encodeCertificate, encodeTbs } from "../../ca/pki/tbs.ts";
import { serveCa, type ServedCa } from "../../ca/runtime/node.ts";
import { loadSealing } from "../../ca/signer/sealing.ts";
import { freePort } from "../../infra/demo/place.ts";
import type { Credentials } from "../../infra/demo/strangers.ts";
import { newCsr, startTestCa, type TestCa, type TestCaOptions } from "./running-ca.ts";

/** A CA with the root, listening; those of clusters run under it. Its clock is the one they have, too. */
export interface ParentCa {
  readonly served: ServedCa;
  readonly admin: Caller;
  readonly clock: { nowMs: number };
  readonly trustDomain: string;
  readonly dataDir: string;
  /** The string for the CA of a cluster, as `countersign issuer invite` prints it. */
  invite(trustDomain: string, scope?: "cluster" | "cluster-unconstrained", ...further: readonly string[]): Promise<string>;
  /** The CA of a cluster, under this one. */
  below(trustDomain: string, options?: TestCaOptions & { readonly invitation?: string }): Promise<TestCa>;
  /** Lets time pass at all of them, and does what their timers would by then. */
  pass(ms: number, ...clusters: readonly TestCa[]): Promise<void>;
  /** Is away from now on. */
  stop(): Promise<void>;
  /** On the same port and store as before. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Starts one. @param flags  further settings of it */
export async function startParent({ trustDomain = "root.example", flags = {} }: { readonly trustDomain?: string; readonly flags?: Readonly<Record<string, string>> } = {}): Promise<ParentCa> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-parent-"));
  const clock = { nowMs: Date.now() };
  const serve = (listen: string): Promise<ServedCa> => (
    serveCa(readConfig({ flags: { "data-dir": join(folder, "ca"), "trust-domain": trustDomain, listen, ...flags } }), pino({ level: "silent" }), () => new Date(clock.nowMs))
  );
  let served: ServedCa | undefined = await serve(`127.0.0.1:${await freePort()}`);
  const { url } = served;
  const parent = (): ServedCa => {
    if (served === undefined) throw new Error("the parent is stopped");
    return served;
  };
  const started: TestCa[] = [];
  const admin: Caller = { actor: "token:test", name: "test", role: "admin", scope: [`spiffe://${trustDomain}/*`] };

  /** Not by the command, which judges certificates by the clock on the wall. */
  async function invite(invited: string, scope: "cluster" | "cluster-unconstrained" = "cluster", ...further: readonly string[]): Promise<string> {
    const { operators, createToken } = parent().ca;
    const spiffeId = `spiffe://${trustDomain}/cluster/${invited}`;
    if (!(await operators.list()).operators.some((one) => one.spiffeId === spiffeId)) await operators.add({ spiffeId, role: "operator", scope: [`${scope}:${invited}`, ...further] }, admin);
    const { bootstrap = "" } = await createToken({ type: "join", spiffeId }, admin);
    const { caUrl, rootFingerprint, token } = parseBootstrap(bootstrap);
    return encodeUpstream({ url: caUrl, parentTrustDomain: trustDomain, rootFingerprint, token, trustDomain: invited, tls: "spiffe" });
  }

  return {
    get served() { return parent(); },
    admin, clock, trustDomain, invite, dataDir: join(folder, "ca"),
    async below(invited, { invitation, ...options } = {}) {
      const path = join(folder, `${invited}-${started.length}.join`);
      writeFileSync(path, invitation ?? (await invite(invited)));
      const { settings, deps } = options;
      const ca = await startTestCa({
        ...options, settings: { trustDomain: invited, upstreamFile: path, ...settings }, nowMs: clock.nowMs, deps: { now: () => new Date(clock.nowMs), patienceMs: 0, ...deps },
      });
      started.push(ca);
      return ca;
    },
    async pass(ms, ...clusters) {
      clock.nowMs += ms;
      for (const { ca } of [parent(), ...clusters]) await ca.tick();
    },
    async stop() {
      await served?.stop();
      served = undefined;
    },
    async start() {
      served = await serve(new URL(url).host);
    },
    async close() {
      for (const ca of started) await ca.close().catch(() => undefined);
      await served?.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The key of a CA's active issuer, as somebody has it who broke into that cluster. */
export async function stolenIssuer({ store, dataDir }: Pick<TestCa, "store" | "dataDir">): Promise<ObtainedIssuer & { readonly id: string }> {
  const row = (await store.authorities()).find(({ type, state }) => type === "issuer" && state === "active");
  if (row === undefined) throw new Error("there is no active issuer");
  const sealing = loadSealing(readConfig({ file: { dataDir } }), { create: false });
  return { id: row.id, ...unsealAuthority(row, sealing), above: [] };
}

/** A certificate that an issuer's key makes for any ID, and what is presented with it. */
export function forgedBy({ certificate, privateKey, above }: ObtainedIssuer, spiffeId: string, nowMs: number): { readonly chain: readonly Uint8Array[]; readonly credentials: Credentials } {
  const leaf = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = new Uint8Array(leaf.publicKey.export({ format: "der", type: "spki" }));
  const tbs = encodeTbs({
    serialNumber: randomBytes(16), signatureAlgorithm: "ecdsa-sha256", issuer: certificate.subject, subject: emptyName, spki, notBeforeMs: nowMs - 60_000, notAfterMs: nowMs + 3_600_000,
    extensions: {
      basicConstraints: { certificateAuthority: false }, keyUsage: ["digitalSignature"], extKeyUsage: ["serverAuth", "clientAuth"],
      subjectAltName: { uris: [spiffeId] }, subjectKeyIdentifier: subjectKeyIdentifier(spki), authorityKeyIdentifier: certificate.subjectKeyIdentifier!,
    },
  });
  const chain = [encodeCertificate(tbs, "ecdsa-sha256", sign("sha256", tbs, privateKey)), certificate.der, ...above.map(({ der }) => der)];
  return { chain, credentials: { cert: chain.map((der) => encodePem("CERTIFICATE", der)).join(""), key: leaf.privateKey.export({ format: "pem", type: "pkcs8" }).toString() } };
}

/** Whoever may do everything at a CA. */
export const adminOf = ({ ca }: Pick<TestCa, "ca">): Caller => ({ actor: "token:test", name: "test", role: "admin", scope: [`spiffe://${ca.trustDomain}/*`] });

/** A workload's certificate. */
export function issue({ ca }: Pick<TestCa, "ca">, dnsNames: readonly string[] = []): Promise<IssuedCertificate> {
  const attestation = { type: "operator", spiffeId: `spiffe://${ca.trustDomain}/web`, ...(dnsNames.length > 0 && { dnsNames }) } as const;
  return ca.issue({ csr: newCsr().csr, attestation }, { caller: adminOf({ ca }) });
}

/** What a CA publishes. */
export const bundleOf = ({ ca }: Pick<TestCa, "ca">): Bundle => parseBundle(ca.trustDomain, ca.bundle().jwks);

/** Authorities of a type. */
export async function rowsOf({ store }: Pick<TestCa, "store">, type: AuthorityType, state?: AuthorityState): Promise<readonly AuthorityRow[]> {
  return (await store.authorities()).filter((row) => row.type === type && (state === undefined || row.state === state));
}

/** All holders acknowledge the bundle, as their proxies do by themselves. */
export async function everybodyHasTheBundle({ ca, store, clock }: Pick<TestCa, "ca" | "store"> & { readonly clock: { readonly nowMs: number } }): Promise<void> {
  const sequence = Number(ca.bundle().sequence);
  for (const { serialNumber } of await store.holdersBehind({ sequence, nowMs: clock.nowMs, limit: 100 })) await store.acknowledge({ serialNumber, sequence });
}
