import { Refusal } from "../refusal.ts";
import type { Bundle } from "../pki/bundle.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { parseRenewalProof, verifyRenewalProof } from "../pki/renewal-proof.ts";
import { verifySvid, type VerifiedSvid } from "../pki/svid.ts";
import type { CertificateRow, Store } from "../store/store.ts";

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
 * Verifies a renewal proof: its chain against our own bundle, its signature over this CSR, its age, and that we issued the
 * certificate and have not revoked it.
 * @param options.graceMs  how long ago the certificate may have expired; it is then verified as of its own last second
 * @throws {Refusal} proof_refused | certificate_expired | certificate_revoked
 */
export async function verifyPossession(
  deps: PossessionDeps, jws: string, csrDer: Uint8Array, options: { readonly graceMs: number },
): Promise<Possession> {
  const nowMs = deps.now().getTime();
  const svid = verifySignedProof(deps, jws, csrDer, nowMs);
  const { notAfterMs } = svid.leaf;
  // notAfter is inclusive (RFC 5280 4.1.2.5): its whole second still counts.
  if (nowMs >= notAfterMs + 1000 + options.graceMs) {
    throw new Refusal(
      "certificate_expired",
      `The certificate ${svid.serialNumber} of ${svid.id.uri} expired at ${new Date(notAfterMs).toISOString()}, too ` +
        "long ago to prove an identity with it; attest with a join token.",
    );
  }
  const row = await deps.store.certificate(svid.serialNumber);
  if (row === undefined || Buffer.compare(row.certificate, svid.leaf.der) !== 0) {
    throw new Refusal(
      "proof_refused",
      `The certificate ${svid.serialNumber} chains to our root but is not one this CA has on record; attest with a ` +
        "join token and tell the CA's operator.",
    );
  }
  if (row.revokedAtMs !== undefined) {
    throw new Refusal(
      "certificate_revoked",
      `The certificate ${svid.serialNumber} of ${row.spiffeId} is revoked, so it proves nothing any more; ask the CA's ` +
        "operator for a new join token.",
    );
  }
  return { svid, row };
}

function verifySignedProof({ trustDomain, bundle }: PossessionDeps, jws: string, csrDer: Uint8Array, nowMs: number): VerifiedSvid {
  try {
    const proof = parseRenewalProof(jws);
    if (Math.abs(nowMs - proof.issuedAtMs) > proofWindowMs) {
      throw new Refusal(
        "proof_refused",
        `The renewal proof was made at ${new Date(proof.issuedAtMs).toISOString()}, more than ` +
          `${proofWindowMs / 60_000} minutes from this CA's clock (${new Date(nowMs).toISOString()}); make a new one, ` +
          "and check the clocks.",
      );
    }
    const [leafDer = new Uint8Array()] = proof.chain;
    const leaf = parseCertificate(leafDer);
    const svid = verifySvid({
      chain: proof.chain, bundles: new Map([[trustDomain, bundle()]]), nowMs: Math.min(nowMs, leaf.notAfterMs), purpose: "client",
    });
    verifyRenewalProof(proof, svid.leaf.publicKey, csrDer, trustDomain);
    return svid;
  } catch (cause) {
    if (cause instanceof PkiError) {
      throw new Refusal(
        "proof_refused",
        `The renewal proof does not hold: ${cause.message}.`,
        { cause },
      );
    }
    throw cause;
  }
}

/** How far the proof's clock may be from ours: as wide as Kerberos allows. A replay within it only certifies the same key again. */
const proofWindowMs = 5 * 60_000;
