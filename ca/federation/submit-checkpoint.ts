import { encodeAddCheckpoint } from "../audit/add-checkpoint.ts";
import { verifyCosignature } from "../audit/cosignature.ts";
import { AuditError } from "../audit/errors.ts";
import { parseNote, parseVerifierKey } from "../audit/note.ts";
import { consistencyProof } from "../audit/proof.ts";
import { paths } from "../contract/paths.ts";
import type { WitnessKeys } from "../contract/witness.ts";
import type { Documents } from "../documents.ts";
import type { CaMetrics } from "../metrics.ts";
import type { ReportRow } from "../store/rows/reports.ts";
import type { Store } from "../store/store.ts";
import type { HeldRelationship } from "./documents.ts";
import { askEndpoint, type EndpointAnswer, type EndpointProof } from "./endpoint.ts";
import { FederationError } from "./errors.ts";
import { peerApiUrl } from "./peer-api.ts";
import { pinKeys, requireKeys } from "./pin-keys.ts";

/** How far a peer has cosigned our log. */
export interface Cosigned {
  readonly size: number;
  /** When it did; absent: never. */
  readonly atMs?: number;
  /** Why it did not, the last time. */
  readonly error?: string;
  /** It says that our log is not the one it cosigned before. */
  readonly contradicts?: boolean;
}

export interface SubmitterDeps {
  readonly documents: Documents;
  readonly store: Pick<Store, "checkpoint" | "entries" | "subtreeHashes" | "report" | "reports">;
  readonly proofOf: (relationship: HeldRelationship) => Promise<EndpointProof>;
  readonly metrics: Pick<CaMetrics, "cosigned">;
  readonly now: () => Date;
}

/** Has federated CAs cosign this CA's log. */
export interface Submitter {
  /** Has a peer cosign the newest checkpoint, if there is one it has not. @throws {FederationError} */
  submit(relationship: HeldRelationship): Promise<void>;
  /** Of all, or of one. */
  cosigned(trustDomain?: string): Promise<ReadonlyMap<string, Cosigned>>;
}

/** @source C2SP tlog-witness, the log's side */
export function checkpointSubmitter({ documents, store, proofOf, metrics, now }: SubmitterDeps): Submitter {
  async function ask(relationship: HeldRelationship, path: string, body?: string): Promise<EndpointAnswer> {
    const url = new URL(path, peerApiUrl(relationship));
    return askEndpoint({ url, proof: await proofOf(relationship), ...(body === undefined ? { method: "GET" } : { method: "POST", body, contentType: "text/plain; charset=utf-8" }) });
  }

  async function learnKeys(relationship: HeldRelationship): Promise<HeldRelationship | undefined> {
    const { trustDomain } = relationship;
    const { status, text } = await ask(relationship, paths.witness);
    // An older version witnesses nothing.
    if (status === 404) return undefined;
    return pinKeys(documents, trustDomain, readKeys(trustDomain, status, text));
  }

  async function known(trustDomain: string): Promise<Cosigned> {
    const [row] = await store.reports({ kind: "cosignature", name: trustDomain, nowMs: now().getTime(), limit: 1 });
    return row === undefined ? { size: 0 } : JSON.parse(row.body) as Cosigned;
  }

  async function keep(trustDomain: string, cosigned: Cosigned): Promise<void> {
    await store.report(cosignatureRow(trustDomain, cosigned, now().getTime()));
  }

  return {
    async submit(relationship) {
      const pinned = relationship.logKey === undefined ? await learnKeys(relationship) : relationship;
      const newest = await store.checkpoint();
      if (pinned?.witnessKey === undefined || newest === undefined) return;
      const { trustDomain, witnessKey } = pinned;
      const before = await known(trustDomain);
      const nowMs = now().getTime();
      if (before.size === newest.size && before.error === undefined && nowMs - (before.atMs ?? 0) < againMs) return;
      try {
        let oldSize = Math.min(before.size, newest.size);
        let answer = await send(oldSize);
        if (answer.status === 409) {
          const size = /^(0|[1-9][0-9]{0,15})\n$/.exec(answer.text)?.[1];
          if (size === undefined) throw new FederationError("endpoint_answer", "it says that another checkpoint came before, and not which", { status: 409 });
          if (Number(size) > newest.size) throw contradiction(`it has cosigned ${size} entries of this log, which has ${newest.size}: the end of the log is gone, or it was restored from a backup`);
          if (Number(size) === oldSize && oldSize === newest.size) throw contradiction(`it has cosigned another history of ${size} entries: this log was rewritten, or is shown differently`);
          oldSize = Number(size);
          answer = await send(oldSize);
        }
        if (answer.status === 422) throw contradiction(`this log is no continuation of the ${oldSize} entries it has cosigned: the log was rewritten, or is shown differently`);
        // It learns our key with its own next look.
        if (answer.status === 404) throw new FederationError("endpoint_answer", "it does not know our log yet", { status: 404 });
        if (answer.status !== 200) throw new FederationError("endpoint_answer", `it answered with status ${answer.status}, and no cosignature`, { status: answer.status });
        const atMs = verify(`${newest.note}${answer.text}`, witnessKey);
        await keep(trustDomain, { size: newest.size, atMs });
        metrics.cosigned(trustDomain, "ok", newest.size);
      } catch (error) {
        if (!(error instanceof FederationError)) throw error;
        const contradicts = error instanceof Contradiction;
        await keep(trustDomain, { size: before.size, ...(before.atMs !== undefined && { atMs: before.atMs }), error: error.message, ...(contradicts && { contradicts }) });
        metrics.cosigned(trustDomain, contradicts ? "contradiction" : error.code);
        throw error;
      }

      async function send(oldSize: number): Promise<EndpointAnswer> {
        const { size, note } = newest!;
        return ask(pinned!, paths.witnessAddCheckpoint, encodeAddCheckpoint({ oldSize, proof: await consistencyProof(oldSize, size, store), note }));
      }
    },
    async cosigned(trustDomain) {
      const all = new Map<string, Cosigned>();
      for (let after: ReportRow | undefined; ;) {
        const rows = await store.reports({ kind: "cosignature", ...(trustDomain !== undefined && { name: trustDomain }), nowMs: now().getTime(), limit: pageRows, ...(after && { after }) });
        for (const row of rows) all.set(row.name, JSON.parse(row.body) as Cosigned);
        after = rows.at(-1);
        if (rows.length < pageRows) return all;
      }
    },
  };
}

function readKeys(trustDomain: string, status: number, text: string): WitnessKeys {
  if (status !== 200) throw new FederationError("endpoint_answer", `its witness answered with status ${status}`, { status });
  try {
    return requireKeys(trustDomain, JSON.parse(text) as Partial<WitnessKeys>);
  } catch (cause) {
    if (cause instanceof SyntaxError) throw new FederationError("endpoint_answer", "the keys of its log and its witness cannot be read", { cause });
    throw cause;
  }
}

/** What is kept of how far a peer has cosigned our log. */
export function cosignatureRow(trustDomain: string, cosigned: Cosigned, nowMs: number): ReportRow {
  return { kind: "cosignature", name: trustDomain, part: "", body: JSON.stringify({ ...cosigned, ...(cosigned.error !== undefined && { error: cosigned.error.slice(0, maxErrorLength) }) }), reportedAtMs: nowMs, expiresAtMs: nowMs + retentionMs };
}

function verify(note: string, witnessKey: string): number {
  try {
    return verifyCosignature(parseNote(note), parseVerifierKey(witnessKey, "cosignature"));
  } catch (cause) {
    if (cause instanceof AuditError) throw new FederationError("endpoint_answer", `its cosignature is none: ${cause.message}`, { cause });
    throw cause;
  }
}

/** What must never be: the peer remembers another log. */
class Contradiction extends FederationError {}

function contradiction(why: string): Contradiction {
  return new Contradiction("endpoint_answer", why);
}

/** A log that does not grow is cosigned again, so that it is known to be the newest. */
const againMs = 3_600_000;
const pageRows = 500;
const maxErrorLength = 500;
/** What a witness said stays known for a year when it is gone. */
const retentionMs = 365 * 24 * 3_600_000;
