import { AuditError } from "./errors.ts";
import { hashBytes } from "./merkle.ts";
import { decodeBase64 } from "./note.ts";

/** A log asks a witness to cosign its checkpoint. */
export interface AddCheckpoint {
  /** What the witness cosigned last, as the log believes. */
  readonly oldSize: number;
  /** Of consistency, from there to the checkpoint. */
  readonly proof: readonly Uint8Array[];
  /** The signed note. */
  readonly note: string;
}

/** @source C2SP tlog-witness, "add-checkpoint" */
export function encodeAddCheckpoint({ oldSize, proof, note }: AddCheckpoint): string {
  return `old ${oldSize}\n${proof.map((hash) => `${Buffer.from(hash).toString("base64")}\n`).join("")}\n${note}`;
}

/** @throws {AuditError} note_malformed */
export function parseAddCheckpoint(body: string): AddCheckpoint {
  const end = body.indexOf("\n\n");
  const [first = "", ...hashes] = body.slice(0, Math.max(end, 0)).split("\n");
  const [, size] = /^old (0|[1-9][0-9]{0,15})$/.exec(first) ?? [];
  const proof = hashes.map((line) => decodeBase64(line));
  if (size === undefined || !Number.isSafeInteger(Number(size)) || proof.length > maxProofLines || !proof.every((hash) => hash?.length === hashBytes)) {
    throw new AuditError("note_malformed", `an add-checkpoint request is "old SIZE", at most ${maxProofLines} hashes in base64, an empty line and a checkpoint`);
  }
  return { oldSize: Number(size), proof: proof as Uint8Array[], note: body.slice(end + 2) };
}

/** Of a log of 2^63 entries. */
const maxProofLines = 63;
