import { randomUUID } from "node:crypto";
import packageJson from "../package.json" with { type: "json" };
import type { ReplicaVitals } from "./contract/vitals.ts";
import type { Log } from "./log.ts";
import type { ReportRow } from "./store/rows/reports.ts";
import type { Store } from "./store/store.ts";

/** What the processes that share one database know of each other. */
export interface Replicas {
  /** The store that was given, but that who holds its leases is noted. */
  readonly store: Store;
  /** Those that were heard of lately, and this one, by address; undefined on SQLite, which one process has for itself. */
  list(): Promise<readonly ReplicaVitals[] | undefined>;
  /** Says from now on that this one is there, four times a minute. */
  start(): void;
  /** Says that it goes: then nobody wonders where it is. */
  close(): Promise<void>;
}

export interface ReplicasDeps {
  readonly store: Store;
  /** What people know this process by; it need not be unique. */
  readonly address: () => string;
  readonly log: Log;
  readonly now: () => Date;
}

/** Tells the other replicas of this one, by a row in the store that expires, and reads theirs. */
export function replicas({ store: given, address, log, now }: ReplicasDeps): Replicas {
  const id = randomUUID();
  const startedAtMs = now().getTime();
  const leases = leaseNotes(given);
  const isAlone = given.kind === "sqlite";
  let timer: NodeJS.Timeout | undefined;
  let saying: Promise<void> | undefined;
  let closed = false;

  const own = (nowMs: number): Said => ({ id, address: address(), version: packageJson.version, startedAtMs, holders: leases.own(), heardAtMs: nowMs });

  async function say(): Promise<void> {
    const { address: name, heardAtMs, ...body } = own(now().getTime());
    const row: ReportRow = { kind: "replica", name, part: id, body: JSON.stringify(body), reportedAtMs: heardAtMs, expiresAtMs: heardAtMs + retentionMs };
    await given.report(row).catch((err: unknown) => log.warn({ err }, "the other replicas could not be told that this one is there; tried again"));
  }

  function schedule(): void {
    saying = say().finally(() => {
      if (!closed) timer = setTimeout(schedule, intervalMs).unref();
    });
  }

  return {
    store: leases.store,
    async list() {
      if (isAlone) return undefined;
      const nowMs = now().getTime();
      const rows = await given.reports({ kind: "replica", nowMs, limit: maxReplicas });
      const said = [own(nowMs), ...rows.filter(({ part }) => part !== id).map(read)];
      const live = new Set(said.filter(({ heardAtMs }) => nowMs - heardAtMs < silentAfterMs).map((one) => one.address));
      // One that is silent where another one speaks was started again.
      return said.filter((one) => nowMs - one.heardAtMs < silentAfterMs || !live.has(one.address))
        .sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : a.startedAtMs - b.startedAtMs))
        .map((one) => ({
          address: one.address, version: one.version, startedAt: new Date(one.startedAtMs).toISOString(), heardAt: new Date(one.heardAtMs).toISOString(),
          answers: one.id === id, silent: nowMs - one.heardAtMs >= silentAfterMs, leases: leases.heldBy(one.holders),
        }));
    },
    start() {
      if (!isAlone) schedule();
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      if (saying === undefined) return;
      await saying;
      await given.dropReports([{ kind: "replica", name: address(), part: id }])
        .catch((err: unknown) => log.warn({ err }, "the other replicas could not be told that this one ends; they forget it in some minutes"));
    },
  };
}

interface Said {
  readonly id: string;
  readonly address: string;
  readonly version: string;
  readonly startedAtMs: number;
  /** The names by which it asks for leases. */
  readonly holders: readonly string[];
  readonly heardAtMs: number;
}

function read({ name, body, reportedAtMs }: ReportRow): Said {
  return { ...(JSON.parse(body) as Omit<Said, "address" | "heardAtMs">), address: name, heardAtMs: reportedAtMs };
}

/** Who holds which lease, as the answers to this process say: each replica asks for all of them again and again. */
function leaseNotes(store: Store) {
  const asked = new Set<string>();
  const notes = new Map<string, { readonly holder: string; readonly untilMs: number }>();
  return {
    store: {
      ...store,
      acquireLease: async (claim) => {
        const answer = await store.acquireLease(claim);
        asked.add(claim.holder);
        notes.set(claim.name, { holder: answer.held ? claim.holder : answer.holder, untilMs: performance.now() + claim.ttlMs });
        return answer;
      },
    } satisfies Store,
    own: (): readonly string[] => [...asked],
    heldBy: (holders: readonly string[]): readonly string[] => (
      [...notes].filter(([, { holder, untilMs }]) => holders.includes(holder) && performance.now() < untilMs).map(([name]) => name).sort()
    ),
  };
}

const intervalMs = 15_000;
/** Four times in which it should have spoken. */
const silentAfterMs = 60_000;
/** How long one that ended without a word is told of. */
const retentionMs = 10 * 60_000;
/** More than one database has connections for. */
const maxReplicas = 200;
