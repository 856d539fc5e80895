import { hash } from "node:crypto";
import type { Claim } from "../attestation/identity.ts";
import type { IssueRequest } from "../contract/certificates.ts";
import { Refusal } from "../refusal.ts";
import type { CertificateRow } from "../store/rows/certificates.ts";
import type { Store } from "../store/store.ts";

/** One request, as a retry must repeat it. */
export interface IdempotentRequest {
  readonly scope: string;
  readonly key: string;
  readonly requestHash: string;
}

/** Names a request: who asks, with which key, for what. A proof is not part of it, since each attempt makes its own. */
export function idempotentRequest(key: string, claim: Claim, { csr, lifetimeSeconds }: IssueRequest): IdempotentRequest {
  const requestHash = hash("sha256", JSON.stringify([claim.asked, csr, lifetimeSeconds ?? null]), "hex");
  return { scope: claim.scope, key, requestHash };
}

/**
 * Finds the certificate an earlier attempt got, while it is remembered: a store may keep its note for longer.
 * @throws {Refusal} idempotency_key_reused | certificate_revoked
 */
export async function recall(
  store: Pick<Store, "idempotent" | "certificate">, request: IdempotentRequest, nowMs: number,
): Promise<CertificateRow | undefined> {
  const found = await store.idempotent(request.scope, request.key);
  if (found === undefined || nowMs >= found.expiresAtMs) return undefined;
  if (found.requestHash !== request.requestHash) {
    throw new Refusal(
      "idempotency_key_reused",
      "This Idempotency-Key was used for another request; repeat a request unchanged, or choose a new key for a new " +
        "one.",
    );
  }
  const row = await store.certificate(found.serialNumber);
  if (row?.revokedAtMs !== undefined) {
    throw new Refusal(
      "certificate_revoked",
      `The certificate ${row.serialNumber} that this request got has been revoked since; make a new request with a new ` +
        "key.",
    );
  }
  return row;
}

/** As the contract says: remembered for 24 h. */
export const idempotencyLifetimeMs = 24 * 3_600_000;
