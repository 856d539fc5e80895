import type { Vitals } from "../contract/vitals.ts";
import type { CheckFacts } from "./facts.ts";
import { finding, shortId, type Finding, type Trouble } from "./finding.ts";

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
  ];
}

/** The keys of the authorities. */
export function judgeKeys({ vitals }: CheckFacts): readonly Finding[] {
  return (vitals?.keys ?? []).map(({ authorityId, location, trouble }) => (
    finding("key-answers", trouble === undefined ? undefined : { status: "failed", what: trouble }, `authority ${shortId(authorityId)} (${location})`)
  ));
}

function judgeAnswer({ answeredInMs }: Vitals["store"]): Trouble | undefined {
  if (answeredInMs < slowMs) return undefined;
  return { status: "warning", what: `it took ${Math.round(answeredInMs)} ms to answer nothing` };
}

function judgeSchema({ schema: { applied, known } }: Vitals["store"]): Trouble | undefined {
  if (applied === known) return undefined;
  if (applied > known) return { status: "warning", what: `it has had ${applied} migrations, and this replica knows ${known}: a newer version uses it too` };
  return { status: "failed", what: `it has had ${applied} of ${known} migrations`, remedy: "start the CA of this version once with the right to change tables" };
}

function judgeStandbys({ lagSeconds }: NonNullable<Vitals["store"]["standbys"]>): Trouble | undefined {
  return lagSeconds < lagLimitSeconds ? undefined : { status: "warning", what: `the slowest is ${Math.round(lagSeconds)} s behind` };
}

function judgeDisk({ freeBytes, totalBytes }: NonNullable<Vitals["store"]["disk"]>): Trouble | undefined {
  const what = `${Math.floor(freeBytes / mib)} MiB of ${Math.floor(totalBytes / mib)} are free`;
  if (freeBytes < criticalFreeBytes) return { status: "failed", what };
  return freeBytes < lowFreeBytes && freeBytes < totalBytes * lowShare ? { status: "warning", what } : undefined;
}

/** A commit waits for the disk; an answer to nothing does not. */
const slowMs = 1000;
const lagLimitSeconds = 30;
const mib = 1024 * 1024;
/** Some 30 000 certificates; SQLite needs room beside the file when its log is folded in. */
const criticalFreeBytes = 64 * mib;
const lowFreeBytes = 5 * 1024 * mib;
const lowShare = 0.1;
