import { parseAddCheckpoint } from "../audit/add-checkpoint.ts";
import { parseCheckpoint, type Checkpoint } from "../audit/checkpoint.ts";
import type { Cosigner } from "../audit/cosignature.ts";
import { AuditError } from "../audit/errors.ts";
import { emptyRange, rootOf } from "../audit/merkle.ts";
import { encodeSignatureLine, parseNote, parseVerifierKey, verifyNote } from "../audit/note.ts";
import { verifyConsistency } from "../audit/verify-proof.ts";
import type { Documents } from "../documents.ts";
import type { Log } from "../log.ts";
import type { ReportRow } from "../store/rows/reports.ts";
import type { Store } from "../store/store.ts";
import { relationshipsOf } from "./documents.ts";

export interface WitnessDeps {
  readonly documents: Documents;
  readonly store: Pick<Store, "reports" | "swapReport">;
  readonly cosigner: Cosigner;
  readonly log: Log;
  readonly now: () => Date;
}

/** What is answered, as the protocol has it. */
export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422;
  readonly contentType: "text/plain; charset=utf-8" | "text/x.tlog.size";
  readonly body: string;
}

/** This CA as a witness of the logs of those it is federated with. */
export interface Witness {
  /** `POST <prefix>/add-checkpoint`. What was cosigned is durable when it resolves. */
  addCheckpoint(body: string): Promise<WitnessAnswer>;
  /** The newest checkpoint of a log that was cosigned here, with both signatures. */
  cosigned(origin: string): Promise<string | undefined>;
}

/**
 * Cosigns what continues everything it cosigned before, and nothing else: of two histories of a log, shown to two who ask here, one is refused.
 * @source C2SP tlog-witness
 */
export function logWitness({ documents, store, cosigner, log, now }: WitnessDeps): Witness {
  async function recordOf(origin: string): Promise<ReportRow | undefined> {
    const [row] = await store.reports({ kind: "witnessed", name: origin, nowMs: now().getTime(), limit: 1 });
    return row;
  }

  async function keysOf(origin: string): Promise<readonly string[]> {
    return [...relationshipsOf(await documents.current()).values()].flatMap(({ logKey }) => (logKey !== undefined && parseVerifierKey(logKey).name === origin ? [logKey] : []));
  }

  return {
    async addCheckpoint(body) {
      try {
        const { oldSize, proof, note: text } = parseAddCheckpoint(body);
        const note = parseNote(text);
        const checkpoint = parseCheckpoint(note);
        const { origin, size, root } = checkpoint;
        const keys = await keysOf(origin);
        if (keys.length === 0) return answer(404, `This CA witnesses no log ${origin}.\n`);
        const known = keys.map((key) => parseVerifierKey(key));
        try {
          verifyNote(note, known);
        } catch (error) {
          if (error instanceof AuditError) return answer(403, `${error.message}.\n`);
          throw error;
        }
        if (oldSize > size) return answer(400, "The old size is above that of the checkpoint.\n");
        const before = await recordOf(origin);
        const last: Checkpoint = before === undefined ? { origin, size: 0, root: rootOf(emptyRange) } : parseCheckpoint(parseNote(bodyOf(before)));
        if (oldSize !== last.size) return conflict(last.size);
        try {
          verifyConsistency({ oldSize, oldRoot: last.root, size, root, proof });
        } catch (error) {
          if (!(error instanceof AuditError)) throw error;
          // Signed by the log and no continuation of what it signed before: what it says it did is not what it said before.
          log.error({ origin, size, checkpoint: text, cosignedSize: last.size, err: error }, "the log of another CA shows another history than the one that was cosigned");
          return oldSize === size && proof.length === 0 ? conflict(last.size) : answer(422, `${error.message}.\n`);
        }
        const line = cosigner.cosign(note.text, now().getTime());
        const signed = new Set(note.signatures.filter(({ name, keyId }) => known.some((key) => key.name === name && key.keyId === keyId)).map(encodeSignatureLine));
        const swapped = await store.swapReport({
          kind: "witnessed", name: origin, part: "", body: JSON.stringify(`${note.text}\n${[...signed].join("")}${line}`), reportedAtMs: now().getTime(), expiresAtMs: neverMs,
        }, before?.body);
        // Another request was faster: what it put there decides. Until here nothing of the cosignature left this process.
        if (!swapped) return conflict(sizeOf(await recordOf(origin)));
        return answer(200, line);
      } catch (error) {
        if (error instanceof AuditError) return answer(400, `${error.message}.\n`);
        throw error;
      }
    },
    async cosigned(origin) {
      const row = await recordOf(origin);
      return row && bodyOf(row);
    },
  };
}

function bodyOf({ body }: ReportRow): string {
  return JSON.parse(body) as string;
}

function sizeOf(row: ReportRow | undefined): number {
  return row === undefined ? 0 : parseCheckpoint(parseNote(bodyOf(row))).size;
}

function conflict(size: number): WitnessAnswer {
  return { status: 409, contentType: "text/x.tlog.size", body: `${size}\n` };
}

function answer(status: WitnessAnswer["status"], body: string): WitnessAnswer {
  return { status, contentType: "text/plain; charset=utf-8", body };
}

/** What a witness forgets, it would sign again otherwise. */
const neverMs = Number.MAX_SAFE_INTEGER;
