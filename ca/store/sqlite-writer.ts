import { parentPort, workerData } from "node:worker_threads";
import { unpackActs, type ActsMessage } from "./acts-message.ts";
import type { Outcome } from "./outcome.ts";
import { sqliteCommit } from "./sqlite-commit.ts";
import type { SqliteSql } from "./sqlite-sql.ts";
import { StoreError, type StoreErrorCode } from "./errors.ts";
import type { AcmeRecord } from "./rows/acme-records.ts";
import type { Acknowledgement } from "./rows/holders.ts";
import type { LeaseAnswer, LeaseClaim } from "./rows/leases.ts";
import type { LogSealer } from "./rows/log.ts";
import type { ReportKey, ReportRow } from "./rows/reports.ts";
import type { SpentRequest } from "./rows/spent-requests.ts";

/** The writer's thread: an entry of its own, in the bundle too. Answers requests in their order, one for one. */

export type WriterRequest =
  | { readonly kind: "commit"; readonly acts: ActsMessage }
  | { readonly kind: "acknowledge"; readonly group: readonly Acknowledgement[] }
  | { readonly kind: "put-acme"; readonly record: AcmeRecord; readonly nowMs: number }
  | { readonly kind: "spend"; readonly request: SpentRequest; readonly nowMs: number }
  | { readonly kind: "report"; readonly rows: readonly ReportRow[]; readonly dropped: readonly ReportKey[] }
  | { readonly kind: "swap-report"; readonly row: ReportRow; readonly expected: string | undefined }
  | { readonly kind: "touch"; readonly tokenId: string; readonly usedAtMs: number }
  | { readonly kind: "acquire-lease"; readonly claim: LeaseClaim }
  | { readonly kind: "release-lease"; readonly lease: Pick<LeaseClaim, "name" | "holder"> }
  | { readonly kind: "unlock"; readonly sealer: LogSealer }
  | { readonly kind: "ping" }
  | { readonly kind: "close" };

export type WriterReply =
  /** A number for an act that landed: the index of its first entry. */
  | { readonly outcomes: readonly (number | Exclude<Outcome, { logIndex: number }>)[]; readonly lockedMs: number }
  | { readonly lease: LeaseAnswer }
  | { readonly spent: boolean }
  | { readonly swapped: boolean }
  | { readonly error: { readonly code: StoreErrorCode; readonly message: string } | undefined };

/** What the thread is started with. */
export interface WriterData {
  readonly path: string;
  readonly sql: SqliteSql;
}

if (parentPort !== null) serve(parentPort, workerData as WriterData);

function serve(port: NonNullable<typeof parentPort>, { path, sql }: WriterData): void {
  const writer = sqliteCommit(path, sql);
  port.on("message", (request: WriterRequest) => {
    port.postMessage(answer(request) satisfies WriterReply);
    if (request.kind === "commit" || request.kind === "acknowledge" || request.kind === "report") writer.tidy();
    if (request.kind === "close") port.close();
  });

  function answer(request: WriterRequest): WriterReply {
    if (request.kind === "commit") {
      const outcomes = writer.commitGroup(unpackActs(request.acts)).map((outcome) => "logIndex" in outcome ? outcome.logIndex : outcome);
      return { outcomes, lockedMs: writer.takeLockedMs() };
    }
    try {
      if (request.kind === "acquire-lease") return { lease: writer.acquireLease(request.claim) };
      if (request.kind === "spend") return { spent: writer.spendRequest(request.request, request.nowMs) };
      if (request.kind === "put-acme") return { spent: writer.putAcmeRecord(request.record, request.nowMs) };
      if (request.kind === "swap-report") return { swapped: writer.swapReport(request.row, request.expected) };
      if (request.kind === "release-lease") writer.releaseLease(request.lease);
      else if (request.kind === "touch") writer.touchToken(request.tokenId, request.usedAtMs);
      else if (request.kind === "acknowledge") writer.acknowledge(request.group);
      else if (request.kind === "report") writer.report(request.rows, request.dropped);
      else if (request.kind === "unlock") writer.unlock(request.sealer);
      else if (request.kind === "close") writer.close();
      return { error: undefined };
    } catch (error) {
      if (request.kind === "touch") return { error: undefined };
      if (!(error instanceof StoreError)) throw error;
      return { error: { code: error.code, message: error.message } };
    }
  }
}
