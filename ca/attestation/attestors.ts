import { readFileSync } from "node:fs";
import type { AttestorConfig, AttestorType } from "../config/attestors.ts";
import type { Attestation } from "../contract/attestation.ts";
import type { AttestorVitals } from "../contract/vitals.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { decodePem } from "../pki/pem.ts";
import { Refusal } from "../refusal.ts";
import { ConfigError } from "../settings/errors.ts";
import type { Store } from "../store/store.ts";
import { awsIamVerifier, lookAtSts } from "./aws-iam.ts";
import { mapNames, type Evidence } from "./evidence.ts";
import type { Fetcher } from "./fetch.ts";
import type { Claim } from "./identity.ts";
import { keySetOf, type KeySet } from "./key-set.ts";
import { kubernetesVerifier } from "./kubernetes.ts";
import { oidcVerifier } from "./oidc.ts";
import { lookAtReviews } from "./token-review.ts";
import { x509Verifier } from "./x509.ts";

/** Evidence of a kind that attestors are configured for. */
export type AttestorClaim = Extract<Attestation, { readonly type: AttestorType }>;

export interface AttestorDeps {
  readonly store: Pick<Store, "spendRequest">;
  readonly fetch: Fetcher["fetch"];
  readonly trustDomain: string;
  readonly now: () => Date;
  readonly onAttested: (attestor: string, outcome: string) => void;
}

/** Those who vouch for workloads, besides operators and join tokens. */
export interface Attestors {
  /** @throws {Refusal} attestation_refused | attestor_unavailable; from `attest`: attestation_refused when the evidence was used before */
  claim(attestation: AttestorClaim, csrDer: Uint8Array): Promise<Claim>;
  /**
   * Whether a certificate whose line began with this attestor may renew itself.
   * @throws {Refusal} attestation_required
   */
  checkRenewable(attestor: string | undefined): void;
  /** How each of them is, as reached from here now. */
  look(): Promise<readonly AttestorVitals[]>;
}

/** @throws {ConfigError} file_unreadable: the anchors of another PKI */
export function openAttestors(configs: readonly AttestorConfig[], deps: AttestorDeps): Attestors {
  const all = configs.map((config) => ({ config, ...open(config, deps) }));

  function choose({ type, attestor }: AttestorClaim): (typeof all)[number] {
    const found = all.filter(({ config }) => config.type === type && (attestor === undefined || config.name === attestor));
    const [one] = found;
    if (one !== undefined && found.length === 1) return one;
    throw new Refusal(
      "attestation_refused",
      one === undefined ? `This CA has no such attestor of the type ${type}; its operator sets them with "attestors".`
        : `This CA has ${found.length} attestors of the type ${type}; name one of them as "attestor".`,
    );
  }

  return {
    async claim(attestation, csrDer) {
      const { config, verify } = choose(attestation);
      const { name, type } = config;
      try {
        const evidence = await verify(attestation, csrDer);
        const { spiffeId, dnsNames } = mapNames(config, evidence.facts);
        deps.onAttested(name, "ok");
        // Who asks has proved to be this workload, as with an SVID; the entry says by what.
        const actor = spiffeId.uri;
        return {
          scope: `${type}:${name}:${spiffeId.uri}`, actor, spiffeId, asked: `${type} ${name}`,
          async attest() {
            await spend(deps, name, evidence);
            return { spiffeId, dnsNames, method: type, actor, attestor: name, evidence: evidence.record };
          },
        };
      } catch (error) {
        if (error instanceof Refusal) deps.onAttested(name, error.code);
        throw error;
      }
    },
    look: () => Promise.all(all.map(async ({ config: { name, type }, look }) => ({ name, type, ...(await look()) }))),
    checkRenewable(attestor) {
      if (attestor === undefined) return;
      if (attestor === "acme") throw new Refusal("attestation_required", "The certificate came by ACME, where its names are proved each time; order another one there.");
      const config = configs.find(({ name }) => name === attestor);
      if (config?.renew === "svid") return;
      const why = config === undefined ? "which this CA no longer has" : "whose certificates need evidence anew";
      throw new Refusal("attestation_required", `The certificate descends from the attestor "${attestor}", ${why}; attest again instead of renewing.`);
    },
  };
}

type Verify = (attestation: AttestorClaim, csrDer: Uint8Array) => Evidence | Promise<Evidence>;

interface OpenAttestor {
  readonly verify: Verify;
  readonly look: () => Promise<Omit<AttestorVitals, "name" | "type">> | Omit<AttestorVitals, "name" | "type">;
}

function open(config: AttestorConfig, deps: AttestorDeps): OpenAttestor {
  switch (config.type) {
    case "kubernetes": {
      const { verify: by } = config;
      const keys = by.kind === "api" ? undefined : keySetOf(config.name, by, deps);
      const verify = ofType("kubernetes", kubernetesVerifier(config, deps, keys), ({ token }) => token);
      return { verify, look: by.kind === "api" ? async () => answering(await lookAtReviews(config, by, deps)) : async () => keeping(await keys!.look()) };
    }
    case "oidc": {
      const keys = keySetOf(config.name, config, deps);
      return { verify: ofType("oidc", oidcVerifier(config, deps, keys), ({ token }) => token), look: async () => keeping(await keys.look()) };
    }
    case "x509": {
      const anchors = readAnchors(config.name, config.anchorsFile);
      return { verify: ofType("x509", x509Verifier(config, { ...deps, anchors }), ({ proof }) => proof), look: () => lastOf(anchors) };
    }
    case "aws-iam": return { verify: ofType("aws-iam", awsIamVerifier(config, deps), (claim) => claim), look: async () => answering(await lookAtSts(config, deps)) };
  }
}

/** Who is asked each time vouches for nobody while there is no answer. */
function answering(trouble: string | undefined): ReturnType<OpenAttestor["look"]> {
  return trouble === undefined ? { vouches: true } : { trouble, vouches: false };
}

function keeping({ trouble, inForce }: Awaited<ReturnType<KeySet["look"]>>): ReturnType<OpenAttestor["look"]> {
  return { ...(trouble !== undefined && { trouble }), vouches: inForce };
}

function lastOf(anchors: readonly Certificate[]): ReturnType<OpenAttestor["look"]> {
  const { notBeforeMs, notAfterMs } = anchors.reduce((last, one) => (one.notAfterMs > last.notAfterMs ? one : last));
  return { vouches: true, notBefore: new Date(notBeforeMs).toISOString(), notAfter: new Date(notAfterMs).toISOString() };
}

/** A verifier gets its own type's evidence: `choose` has seen to that. */
function ofType<Type extends AttestorType, Part>(
  type: Type, verify: (part: Part, csrDer: Uint8Array) => Evidence | Promise<Evidence>, partOf: (claim: Extract<AttestorClaim, { type: Type }>) => Part,
): Verify {
  return (claim, csrDer) => {
    if (claim.type !== type) throw new TypeError(`an attestor of the type ${type} was given ${claim.type}`);
    return verify(partOf(claim as Extract<AttestorClaim, { type: Type }>), csrDer);
  };
}

/** In a write of its own, before the certificate is made: if we die in between, whoever asks needs new evidence. */
async function spend({ store, now }: AttestorDeps, name: string, { once }: Evidence): Promise<void> {
  if (once === undefined) return;
  if (await store.spendRequest({ spiffeId: `attestor:${name}`, nonce: once.nonce, untilMs: once.untilMs }, now().getTime())) return;
  throw new Refusal("attestation_refused", `The attestor "${name}" has seen this token before, and one is good for one certificate; take a new one, and use an Idempotency-Key for retries.`);
}

function readAnchors(name: string, path: string): readonly Certificate[] {
  try {
    const anchors = decodePem(readFileSync(path, "utf8"), "CERTIFICATE").map(parseCertificate);
    if (anchors.length > 0) return anchors;
    throw new ConfigError("file_unreadable", `attestors: ${name}.anchorsFile ${path} has no certificate`);
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause;
    const why = cause instanceof PkiError ? cause.message : (cause as NodeJS.ErrnoException).code;
    throw new ConfigError("file_unreadable", `attestors: ${name}.anchorsFile ${path} cannot be read: ${why}`, { cause });
  }
}
