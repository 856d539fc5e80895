import type { StandbyVitals, Vitals } from "../contract/vitals.ts";
import type { CheckFacts } from "./facts.ts";
import { finding, observed, type Finding, type Trouble } from "./finding.ts";

/** The database behind the CA. */
export function judgeStore({ vitals }: CheckFacts): readonly Finding[] {
  if (vitals === undefined) return [];
  const { store } = vitals;
  return [
    finding("store-answers", judgeAnswer(store)),
    finding("store-migrated", judgeSchema(store)),
    finding("store-durable", store.durable ? undefined : { status: "failed", what: "the database's settings let it forget what it acknowledged" }),
    ...(store.standbys === undefined ? [] : [finding("store-replication", judgeStandbys(store.standbys))]),
    ...(store.disk === undefined ? [] : [finding("store-disk", judgeDisk(store.disk))]),
    ...(store.sizeBytes === undefined ? [] : [observed("store-disk", `the database takes ${Math.ceil(store.sizeBytes / mib)} MiB; how much room its disk has left cannot be asked over SQL: watch that where it runs`)]),
  ];
}

function judgeAnswer({ answeredInMs }: Vitals["store"]): Trouble | undefined {
  if (answeredInMs < slowAnswerMs) return undefined;
  return { status: "warning", what: `it took ${Math.round(answeredInMs)} ms to answer nothing` };
}

function judgeSchema({ schema: { applied, known } }: Vitals["store"]): Trouble | undefined {
  if (applied === known) return undefined;
  if (applied > known) return { status: "warning", what: `it has had ${applied} migrations, and this replica knows ${known}: a newer version uses it too` };
  return { status: "failed", what: `it has had ${applied} of ${known} migrations`, remedy: "start the CA of this version once with the right to change tables" };
}

/** One that is gone has left its slot, where it had one. */
function judgeStandbys({ count, lag, missing }: StandbyVitals): Trouble | undefined {
  const [gone, ...others] = missing;
  if (gone !== undefined) {
    const more = others.length === 0 ? "" : `, nor for ${others.length} more`;
    return {
      status: "warning", what: `nobody has come for the replication slot ${gone.slot}${more}, and the database keeps ${Math.ceil(gone.keptBytes / mib)} MiB of its log for it`,
      remedy: "start the standby again, or drop the slot (pg_drop_replication_slot): it fills the disk",
    };
  }
  if (lag === undefined) return { status: "warning", what: `there ${count === 1 ? "is 1" : `are ${count}`}, and how far behind the CA's role may not see`, remedy: "grant pg_monitor to it" };
  if (lag.seconds < lagLimitSeconds && lag.bytes < lagLimitBytes) return undefined;
  return { status: "warning", what: `the slowest of ${count} is ${Math.round(lag.seconds)} s and ${Math.floor(lag.bytes / mib)} MiB behind` };
}

function judgeDisk({ freeBytes, totalBytes }: NonNullable<Vitals["store"]["disk"]>): Trouble | undefined {
  const what = `${Math.floor(freeBytes / mib)} MiB of ${Math.floor(totalBytes / mib)} are free`;
  if (freeBytes < criticalFreeBytes) return { status: "failed", what };
  return freeBytes < lowFreeBytes && freeBytes < totalBytes * lowShare ? { status: "warning", what } : undefined;
}

/** A commit waits for the disk; an answer to nothing does not. */
export const slowAnswerMs = 1000;
export const lagLimitSeconds = 30;
const mib = 1024 * 1024;
/** Two segments of the log: a standby that stands still is known by this, however little happens. */
export const lagLimitBytes = 32 * mib;
/** Some 30 000 certificates; SQLite needs room beside the file when its log is folded in. */
export const criticalFreeBytes = 64 * mib;
export const lowFreeBytes = 5 * 1024 * mib;
export const lowShare = 0.1;
