import { encodeEntry, type Actor } from "../audit/event.ts";
import type { Revocation, RevocationReason } from "../contract/revocations.ts";
import type { CaMetrics } from "../metrics.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { matchesSpiffeIdPattern, parseSpiffeId, parseSpiffeIdPattern, type SpiffeId } from "../pki/spiffe-id.ts";
import { checkPrivilege, type HasRole } from "../privilege.ts";
import { Refusal } from "../refusal.ts";
import { StoreError } from "../store/errors.ts";
import type { CertificateRow } from "../store/rows/certificates.ts";
import type { Store } from "../store/store.ts";

export interface RevokerDeps {
  readonly hasRole: HasRole;
  readonly store: Store;
  readonly now: () => Date;
  readonly metrics: CaMetrics;
  /** How long after its certificate expired a workload may come back with its join token. */
  readonly reattestGraceMs: number;
}

/** Who may revoke, as the HTTP layer authenticated it. */
export interface Revoker {
  readonly actor: Actor;
  readonly name: string;
  readonly role: string;
  readonly scope: readonly string[];
  /** Trust domains whose issuers it has signed here, and so takes back. */
  readonly issuerScope?: readonly string[];
}

/**
 * Revokes a certificate this CA issued; when it resolves, the revocation is durable and in the feed. An expired certificate may
 * be revoked too: its holder could still come back with its join token. For `keyCompromise` what was renewed from it goes along,
 * in the same commit: whoever had the key may have renewed.
 * @throws {Refusal} forbidden | not_found | already_revoked | certificate_not_revocable
 */
export function certificateRevoker({ store, hasRole, now, metrics, reattestGraceMs }: RevokerDeps) {
  return async function revoke(serialNumber: string, reason: RevocationReason, caller: Revoker): Promise<Revocation> {
    if (caller.role !== "admin" && caller.role !== "operator") {
      throw new Refusal(
        "forbidden",
        `The caller "${caller.name}" has the role ${caller.role}; revoking needs operator or admin.`,
      );
    }
    const row = await store.certificate(serialNumber);
    if (row === undefined) {
      const authorities = await store.authorities();
      if (authorities.some(({ id, certificate }) => id === serialNumber || parseCertificate(certificate).serialNumber === serialNumber)) {
        throw new Refusal(
          "certificate_not_revocable",
          "This names an authority; roots and issuers are replaced by rotation, not revoked here.",
        );
      }
      throw new Refusal(
        "not_found",
        `This CA has issued no certificate with the serial number ${serialNumber}; "countersign certificate list" (GET /v1/certificates) shows them.`,
      );
    }
    const id = parseSpiffeId(row.spiffeId);
    checkScope(caller, id, row.attestation);
    // With the CA's own certificate nobody believes the CA any more.
    checkPrivilege(row.attestation === "system" || await hasRole(id), caller, id, "revoke certificates of");
    const revokedAtMs = now().getTime();
    const { spiffeId } = row;
    const { actor } = caller;
    const entry = encodeEntry({ type: "certificate.revoked", serialNumber, spiffeId, reason }, actor, revokedAtMs);
    const descendants = { spiffeId, actor, notAfterMs: revokedAtMs - reattestGraceMs };
    try {
      const { logIndex } = await store.commit({ kind: "revoke", serialNumber, reason, revokedAtMs, entries: [entry], ...(reason === "keyCompromise" && { descendants }) });
      metrics.revoked();
      return {
        sequence: logIndex + 1, serialNumber, reason, revokedAt: new Date(revokedAtMs).toISOString(), notAfter: new Date(row.notAfterMs).toISOString(),
      };
    } catch (error) {
      if (error instanceof StoreError && error.code === "already_revoked") {
        throw new Refusal(
          "already_revoked",
          `The certificate ${serialNumber} of ${row.spiffeId} was revoked before; nothing changed.`,
          { cause: error },
        );
      }
      throw error;
    }
  };
}

/** To revoke is to take a workload, or another CA, off the mesh: an operator may do so to those it answers for. */
function checkScope({ name, role, scope, issuerScope = [] }: Revoker, id: SpiffeId, attestation: CertificateRow["attestation"]): void {
  if (role === "admin") return;
  const inScope = attestation === "issuer"
    ? issuerScope.includes(id.trustDomain)
    : scope.some((pattern) => matchesSpiffeIdPattern(parseSpiffeIdPattern(pattern), id));
  if (inScope) return;
  throw new Refusal(
    "forbidden",
    `The caller "${name}" may not revoke certificates of ${id.uri}, which is outside its scope; ask an admin.`,
  );
}
