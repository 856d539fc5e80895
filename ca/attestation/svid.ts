import type { Attestors } from "./attestors.ts";
import type { Claim } from "./identity.ts";
import { verifyPossession, type PossessionDeps } from "./possession.ts";

export interface SvidDeps extends PossessionDeps {
  readonly attestors: Pick<Attestors, "checkRenewable">;
}

/**
 * Renewal: whoever holds the key of a certificate that is valid now gets another with the same names.
 * @throws {Refusal} proof_refused | certificate_expired | certificate_revoked; from `attest`: attestation_required
 */
export async function claimBySvid(deps: SvidDeps, proof: string, csrDer: Uint8Array): Promise<Claim> {
  const { svid, row } = await verifyPossession(deps, proof, csrDer, { graceMs: 0 });
  const actor = svid.id.uri;
  return {
    scope: `svid:${svid.serialNumber}`,
    actor,
    spiffeId: svid.id,
    asked: "svid",
    attest() {
      deps.attestors.checkRenewable(row.attestor);
      return {
        spiffeId: svid.id,
        dnsNames: row.dnsNames,
        ipAddresses: svid.leaf.subjectAltName?.ipAddresses ?? [],
        method: "svid",
        actor,
        renewedFrom: svid.serialNumber,
        ...(row.tokenId === undefined ? {} : { tokenId: row.tokenId }),
        ...(row.attestor === undefined ? {} : { attestor: row.attestor }),
      };
    },
  };
}
