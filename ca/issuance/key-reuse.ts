import type { AttestedIdentity } from "../attestation/identity.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { Refusal } from "../refusal.ts";
import type { Store } from "../store/store.ts";

/**
 * Whether this workload had a certificate for the key before.
 * @throws {Refusal} key_reused: another workload had; certificate_revoked: one of the key's was revoked, and what made it so may hold for the key
 */
export async function certifiedBefore(
  store: Pick<Store, "certificateOfKey" | "certificates">, keyFingerprint: Uint8Array, spki: Uint8Array, { spiffeId }: Pick<AttestedIdentity, "spiffeId">, nowMs: number,
): Promise<boolean> {
  const first = await store.certificateOfKey(keyFingerprint);
  if (first === undefined) return false;
  if (first.spiffeId !== spiffeId.uri) throw new Refusal("key_reused", `This CA has certified the CSR's key for another workload than ${spiffeId.uri}; make a key of your own.`);
  const revoked = first.revokedAtMs !== undefined ? [first] : await store.certificates({ spiffeId: spiffeId.uri, status: "revoked", limit: maxLookedAt, nowMs });
  const one = revoked.find(({ certificate }) => Buffer.compare(parseCertificate(certificate).spki, spki) === 0);
  if (one === undefined) return true;
  throw new Refusal("certificate_revoked", `The certificate ${one.serialNumber} for this key was revoked; restart the workload, so that it makes a new key.`);
}

/** Of the latest revocations of one workload: each pod's key has a handful of certificates that have not expired. */
const maxLookedAt = 200;
