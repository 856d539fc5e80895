import { parseCheckpoint, type Checkpoint } from "../audit/checkpoint.ts";
import { AuditError } from "../audit/errors.ts";
import { hashLeaf } from "../audit/merkle.ts";
import { parseNote, parseVerifierKey, verifyNote } from "../audit/note.ts";
import { verifyConsistency, verifyInclusion } from "../audit/verify-proof.ts";
import type { CheckFacts, LogFacts } from "./facts.ts";
import { finding, type Finding, type Trouble } from "./finding.ts";

/** The audit log, as far as it shows from outside; `audit verify` reads all of it. */
export function judgeLog({ log, vitals }: CheckFacts): readonly Finding[] {
  return [...(log === undefined ? [] : judgeProofs(log)), ...judgeWitness(vitals)];
}

function judgeProofs({ checkpoint, verifierKey, newest, kept }: LogFacts): readonly Finding[] {
  let current: Checkpoint;
  try {
    current = readCheckpoint(checkpoint, verifierKey);
    if (newest === undefined && current.size > 0) return [finding("log-verifies", { status: "failed", what: `it is over ${current.size} entries, and the last of them is not there` })];
    if (newest !== undefined) {
      const { entry: { index, body }, proof: { hashes } } = newest;
      verifyInclusion({ index, size: current.size, leafHash: hashLeaf(body), proof: hashes.map(bytes), root: current.root });
    }
  } catch (error) {
    return [finding("log-verifies", { status: "failed", what: reasonOf(error) })];
  }
  return [finding("log-verifies"), ...kept.map((one) => finding("log-continues", judgeKept(one, current, verifierKey), `the checkpoint in ${one.where}`))];
}

function judgeKept({ note, proof }: LogFacts["kept"][number], current: Checkpoint, verifierKey: string | undefined): Trouble | undefined {
  try {
    const { size, root } = readCheckpoint(note, verifierKey);
    if (size > current.size) return { status: "failed", what: `it is over ${size} entries, and the log has ${current.size}` };
    if (proof === undefined) return { status: "failed", what: "the CA gives no proof for it" };
    verifyConsistency({ oldSize: size, oldRoot: root, size: current.size, root: current.root, proof: proof.hashes.map(bytes) });
    return undefined;
  } catch (error) {
    return { status: "failed", what: reasonOf(error) };
  }
}

function judgeWitness(vitals: CheckFacts["vitals"]): readonly Finding[] {
  if (vitals === undefined) return [];
  const { size, witnessedSize } = vitals.log;
  if (witnessedSize === undefined) return [finding("log-witnessed", { status: "warning", what: "there is none" })];
  return [finding("log-witnessed", witnessedSize > size ? { status: "failed", what: `it is over ${witnessedSize} entries, and the log has ${size}` } : undefined)];
}

function readCheckpoint(text: string, verifierKey: string | undefined): Checkpoint {
  const note = parseNote(text);
  if (verifierKey !== undefined) verifyNote(note, [parseVerifierKey(verifierKey)]);
  return parseCheckpoint(note);
}

function reasonOf(error: unknown): string {
  if (error instanceof AuditError) return error.message;
  throw error;
}

const bytes = (base64: string): Uint8Array => Buffer.from(base64, "base64");
