import { Refusal } from "../refusal.ts";
import type { Bundle } from "../pki/bundle.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { parseRenewalProof, verifyRenewalProof, type ProofPurpose, type RenewalProof } from "../pki/renewal-proof.ts";
import { verifySvid, type VerifiedSvid } from "../pki/svid.ts";
import type { CertificateRow } from "../store/rows/certificates.ts";
import type { Store } from "../store/store.ts";

export interface PossessionDeps {
  readonly store: Pick<Store, "certificate">;
  readonly trustDomain: string;
  /** Our own bundle: a certificate of a federated domain renews at its own CA. */
  readonly bundle: () => Bundle;
  readonly now: () => Date;
}

/** The certificate behind a renewal proof, verified, and our own record of it. */
export interface Possession {
  readonly svid: VerifiedSvid;
  readonly row: CertificateRow;
}

/**
 * Verifies a renewal proof: that we issued its certificate and have not revoked it, its chain against our own bundle, its
 * signature over this CSR, its age. Anybody may send one, so what costs a look at our own record comes first: nobody has us
 * verify signatures with a chain of their own making.
 * @param csrDer  or, for another purpose, what the proof has to be bound to
 * @param options.graceMs  how long ago the certificate may have expired; it is then verified as of its own last second
 * @param options.windowMs  how far the proof's clock may be from ours; default 5 minutes
 * @throws {Refusal} proof_refused | certificate_expired | certificate_revoked
 */
export async function verifyPossession(
  deps: PossessionDeps, jws: string, csrDer: Uint8Array, options: { readonly graceMs: number; readonly purpose?: ProofPurpose; readonly windowMs?: number },
): Promise<Possession> {
  const nowMs = deps.now().getTime();
  const proof = refusing(() => parseRenewalProof(jws, options.purpose));
  checkAge(proof, nowMs, options.windowMs ?? proofWindowMs);
  const leaf = refusing(() => parseCertificate(proof.chain[0] ?? new Uint8Array()));
  const row = await recordOf(deps.store, leaf);
  // notAfter is inclusive (RFC 5280 4.1.2.5): its whole second still counts.
  if (nowMs >= leaf.notAfterMs + 1000 + options.graceMs) {
    throw new Refusal(
      "certificate_expired",
      `The certificate ${row.serialNumber} of ${row.spiffeId} expired at ${new Date(leaf.notAfterMs).toISOString()}, too ` +
        "long ago to prove an identity with it; attest with a join token.",
    );
  }
  const svid = refusing(() => {
    const { trustDomain, bundle } = deps;
    const verified = verifySvid({
      chain: proof.chain, bundles: new Map([[trustDomain, bundle()]]), nowMs: Math.min(nowMs, leaf.notAfterMs), purpose: "client",
    });
    verifyRenewalProof(proof, verified.leaf.publicKey, csrDer, trustDomain);
    return verified;
  });
  return { svid, row };
}

function checkAge({ issuedAtMs }: RenewalProof, nowMs: number, windowMs: number): void {
  if (Math.abs(nowMs - issuedAtMs) <= windowMs) return;
  throw new Refusal(
    "proof_refused",
    `The renewal proof was made at ${new Date(issuedAtMs).toISOString()}, more than ` +
      `${windowMs / 60_000} min from this CA's clock (${new Date(nowMs).toISOString()}); make a new one, ` +
      "and check the clocks.",
  );
}

/** Our own record of exactly this certificate, unless it is revoked. */
async function recordOf(store: PossessionDeps["store"], { serialNumber, der }: Certificate): Promise<CertificateRow> {
  const row = await store.certificate(serialNumber);
  if (row === undefined || Buffer.compare(row.certificate, der) !== 0) {
    throw new Refusal(
      "proof_refused",
      `The certificate ${serialNumber} is not one this CA has on record; attest with a join token, and if this CA issued it, ` +
        "tell its operator.",
    );
  }
  if (row.revokedAtMs !== undefined) {
    throw new Refusal(
      "certificate_revoked",
      `The certificate ${serialNumber} of ${row.spiffeId} is revoked, so it proves nothing any more; ask the CA's ` +
        "operator for a new join token.",
    );
  }
  return row;
}

/** What the kernel finds wrong is wrong with the proof. */
function refusing<Result>(act: () => Result): Result {
  try {
    return act();
  } catch (cause) {
    if (cause instanceof PkiError) throw new Refusal("proof_refused", `The renewal proof does not hold: ${cause.message}.`, { cause });
    throw cause;
  }
}

/** How far the proof's clock may be from ours: as wide as Kerberos allows. A replay within it only certifies the same key again. */
const proofWindowMs = 5 * 60_000;
