import type { Store } from "../store/store.ts";
import { parseCheckpoint } from "./checkpoint.ts";
import { verifyCosignature } from "./cosignature.ts";
import { AuditError, refusalOf } from "./errors.ts";
import { misfit, type Misfit } from "./misfit.ts";
import { parseNote, parseVerifierKey, verifyNote, type VerifierKey } from "./note.ts";
import { verifyTables } from "./verify-tables.ts";
import { verifyTree } from "./verify-tree.ts";

/** What verifying reads. It writes nothing, and the CA may go on issuing meanwhile. */
export type LogReader = Pick<
  Store,
  | "state" | "entries" | "checkpoint" | "checkpoints" | "subtreeHashes"
  | "certificate" | "certificates" | "revocations" | "tokens" | "authorities" | "documents" | "crls" | "ceremonies"
  | "announcements"
>;

export interface VerifyLogOptions {
  readonly store: LogReader;
  /** The log's verifier key as kept outside the store; without it the store's own word is taken for it. */
  readonly verifierKey?: string;
  /** Checkpoints (signed notes) kept outside the store: what the log must still contain. */
  readonly checkpoints?: readonly string[];
  /** The same, as others cosigned them: each has to be signed by its witness as well. */
  readonly witnessed?: readonly WitnessedCheckpoint[];
  readonly onProgress?: (progress: VerifyProgress) => void;
}

export interface WitnessedCheckpoint {
  /** The witness's verifier key, as kept outside the store. */
  readonly witnessKey: string;
  /** The signed note. */
  readonly note: string;
}

export interface VerifyProgress {
  /** `log`: entries against their seals. `tables`: entries against the rows they tell of. */
  readonly stage: "log" | "tables";
  readonly entries: number;
  /** Size of the log when verifying began; it may grow. */
  readonly total: number;
}

export type Verdict = LogFits | Misfit;

export interface LogFits {
  readonly ok: true;
  readonly origin: string | undefined;
  /** Number of entries, all of them sealed. */
  readonly size: number;
  readonly root: Uint8Array;
  /** How many kept checkpoints were verified. */
  readonly checkpoints: number;
  /** How many checkpoints kept elsewhere the log was found to contain. */
  readonly outsideCheckpoints: number;
  readonly certificates: number;
  readonly revocations: number;
}

/**
 * Verifies the whole log: every entry against its leaf hash, every kept checkpoint against the key and the entries, the
 * stored subtree hashes, then entries and rows of the tables against each other. Takes memory for a page, not for the log.
 * @returns the first misfit in the order of the log; the log comes before the tables
 * @throws {AuditError} verifier_key_malformed | verifier_key_unsupported for a given key, note_malformed |
 *   checkpoint_malformed for a given checkpoint, note_unverified | note_signature_invalid for one its witness did not sign; {StoreError} when the store cannot be read
 */
export async function verifyLog(
  { store, verifierKey, checkpoints = [], witnessed = [], onProgress = () => {} }: VerifyLogOptions,
): Promise<Verdict> {
  const given = verifierKey === undefined ? undefined : parseVerifierKey(verifierKey);
  for (const { witnessKey, note } of witnessed) verifyCosignature(parseNote(note), parseVerifierKey(witnessKey, "cosignature"));
  const outside = [...checkpoints, ...witnessed.map(({ note }) => note)].map((note) => ({ note: parseNote(note), ...parseCheckpoint(parseNote(note)) }));
  const state = await store.state();
  if (state && verifierKey !== undefined && state.logVerifierKey !== verifierKey) {
    return misfit("unknown_key", undefined, `The store names ${state.logVerifierKey} as the log's key, but the expected ` +
      `one is ${verifierKey}. Either the log was replaced or re-signed by somebody, or this is the key of another log.`);
  }
  const key = given ?? keyOf(state?.logVerifierKey);
  if (key instanceof AuditError) return misfit("unknown_key", undefined, "The log's key in the store cannot be read: " +
    `${key.message}.`);

  for (const { note } of outside) {
    const refused = key && refusalOf(() => verifyNote(note, [key]));
    if (refused) {
      const kind = refused.code === "note_unverified" ? "unknown_key" : "checkpoint";
      return misfit(kind, undefined, `A checkpoint given to compare with is not this log's: ${refused.message}.`);
    }
  }
  const total = (await store.checkpoint())?.size ?? 0;
  const tree = await verifyTree({
    source: store, key, outside,
    onEntries: (entries) => onProgress({ stage: "log", entries, total }),
  });
  if (!tree.ok) return tree;
  if (tree.size === 0 && (state || verifierKey !== undefined)) {
    return misfit("truncated", 0, "The log is empty, but " +
      `${state ? "the store holds a CA" : "the key of a log is known"}, whose first start is always logged: the whole ` +
      "log was removed, or this is not the store it was in.");
  }
  const tables = await verifyTables({
    source: store, size: tree.size, verifierKey: verifierKey ?? state?.logVerifierKey,
    onEntries: (entries) => onProgress({ stage: "tables", entries, total }),
  });
  if (!tables.ok) return tables;
  return { ...tables, ...tree, origin: key?.name, outsideCheckpoints: outside.length };
}

function keyOf(verifierKey: string | undefined): VerifierKey | AuditError | undefined {
  let key: VerifierKey | undefined;
  if (verifierKey === undefined) return undefined;
  return refusalOf(() => { key = parseVerifierKey(verifierKey); }) ?? key;
}
