import { AuditError } from "../audit/errors.ts";
import { parseVerifierKey } from "../audit/note.ts";
import type { WitnessKeys } from "../contract/witness.ts";
import type { Documents } from "../documents.ts";
import { relationshipsOf, type HeldRelationship, type Relationship } from "./documents.ts";
import { FederationError } from "./errors.ts";

/** Takes down a peer's keys when they are first seen, in the audit log; they are never replaced: a log has one key for life. */
export async function pinKeys(documents: Documents, trustDomain: string, keys: WitnessKeys): Promise<HeldRelationship | undefined> {
  const set = await documents.change((current) => {
    const row = current.byKind.federation.get(trustDomain);
    if (row === undefined) return [];
    const stored = JSON.parse(row.body) as Relationship;
    const document: Relationship = { added: { atMs: row.changedAtMs, by: row.changedBy }, ...stored, ...keys };
    return stored.logKey !== undefined ? [] : [{ kind: "federation", name: trustDomain, document }];
  }, "system");
  return relationshipsOf(set).get(trustDomain);
}

/** A peer speaks for its own log and as itself, whatever names it gives. @throws {FederationError} endpoint_answer */
export function requireKeys(trustDomain: string, { logKey, witnessKey }: Partial<WitnessKeys>): WitnessKeys {
  try {
    if (typeof logKey !== "string" || typeof witnessKey !== "string") throw new FederationError("endpoint_answer", "it names no keys of its log and its witness");
    if (parseVerifierKey(logKey).name !== `countersign.dev/${trustDomain}/log` || parseVerifierKey(witnessKey, "cosignature").name !== witnessName(trustDomain)) {
      throw new FederationError("endpoint_answer", "the keys of its log and its witness are another's");
    }
    return { logKey, witnessKey };
  } catch (cause) {
    if (cause instanceof AuditError) throw new FederationError("endpoint_answer", "the keys of its log and its witness cannot be read", { cause });
    throw cause;
  }
}

/** Name of a CA as a witness. */
export function witnessName(trustDomain: string): string {
  return `countersign.dev/${trustDomain}/witness`;
}
