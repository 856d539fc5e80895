import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { packActs } from "./acts-message.ts";
import type { Outcome } from "./outcome.ts";
import { sqliteSql } from "./sqlite-sql.ts";
import type { WriterData, WriterReply, WriterRequest } from "./sqlite-writer.ts";
import type { Act } from "./acts.ts";
import { StoreError } from "./errors.ts";
import type { AcmeRecord } from "./rows/acme-records.ts";
import type { Acknowledgement } from "./rows/holders.ts";
import type { LeaseAnswer, LeaseClaim } from "./rows/leases.ts";
import type { LogSealer } from "./rows/log.ts";
import type { ReportKey, ReportRow } from "./rows/reports.ts";
import type { SpentRequest } from "./rows/spent-requests.ts";

/** The writer's thread as the main one sees it. Each rejects with store_unavailable if the thread dies before it answers. */
export interface SqliteThread {
  unlock(sealer: LogSealer): Promise<void>;
  commitGroup(acts: readonly Act[]): Promise<readonly Outcome[]>;
  touchToken(id: string, usedAtMs: number): Promise<void>;
  acquireLease(claim: LeaseClaim): Promise<LeaseAnswer>;
  releaseLease(lease: Pick<LeaseClaim, "name" | "holder">): Promise<void>;
  acknowledge(group: readonly Acknowledgement[]): Promise<void>;
  spendRequest(request: SpentRequest, nowMs: number): Promise<boolean>;
  putAcmeRecord(record: AcmeRecord, nowMs: number): Promise<boolean>;
  report(rows: readonly ReportRow[], dropped: readonly ReportKey[]): Promise<void>;
  swapReport(row: ReportRow, expected: string | undefined): Promise<boolean>;
  ping(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts the thread that writes. When it dies it is started again at the next request, with the key it had: what was in
 * flight is rejected with an outcome that is not known, what comes later is served.
 * @param entry  what the thread runs; tests give one that breaks
 */
export function sqliteThread(path: string, entry: URL = writerEntry(), onLocked: (lockedMs: number) => void = () => {}): SqliteThread {
  let thread: Thread | undefined;
  let unlockedWith: LogSealer | undefined;

  function current(): Thread {
    if (thread?.alive() === true) return thread;
    thread = startThread(path, entry);
    // Answers come in order, so nothing is committed before this is done; should it fail, each commit says so.
    if (unlockedWith !== undefined) thread.ask({ kind: "unlock", sealer: unlockedWith }).catch(() => undefined);
    return thread;
  }

  return {
    async unlock(sealer) {
      confirm(await current().ask({ kind: "unlock", sealer }));
      unlockedWith = sealer;
    },
    async commitGroup(acts) {
      const message = packActs(acts);
      const reply = await current().ask({ kind: "commit", acts: message }, [message.bytes.buffer]);
      if (!("outcomes" in reply)) throw outOfStep();
      onLocked(reply.lockedMs);
      return reply.outcomes.map((outcome) => typeof outcome === "number" ? { logIndex: outcome } : outcome);
    },
    async touchToken(tokenId, usedAtMs) {
      confirm(await current().ask({ kind: "touch", tokenId, usedAtMs }));
    },
    async acquireLease(claim) {
      const reply = await current().ask({ kind: "acquire-lease", claim });
      if ("lease" in reply) return reply.lease;
      confirm(reply);
      throw outOfStep();
    },
    async releaseLease(lease) {
      confirm(await current().ask({ kind: "release-lease", lease }));
    },
    async acknowledge(group) {
      confirm(await current().ask({ kind: "acknowledge", group }));
    },
    async spendRequest(request, nowMs) {
      const reply = await current().ask({ kind: "spend", request, nowMs });
      if ("spent" in reply) return reply.spent;
      confirm(reply);
      throw outOfStep();
    },
    async putAcmeRecord(record, nowMs) {
      const reply = await current().ask({ kind: "put-acme", record, nowMs });
      if ("spent" in reply) return reply.spent;
      confirm(reply);
      throw outOfStep();
    },
    async report(rows, dropped) {
      confirm(await current().ask({ kind: "report", rows, dropped }));
    },
    async swapReport(row, expected) {
      const reply = await current().ask({ kind: "swap-report", row, expected });
      if ("swapped" in reply) return reply.swapped;
      confirm(reply);
      throw outOfStep();
    },
    async ping() {
      confirm(await current().ask({ kind: "ping" }));
    },
    async close() {
      if (thread?.alive() !== true) return;
      confirm(await thread.ask({ kind: "close" }));
      await thread.exited;
    },
  };
}

interface Thread {
  ask(request: WriterRequest, transfer?: ArrayBuffer[]): Promise<WriterReply>;
  alive(): boolean;
  readonly exited: Promise<void>;
}

function startThread(path: string, entry: URL): Thread {
  const workerData: WriterData = { path, sql: sqliteSql() };
  // Without the main thread's flags: one like --input-type would keep this from starting.
  const worker = new Worker(entry, { workerData, execArgv: [], name: "sqlite-writer" });
  const asked: { readonly resolve: (reply: WriterReply) => void; readonly reject: (error: StoreError) => void }[] = [];
  let cause: unknown;
  let alive = true;
  worker.on("message", (reply: WriterReply) => asked.shift()?.resolve(reply));
  worker.on("error", (error) => (cause = error));
  const exited = new Promise<void>((resolve) => {
    worker.on("exit", () => {
      alive = false;
      for (const { reject } of asked.splice(0)) reject(threadDied(cause));
      resolve();
    });
  });
  return {
    ask: (request, transfer) => new Promise((resolve, reject) => {
      asked.push({ resolve, reject });
      worker.postMessage(request, transfer);
    }),
    alive: () => alive,
    exited,
  };
}

function confirm(reply: WriterReply): void {
  if (!("error" in reply)) throw outOfStep();
  if (reply.error !== undefined) throw new StoreError(reply.error.code, reply.error.message);
}

function outOfStep(): Error {
  return new Error("the writer's answers are out of step");
}

function threadDied(cause: unknown): StoreError {
  return new StoreError(
    "store_unavailable",
    "The thread that writes to SQLite died with this act in flight: it may have landed. Look whether it did before trying again.",
    { cause, outcomeKnown: false },
  );
}

/** TypeScript as it is in the repository, or the bundle's second file beside the one this runs from. */
function writerEntry(): URL {
  const source = new URL("./sqlite-writer.ts", import.meta.url);
  return existsSync(source) ? source : new URL("./sqlite-writer.js", import.meta.url);
}
