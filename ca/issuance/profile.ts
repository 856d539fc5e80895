import type { CertificateKind } from "../lint/certificate-context.ts";
import type { PermittedNames } from "../lint/permitted-names.ts";
import type { ExtKeyUsagePurpose, KeyUsageBit } from "../pki/extension-encoding.ts";
import type { KeyAlgorithm } from "../pki/key.ts";
import { Refusal } from "../refusal.ts";
import type { RevocationProfile } from "./revocation-info.ts";

/** What all certificates of a kind have in common. */
export interface Profile {
  /** Undefined for the profile of everybody else. */
  readonly name?: string;
  readonly kind: Extract<CertificateKind, "workload" | "api" | "ocsp-signer">;
  readonly keyUsage: readonly KeyUsageBit[];
  readonly extKeyUsage: readonly ExtKeyUsagePurpose[];
  readonly lifetimeMs: number;
  readonly lifetimeMaxMs: number;
  /** How far notBefore is set back. */
  readonly clockSkewMs: number;
  /** Default: they say nothing of their revocation. */
  readonly revocation?: RevocationProfile;
  readonly keyAlgorithms: readonly KeyAlgorithm[];
  readonly names: PermittedNames;
  /** Whether DNS names come before the SPIFFE ID; default no. */
  readonly dnsFirst?: boolean;
  /** Whether a workload's key may be certified again, for that workload; default no. */
  readonly keyReuse?: boolean;
}

export interface ProfileSettings {
  readonly certificateLifetimeMs: number;
  readonly certificateLifetimeMaxMs: number;
  readonly clockSkewMs: number;
  readonly statusUrl?: string | undefined;
  readonly crlShards?: number;
  readonly noRevAvail?: boolean;
}

/** The profile of workload certificates. @source X509-SVID sections 3 and 4 */
export function workloadProfile(settings: ProfileSettings): Profile {
  const { certificateLifetimeMs, certificateLifetimeMaxMs, clockSkewMs } = settings;
  const revocation = revocationProfile(settings);
  return {
    kind: "workload",
    keyUsage: ["digitalSignature"],
    extKeyUsage: ["serverAuth", "clientAuth"],
    lifetimeMs: certificateLifetimeMs,
    lifetimeMaxMs: certificateLifetimeMaxMs,
    clockSkewMs,
    ...(revocation && { revocation }),
    keyAlgorithms: allKeyAlgorithms,
    // An IP address in a certificate is for whoever the operator has made a profile for.
    names: { dnsNames: undefined, ipRanges: [] },
  };
}

/** The profile of the API's own certificate, whose names are settings. */
export function apiProfile(settings: ProfileSettings): Profile {
  return { ...workloadProfile(settings), kind: "api", names: { dnsNames: undefined, ipRanges: undefined } };
}

/**
 * A profile in the shape that clients of another protocol need. The same object each time, since templates are compiled once for each.
 * Stock Linkerd proxies take a peer's first name for its identity, keep their key until they restart, and show certificates with other
 * keys to nobody; those of ACME know a certificate by its DNS names.
 */
export function shapedProfile(of: Profile, shape: "linkerd" | "acme" | undefined): Profile {
  if (shape === undefined) return of;
  const known = shaped[shape].get(of) ?? { ...of, name: of.name ?? shape, dnsFirst: true, ...(shape === "linkerd" && { name: shape, keyAlgorithms: ["ec-p256"], keyReuse: true }) };
  shaped[shape].set(of, known);
  return known;
}

const shaped = { linkerd: new WeakMap<Profile, Profile>(), acme: new WeakMap<Profile, Profile>() };

function revocationProfile({ statusUrl, crlShards = 1, noRevAvail = false }: ProfileSettings): RevocationProfile | undefined {
  if (noRevAvail) return { kind: "not-available" };
  return statusUrl === undefined ? undefined : { kind: "published", statusUrl, crlShards };
}

export interface Validity {
  readonly notBeforeMs: number;
  /** Inclusive. */
  readonly notAfterMs: number;
}

/**
 * Dates of a certificate issued now, in whole seconds.
 * @param lifetimeSeconds  as asked for; undefined for the profile's
 * @throws {Refusal} lifetime_refused: a lifetime is granted as asked for or not at all
 */
export function validityFor({ lifetimeMs, lifetimeMaxMs, clockSkewMs }: Profile, nowMs: number, lifetimeSeconds: number | undefined): Validity {
  const wantedMs = lifetimeSeconds === undefined ? lifetimeMs : lifetimeSeconds * 1000;
  if (!Number.isSafeInteger(wantedMs) || wantedMs < minLifetimeMs || wantedMs % 1000 !== 0) {
    throw new Refusal("lifetime_refused", "lifetimeSeconds must be a whole number of seconds, at least 1.");
  }
  if (wantedMs > lifetimeMaxMs) {
    throw new Refusal(
      "lifetime_refused",
      `A lifetime of ${wantedMs / 1000} seconds is more than the ${lifetimeMaxMs / 1000} this CA grants; ask for less, ` +
        "or leave lifetimeSeconds out.",
    );
  }
  const issuedAtMs = Math.floor(nowMs / 1000) * 1000;
  // RFC 5280 4.1.2.5: notAfter is inclusive, so a 1 h SVID ends at +59:59.
  return { notBeforeMs: issuedAtMs - clockSkewMs, notAfterMs: issuedAtMs + wantedMs - 1000 };
}

/**
 * Keeps a certificate inside its issuer's life: the allowance for late clocks is cut where the issuer begins.
 * @throws {Refusal} issuer_unavailable when the issuer has not begun: this machine's clock is behind that of whoever made it
 */
export function validityUnder(issuer: Validity, { notBeforeMs, notAfterMs }: Validity, nowMs: number): Validity {
  if (nowMs < issuer.notBeforeMs) {
    throw new Refusal(
      "issuer_unavailable",
      `This CA's clock says ${new Date(nowMs).toISOString()}, and its issuer is valid from ${new Date(issuer.notBeforeMs).toISOString()} on; set the clocks of all replicas.`,
    );
  }
  return { notBeforeMs: Math.max(notBeforeMs, issuer.notBeforeMs), notAfterMs };
}

/** Every key the kernel accepts. */
const allKeyAlgorithms: readonly KeyAlgorithm[] = ["ec-p256", "ec-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"];

const minLifetimeMs = 1000;
