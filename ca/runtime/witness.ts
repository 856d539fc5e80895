import { readFileSync } from "node:fs";
import { parseCheckpoint, type Checkpoint } from "../audit/checkpoint.ts";
import { AuditError } from "../audit/errors.ts";
import { encodeEntry, type AuditEvent } from "../audit/event.ts";
import { parseNote, parseVerifierKey, verifyNote } from "../audit/note.ts";
import { consistencyProof } from "../audit/proof.ts";
import { verifyConsistency } from "../audit/verify-proof.ts";
import type { CaConfig } from "../config/config.ts";
import type { Log } from "../log.ts";
import type { Store } from "../store/store.ts";
import { RuntimeError } from "./errors.ts";
import { writeAtomically } from "./write-file.ts";

/** What the operator said goes on although the log lacks what was witnessed. */
export type AcceptedRollback = Extract<AuditEvent, { readonly type: "log.rollback-accepted" }>;

/**
 * Holds the stored log against the checkpoints that were kept apart from it: a log that went back, as after a restore from an old
 * backup, would be sealed a second time from there on, and what was revoked since would pass again.
 * @returns what was accepted in spite of it, to be recorded
 * @throws {RuntimeError} log_behind_witness
 * @source reference/ca.md AUD-08; C2SP tlog-checkpoint
 */
export async function checkWitnesses(
  store: Pick<Store, "state" | "checkpoint" | "entries" | "subtreeHashes">,
  { witnessPath, checkpointPath, acceptRollback }: Pick<CaConfig, "witnessPath" | "checkpointPath" | "acceptRollback">,
): Promise<readonly AcceptedRollback[]> {
  const accepted: AcceptedRollback[] = [];
  for (const path of [witnessPath, ...(checkpointPath === undefined ? [] : [checkpointPath])]) {
    const note = readWitness(path, path === checkpointPath);
    if (note === undefined) continue;
    const [state, newest] = await Promise.all([store.state(), store.checkpoint()]);
    const witnessed = readCheckpoint(note, path, state?.logVerifierKey);
    const missing = newest === undefined ? "is empty" : await whatIsMissing(witnessed, readCheckpoint(newest.note, "the store", undefined), store);
    if (missing === undefined) continue;
    if (acceptRollback === undefined || witnessed.size > acceptRollback) {
      throw new RuntimeError(
        "log_behind_witness",
        `the audit log in the store ${missing}, but ${witnessed.size} entries were witnessed (${path}). The store is older than that, or ` +
          "another's: what was issued and revoked since is not in it. Restore a newer backup, or name the right store. If there is " +
          `none, start once with --accept-rollback ${witnessed.size}: it is recorded, and whoever keeps a checkpoint will see that the log was cut`,
      );
    }
    accepted.push({ type: "log.rollback-accepted", size: newest?.size ?? 0, witnessedSize: witnessed.size, witnessedRoot: Buffer.from(witnessed.root).toString("base64") });
  }
  return accepted;
}

/** An accepted rollback as the entry that records it. */
export async function recordRollbacks(store: Pick<Store, "commit">, accepted: readonly AcceptedRollback[], nowMs: number): Promise<void> {
  for (const event of accepted) await store.commit({ kind: "record", entries: [encodeEntry(event, "system", nowMs)] });
}

export interface Witness {
  /** Keeps the newest checkpoint from now on. */
  start(): void;
  close(): Promise<void>;
}

/**
 * Writes the newest checkpoint to a file apart from the database, a few times a minute and at the end.
 * @param onWitnessed  the newest one is there
 */
export function checkpointWitness(store: Pick<Store, "checkpoint">, path: string, log: Log, onWitnessed: () => void = () => undefined): Witness {
  let written: string | undefined;
  let timer: NodeJS.Timeout | undefined;

  async function write(): Promise<void> {
    try {
      const newest = await store.checkpoint();
      if (newest === undefined) return;
      if (newest.note !== written) writeAtomically(path, newest.note, 0o600);
      written = newest.note;
      onWitnessed();
    } catch (err) {
      log.warn({ err, path }, "the newest checkpoint was not written beside the database; tried again");
    }
  }

  let writing = Promise.resolve();
  const tick = () => (writing = writing.then(write));
  return {
    start() {
      void tick();
      timer = setInterval(tick, intervalMs).unref();
    },
    async close() {
      clearInterval(timer);
      await tick();
    },
  };
}

/** @returns what the log does not have, or undefined when it contains the witnessed one */
async function whatIsMissing(witnessed: Checkpoint, newest: Checkpoint, store: Pick<Store, "entries" | "subtreeHashes">): Promise<string | undefined> {
  if (newest.size < witnessed.size) return `ends at ${newest.size} entries`;
  try {
    const proof = await consistencyProof(witnessed.size, newest.size, store);
    verifyConsistency({ oldSize: witnessed.size, oldRoot: witnessed.root, size: newest.size, root: newest.root, proof });
    return undefined;
  } catch (error) {
    if (!(error instanceof AuditError)) throw error;
    return `has ${newest.size} entries that are not a continuation of the witnessed ones`;
  }
}

function readWitness(path: string, mustExist: boolean): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" && !mustExist) return undefined;
    throw new RuntimeError("log_behind_witness", `the checkpoint ${path} cannot be read (${code}), so nobody can say whether the log is whole`, { cause });
  }
}

/** @param verifierKey  undefined in an empty store, and for a note that the store vouches for */
function readCheckpoint(text: string, where: string, verifierKey: string | undefined): Checkpoint {
  try {
    const note = parseNote(text);
    if (verifierKey !== undefined) verifyNote(note, [parseVerifierKey(verifierKey)]);
    return parseCheckpoint(note);
  } catch (cause) {
    throw new RuntimeError(
      "log_behind_witness",
      `the checkpoint in ${where} is not one of this log (${cause instanceof Error ? cause.message : "unreadable"}): it is another CA's, or was ` +
        "altered. Name the right store, or move the file away if this is a new CA",
      { cause },
    );
  }
}

const intervalMs = 10_000;
