import { encodeAddCheckpoint, parseAddCheckpoint, type AddCheckpoint } from "../audit/add-checkpoint.ts";
import { parseCheckpoint, type Checkpoint } from "../audit/checkpoint.ts";
import { verifyCosignature } from "../audit/cosignature.ts";
import { AuditError } from "../audit/errors.ts";
import { parseNote, parseVerifierKey, verifyNote } from "../audit/note.ts";
import { consistencyProof } from "../audit/proof.ts";
import { verifyConsistency } from "../audit/verify-proof.ts";
import type { WitnessKeys } from "../contract/witness.ts";
import type { Documents } from "../documents.ts";
import type { CaMetrics } from "../metrics.ts";
import type { CheckpointRow } from "../store/rows/log.ts";
import type { Store } from "../store/store.ts";
import { relationshipsOf, type HeldRelationship } from "./documents.ts";
import { askEndpoint } from "./endpoint.ts";
import { FederationError } from "./errors.ts";
import { hubLogFile, maxShown, readHubLog, type HubLog } from "./hub-log.ts";
import { refused, requireRecent } from "./hub-notes.ts";
import { witnessRing } from "./hub-ring.ts";
import { pinKeys, requireKeys } from "./pin-keys.ts";
import { cosignatureRow, type Cosigned, type Submitter } from "./submit-checkpoint.ts";
import type { Witness } from "./witness.ts";

export interface HubWitnessDeps {
  readonly documents: Documents;
  readonly store: Pick<Store, "checkpoint" | "entries" | "subtreeHashes" | "report">;
  readonly witness: Witness;
  readonly submitter: Pick<Submitter, "cosigned">;
  /** Ours. */
  readonly keys: WitnessKeys;
  readonly trustDomain: string;
  readonly webRoots: readonly string[] | undefined;
  readonly metrics: Pick<CaMetrics, "cosigned">;
  readonly now: () => Date;
  readonly random?: () => number;
}

/** Members of a hub as witnesses of each other's audit logs, who never ask each other: each shows its log, and what it cosigned. */
export interface HubWitness {
  /** What this CA shows; undefined: it came by no hub, or has no checkpoint yet. */
  shown(): Promise<HubLog | undefined>;
  /**
   * Cosigns what a member shows of its log, and takes its cosignature of ours, where one is the other's witness.
   * @param isAsked  also where it was done lately
   * @throws {FederationError}
   */
  look(relationship: HeldRelationship, isAsked?: boolean): Promise<void>;
}

/** Makes the witness of those that `witnessRing` says; each member is looked at every ten minutes. */
export function hubWitness({ documents, store, witness, submitter, keys, trustDomain: own, webRoots, metrics, now, random = Math.random }: HubWitnessDeps): HubWitness {
  const dueMs = new Map<string, number>();
  const lastMs = new Map<string, number>();
  let rings: { readonly of: ReadonlyMap<string, HeldRelationship>; readonly byHub: ReadonlyMap<string, ReturnType<typeof witnessRing>> } | undefined;

  /** Made once for each change. */
  function isWitness(relationships: ReadonlyMap<string, HeldRelationship>, hub: string, by: string, log: string): boolean {
    if (rings?.of !== relationships) {
      const members = Map.groupBy([...relationships.values()].filter((one) => one.hub !== undefined), (one) => one.hub!.name);
      rings = { of: relationships, byHub: new Map([...members].map(([name, all]) => [name, witnessRing([own, ...all.map(({ trustDomain }) => trustDomain)])])) };
    }
    return rings.byHub.get(hub)?.(by, log) ?? false;
  }

  async function cosignTheirs({ checkpoints }: HubLog, logKey: string): Promise<void> {
    const before = await witness.cosigned(parseVerifierKey(logKey).name);
    const size = before === undefined ? 0 : parseCheckpoint(parseNote(before)).size;
    // One that was cosigned here already is cosigned again, so that it is known to be the newest.
    const continued = checkpoints.map(readShown).find(({ oldSize, newSize }) => oldSize === size || newSize === size);
    // It hears by what is shown here from where it has to begin.
    if (continued === undefined) return;
    const { status, body } = await witness.addCheckpoint(encodeAddCheckpoint(continued.oldSize === size ? continued : { ...continued, oldSize: size, proof: [] }));
    if (status !== 200) throw refused(`its log is not cosigned: ${body.trim() || `status ${status}`}`);
  }

  /** Of a cosigned checkpoint both signatures count: a witness alone could make up another history of our log. */
  async function takeTheirs(trustDomain: string, note: string, witnessKey: string, before: Cosigned | undefined): Promise<void> {
    const newest = await store.checkpoint();
    if (newest === undefined) return;
    const read = readCosigned(note, witnessKey, keys.logKey);
    if (before?.atMs !== undefined && before.atMs >= read.atMs && before.size === read.size) return;
    const error = await contradiction(read, newest);
    const { size, atMs } = read;
    await store.report(cosignatureRow(trustDomain, error === undefined ? { size, atMs } : { size: before?.size ?? 0, ...(before?.atMs !== undefined && { atMs: before.atMs }), error, contradicts: true }, now().getTime()));
    metrics.cosigned(trustDomain, error === undefined ? "ok" : "contradiction", ...(error === undefined ? [size] as const : []));
    if (error !== undefined) throw refused(error);
  }

  async function contradiction({ size, root }: Checkpoint, newest: CheckpointRow): Promise<string | undefined> {
    if (size > newest.size) return `it has cosigned ${size} entries of this log, which has ${newest.size}: the end of the log is gone, or it was restored from a backup`;
    try {
      verifyConsistency({ oldSize: size, oldRoot: root, size: newest.size, root: parseCheckpoint(parseNote(newest.note)).root, proof: await consistencyProof(size, newest.size, store) });
      return undefined;
    } catch (error) {
      if (!(error instanceof AuditError)) throw error;
      return `this log is no continuation of the ${size} entries it has cosigned: the log was rewritten, or is shown differently`;
    }
  }

  return {
    async shown() {
      const [newest, relationships] = [await store.checkpoint(), relationshipsOf(await documents.current())];
      const members = [...relationships.values()].filter((one) => one.hub !== undefined);
      if (newest === undefined || members.length === 0) return undefined;
      const theirs = await submitter.cosigned();
      const sizes = new Set([0]);
      const cosigned = new Map<string, string>();
      for (const { trustDomain, hub, logKey } of members) {
        const { size = 0 } = theirs.get(trustDomain) ?? {};
        if (isWitness(relationships, hub!.name, trustDomain, own) && size < newest.size && sizes.size < maxShown) sizes.add(size);
        const note = logKey !== undefined && cosigned.size < maxShown && isWitness(relationships, hub!.name, own, trustDomain) ? await witness.cosigned(parseVerifierKey(logKey).name) : undefined;
        if (note !== undefined) cosigned.set(trustDomain, note);
      }
      const checkpoints: string[] = [];
      for (const oldSize of sizes) checkpoints.push(encodeAddCheckpoint({ oldSize, proof: await consistencyProof(oldSize, newest.size, store), note: newest.note }));
      return { trustDomain: own, signedAtMs: now().getTime(), ...keys, checkpoints, cosigned: Object.fromEntries(cosigned) };
    },
    async look(relationship, isAsked = false) {
      const { trustDomain, hub, endpointUrl } = relationship;
      const nowMs = now().getTime();
      if (hub === undefined || (!isAsked && nowMs < (dueMs.get(trustDomain) ?? 0))) return;
      const relationships = relationshipsOf(await documents.current());
      const [cosigns, isCosigned] = [isWitness(relationships, hub.name, own, trustDomain), isWitness(relationships, hub.name, trustDomain, own)];
      if (!cosigns && !isCosigned) return;
      const { status, text } = await askEndpoint({ method: "GET", url: new URL(hubLogFile(trustDomain), endpointUrl), proof: { profile: "https_web", roots: webRoots } });
      // One that was published by hand, long ago.
      if (status === 404) return;
      if (status !== 200) throw new FederationError("endpoint_answer", `the hub answered with status ${status}, and not with the log of ${trustDomain}`, { status });
      dueMs.set(trustDomain, nowMs + lookEveryMs * (1 - jitterPart * random()));
      const log = readHubLog(text, trustDomain, hub.key);
      requireRecent(log.signedAtMs, lastMs.get(trustDomain), nowMs);
      lastMs.set(trustDomain, log.signedAtMs);
      const told = requireKeys(trustDomain, log);
      const pinned = relationship.logKey === undefined ? await pinKeys(documents, trustDomain, told) : relationship;
      if (pinned === undefined) return;
      if (pinned.logKey !== told.logKey || pinned.witnessKey !== told.witnessKey) throw refused("its log or its witness has another key than when it was first seen");
      const mine = log.cosigned[own];
      if (isCosigned && mine !== undefined) await takeTheirs(trustDomain, mine, told.witnessKey, (await submitter.cosigned(trustDomain)).get(trustDomain));
      if (cosigns) await cosignTheirs(log, told.logKey);
    },
  };
}

function readShown(text: string): AddCheckpoint & { readonly newSize: number } {
  try {
    const request = parseAddCheckpoint(text);
    return { ...request, newSize: parseCheckpoint(parseNote(request.note)).size };
  } catch (cause) {
    if (cause instanceof AuditError) throw refused(`what it shows of its log is refused: ${cause.message}`, cause);
    throw cause;
  }
}

/** A checkpoint of our log that a witness cosigned, and when. */
function readCosigned(text: string, witnessKey: string, logKey: string): Checkpoint & { readonly atMs: number } {
  try {
    const note = parseNote(text);
    const atMs = verifyCosignature(note, parseVerifierKey(witnessKey, "cosignature"));
    verifyNote(note, [parseVerifierKey(logKey)]);
    return { ...parseCheckpoint(note), atMs };
  } catch (cause) {
    if (cause instanceof AuditError) throw refused(`its cosignature of our log is none: ${cause.message}`, cause);
    throw cause;
  }
}

/** A log is cosigned once an hour at least for `countersign check` to be content. */
const lookEveryMs = 600_000;
const jitterPart = 0.2;
