import { parseSpiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import type { CertificateRow } from "../store/rows/certificates.ts";
import type { TokenRow } from "../store/rows/tokens.ts";
import type { Store } from "../store/store.ts";
import type { AttestedIdentity, Claim } from "./identity.ts";
import { verifyPossession, type PossessionDeps } from "./possession.ts";
import { isSecretOf, parseToken } from "./token-secret.ts";

export interface JoinTokenDeps extends PossessionDeps {
  readonly store: Pick<Store, "certificate" | "token">;
  /** How long after its certificate expired a workload may come back with its redeemed token. */
  readonly reattestGraceMs: number;
}

/**
 * A join token pays for one certificate. Later it is good for another only together with a proof by the key of a certificate
 * that descends from it, so a stolen token string is worth nothing once redeemed, and a workload that slept through its
 * renewal gets back in. Deleting the token ends that.
 * @throws {Refusal} token_unknown; from `attest`: token_expired | token_already_redeemed | what verifyPossession throws
 */
export async function claimByJoinToken(
  deps: JoinTokenDeps, attestation: { readonly token: string; readonly proof?: string }, csrDer: Uint8Array,
): Promise<Claim> {
  const row = await authenticateJoinToken(deps.store, attestation.token);
  const spiffeId = parseSpiffeId(row.spiffeId ?? "");
  const actor = `join-token:${row.id}`;
  return {
    scope: actor,
    actor,
    spiffeId,
    asked: "join-token",
    async attest(): Promise<AttestedIdentity> {
      const holder = await checkRedeemable(deps, row, attestation.proof, csrDer);
      return {
        spiffeId, dnsNames: row.dnsNames ?? [], method: "join-token", actor, tokenId: row.id, redeem: { tokenId: row.id, version: row.version },
        ...(holder && { renewedFrom: holder.serialNumber }),
      };
    },
  };
}

async function authenticateJoinToken(store: Pick<Store, "token">, token: string): Promise<TokenRow> {
  const parts = parseToken(token);
  const row = parts?.type === "join" ? await store.token(parts.id) : undefined;
  if (parts === undefined || row?.type !== "join" || row.deletedAtMs !== undefined || !isSecretOf(parts.secret, row.secretHash)) {
    // One sentence for all of it: which part was wrong is nobody's business who does not hold the token.
    throw new Refusal(
      "token_unknown",
      `The join token is unknown, was deleted or is mistyped; make a new one with "countersign token create".`,
    );
  }
  return row;
}

/** @returns the certificate that proves the holder, for a token that was redeemed before */
async function checkRedeemable(
  deps: JoinTokenDeps, row: TokenRow, proof: string | undefined, csrDer: Uint8Array,
): Promise<CertificateRow | undefined> {
  if (row.redeemedAtMs !== undefined) return checkHolder(deps, row, row.redeemedAtMs, proof, csrDer);
  if (row.expiresAtMs !== undefined && deps.now().getTime() >= row.expiresAtMs) {
    throw new Refusal(
      "token_expired",
      `The join token ${row.id} expired unused at ${new Date(row.expiresAtMs).toISOString()}; make a new one with ` +
        `"countersign token create".`,
    );
  }
  return undefined;
}

async function checkHolder(
  deps: JoinTokenDeps, row: TokenRow, redeemedAtMs: number, proof: string | undefined, csrDer: Uint8Array,
): Promise<CertificateRow> {
  if (proof === undefined) {
    throw new Refusal(
      "token_already_redeemed",
      `The join token ${row.id} was redeemed at ${new Date(redeemedAtMs).toISOString()} and is good for one certificate; the workload that did it renews ` +
        `with its certificate, another one needs a token of its own. If nobody of yours redeemed it, revoke what it gave.`,
    );
  }
  const possession = await verifyPossession(deps, proof, csrDer, { graceMs: deps.reattestGraceMs });
  if (possession.row.tokenId !== row.id) {
    throw new Refusal(
      "proof_refused",
      `The certificate ${possession.row.serialNumber} does not descend from the join token ${row.id}; present the ` +
        "token that its first certificate was made with.",
    );
  }
  return possession.row;
}
