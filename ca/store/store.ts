import type { StoreVitals } from "../contract/vitals.ts";
import type { Act, Receipt } from "./acts.ts";
import type { AcmeRecord } from "./rows/acme-records.ts";
import type { AuthorityRow } from "./rows/authorities.ts";
import type { CaState } from "./rows/ca-state.ts";
import type { CeremonyRow } from "./rows/ceremonies.ts";
import type { CertificateEnd, CertificateQuery, CertificateRow, IdempotentRow } from "./rows/certificates.ts";
import type { CrlRow } from "./rows/crls.ts";
import type { DocumentRow } from "./rows/documents.ts";
import type { AnnouncementRow, FeedPosition } from "./rows/feed.ts";
import type { Acknowledgement, HolderRow, HoldersQuery } from "./rows/holders.ts";
import type { LeaseAnswer, LeaseClaim } from "./rows/leases.ts";
import type { CheckpointRow, EntryRow, LogSealer } from "./rows/log.ts";
import type { ReportKey, ReportQuery, ReportRow } from "./rows/reports.ts";
import type { RevocationRow } from "./rows/revocations.ts";
import type { SpentRequest } from "./rows/spent-requests.ts";
import type { TokenRow } from "./rows/tokens.ts";

/**
 * What the CA keeps. Two adapters, SQLite and Postgres, one contract suite (`test/ca/store/contract.ts`).
 *
 * Guarantees of `commit`, which every use-case relies on:
 * - Atomic: the act's rows, its audit entries, the tree head and the signed checkpoint over it land together or not at all.
 * - Durable: when it resolves they survive kill -9 and power loss (SQLite WAL synchronous=FULL, Postgres synchronous_commit=on).
 * - Serial: acts take effect one after another, in the order of their entries in the log, on any number of replicas.
 *   What an act expects (a token not yet redeemed, a key not yet used) is checked inside that order, so of two that
 *   compete exactly one wins and the other is refused with a StoreError.
 * - Grouped: acts that arrive while a commit is in flight share the next one.
 * - A refused act leaves no trace; the others in its group land.
 */
export interface Store {
  readonly kind: "sqlite" | "postgres";

  /**
   * Hands over the key that seals the log; needed once, before the first commit. The key is itself kept in the store, so
   * a store opens without it.
   * @throws {StoreError} log_inconsistent if the newest checkpoint was not signed by this key over the stored head
   */
  unlock(sealer: LogSealer): Promise<void>;
  /** @throws {StoreError} see StoreErrorCode */
  commit(act: Act): Promise<Receipt>;

  /** What `initialize` wrote, or undefined in an empty store. */
  state(): Promise<CaState | undefined>;
  authorities(): Promise<readonly AuthorityRow[]>;

  certificate(serialNumber: string): Promise<CertificateRow | undefined>;
  /** The certificate with this `keyFingerprint`. */
  certificateOfKey(keyFingerprint: Uint8Array): Promise<CertificateRow | undefined>;
  /** Newest first, of the revoked those whose revocation is the newest; at most `limit` rows below `before`. */
  certificates(query: CertificateQuery): Promise<readonly CertificateRow[]>;
  /** Ascending by log index, from `start` on: what decides whether they may be forgotten. */
  certificateEnds(query: { readonly start: number; readonly limit: number }): Promise<readonly CertificateEnd[]>;
  /** The certificate that an earlier request with this key got, if it is remembered. */
  idempotent(scope: string, key: string): Promise<IdempotentRow | undefined>;

  token(id: string): Promise<TokenRow | undefined>;
  /** Newest first, deleted ones left out; at most `limit` rows created before `before` (a token id); with `within`, join tokens of these IDs. */
  tokens(query: { readonly limit: number; readonly before?: string; readonly within?: readonly string[] }): Promise<readonly TokenRow[]>;
  /** Best effort, to the hour and not audited: when an API token was last used. */
  touchToken(id: string, usedAtMs: number): Promise<void>;

  /** Ascending by sequence, those above `after`. */
  revocations(query: { readonly after: number; readonly limit: number }): Promise<readonly RevocationRow[]>;
  /** Sequence of the newest revocation, 0 when there is none. */
  revocationSequence(): Promise<number>;
  /** The newest CRL of one list of an authority. */
  crl(authorityId: string, list: string): Promise<CrlRow | undefined>;
  /** The newest CRL of each list that was ever signed. */
  crls(): Promise<readonly CrlRow[]>;

  /**
   * Raises what the holder of a certificate, and of those it was renewed from, has acknowledged; never lowers it. Durable when it
   * resolves, not audited, and grouped: those that arrive while a write is in flight share the next one.
   */
  acknowledge(acknowledgement: Acknowledgement): Promise<void>;
  /**
   * Who has not acknowledged `sequence` yet: live certificates that nobody renewed from and nobody revoked, the CA's own left out;
   * those that end last come first.
   */
  holdersBehind(query: HoldersQuery): Promise<readonly HolderRow[]>;

  /**
   * Takes down that a signed request is acted upon: true for the first of all replicas that says so, false from then on. Not audited;
   * durable before anything that is committed once it has resolved. Forgets some of those that are over, by the caller's clock.
   */
  spendRequest(request: SpentRequest, nowMs: number): Promise<boolean>;

  /** Undefined also for one that is over. */
  acmeRecord(id: string, nowMs: number): Promise<AcmeRecord | undefined>;
  /**
   * Compare-and-swap: the record has to be as it was read, version 0 for one that was not there. Durable when it resolves; not audited.
   * Forgets some of those that are over, by the caller's clock.
   * @returns false when somebody was faster, and nothing is changed
   */
  putAcmeRecord(record: AcmeRecord, nowMs: number): Promise<boolean>;

  /** Where the feed stands: one cheap look, asked for several times a second. */
  feedPosition(): Promise<FeedPosition>;
  /** Ascending by sequence, those above `after` that have not expired. */
  announcements(query: { readonly after: number; readonly nowMs: number; readonly limit: number }): Promise<readonly AnnouncementRow[]>;

  /**
   * Keeps what a proxy told until it expires, in place of what it told before under the same key, unless that was told later. Every
   * replica reads it once this resolves; not audited, and grouped as acknowledgements are.
   */
  report(row: ReportRow): Promise<void>;
  dropReports(keys: readonly ReportKey[]): Promise<void>;
  /**
   * Compare-and-swap of a row that only this writes: true when it was `expected` (undefined: not there) and is this one now, durably. Of
   * those that swap at once on any replicas one gets true. Not audited.
   */
  swapReport(row: ReportRow, expected: string | undefined): Promise<boolean>;
  /** By kind, name and part, ascending: those behind `after` that have not expired. */
  reports(query: ReportQuery): Promise<readonly ReportRow[]>;

  /** Requests to offline keys, newest first. */
  ceremonies(query: { readonly limit: number }): Promise<readonly CeremonyRow[]>;
  ceremony(id: string): Promise<CeremonyRow | undefined>;

  /** Ascending by sequence, those changed after `after`, removed ones among them. Bounded by what the use-cases let in. */
  documents(query: { readonly after: number }): Promise<readonly DocumentRow[]>;

  /** Newest signed checkpoint (a C2SP signed note) and the size it is over. */
  checkpoint(): Promise<CheckpointRow | undefined>;
  /** Every kept checkpoint above a size, ascending. One is kept per commit. */
  checkpoints(query: { readonly after: number; readonly limit: number }): Promise<readonly CheckpointRow[]>;
  /** Entries from index `start` (inclusive), ascending. */
  entries(query: { readonly start: number; readonly limit: number }): Promise<readonly EntryRow[]>;
  /** Stored subtree hashes: level L, index N is the root over entries [N * 256^L, (N+1) * 256^L), L >= 1. */
  subtreeHashes(query: { readonly level: number; readonly start: number; readonly limit: number }): Promise<readonly Uint8Array[]>;

  /**
   * Takes a lease that is free or over, or renews the caller's own: of those that ask at once one gets it. Judged by the
   * database's clock, on SQLite by the machine's; durable when it resolves; not audited. A lease keeps two processes from the
   * same work, no more: what must not be done twice is committed with its `fence`.
   */
  acquireLease(claim: LeaseClaim): Promise<LeaseAnswer>;
  /** Gives a lease up, so that the next need not wait for its end; nothing happens to one that is another's by now. */
  releaseLease(lease: Pick<LeaseClaim, "name" | "holder">): Promise<void>;

  /** How the database is, for whoever operates it. */
  vitals(): Promise<StoreVitals>;
  /** The database's clock, to some tenths of a second; undefined while it is not known, and on SQLite, whose clock is ours. */
  databaseTimeMs(): number | undefined;
  /** Resolves when the store answers; rejects with store_unavailable otherwise. */
  ping(): Promise<void>;
  /** Waits for commits in flight, then lets go of the database. Later calls are refused with store_unavailable. */
  close(): Promise<void>;
}
