import type { AttestationMethod } from "../contract/attestation.ts";
import type { AuthorityState, AuthorityType } from "../contract/authorities.ts";
import type { RevocationReason } from "../contract/revocations.ts";
import type { Role } from "../contract/roles.ts";
import type { StoreVitals } from "../contract/vitals.ts";

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
  /** Best effort, to the minute and not audited: when an API token was last used. */
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

/** An act and the audit entries that record it (already encoded: `encodeEntry`). */
export type Act = ActBody & {
  readonly entries: readonly [string, ...string[]];
  /** Refused with lease_lost unless the lease still has this token: what keeps a process that was paused from acting late. */
  readonly fence?: Fence;
  /** Refused with ceremony_unknown unless these requests are open; closes them, so that a request is answered once. */
  readonly answers?: { readonly ceremonies: readonly string[]; readonly closedAtMs: number };
  /** Told to everybody who is connected to the feed, and to who comes before it expires. Its sequence is the index of the act's first entry + 1. */
  readonly announce?: Omit<AnnouncementRow, "sequence">;
};

/** Proof that its bearer held a lease: good until another takes it. */
export interface Fence {
  readonly lease: string;
  readonly token: number;
}

export interface LeaseClaim {
  readonly name: string;
  /** One process, never two at once nor one after another: random. */
  readonly holder: string;
  /** The same for all that ask for this lease: one that would last longer was written by a clock that went back, and is over. */
  readonly ttlMs: number;
}

export type LeaseAnswer =
  /** The token rises with each change of holder and stays with each renewal. */
  | { readonly held: true; readonly token: number }
  | { readonly held: false; readonly holder: string };

export type ActBody =
  /** First start. Refused with already_initialized when another process was faster. */
  | { readonly kind: "initialize"; readonly state: CaState; readonly authorities: readonly AuthorityRow[]; readonly tokens: readonly TokenRow[] }
  | {
      readonly kind: "issue";
      readonly certificate: NewCertificate;
      /** Compare-and-swap on the token that pays for it: token_already_redeemed unless its version is still this one. */
      readonly redeem?: { readonly tokenId: string; readonly version: number };
      /** Remembered with the certificate: idempotency_conflict when scope and key are already taken. */
      readonly idempotency?: { readonly scope: string; readonly key: string; readonly requestHash: string; readonly expiresAtMs: number };
    }
  /** Refused with certificate_unknown or already_revoked. The revocation's sequence is the index of its first entry + 1. */
  | {
      readonly kind: "revoke";
      readonly serialNumber: string;
      readonly reason: RevocationReason;
      readonly revokedAtMs: number;
      /** Also revokes, each with an entry of its own behind this act's, what descends from it by `renewedFrom`. */
      readonly descendants?: Descendants;
    }
  | { readonly kind: "create-token"; readonly token: TokenRow }
  /** Refused with token_unknown when there is none or it was deleted. */
  | { readonly kind: "delete-token"; readonly tokenId: string; readonly deletedAtMs: number }
  /** One step in the life of authorities: authority_superseded unless all is as expected, and one of each type at most is active. */
  | {
      readonly kind: "change-authorities";
      readonly add?: readonly AuthorityRow[];
      readonly changes?: readonly AuthorityChange[];
      /** Compare-and-swap; needed where a root comes into the bundle or leaves it, and wherever else its readers are to look. */
      readonly bundleSequence?: { readonly from: number; readonly to: number };
      /** Authorities' certificates that are refused from now on: the n-th has the act's n-th entry, and its sequence from there. */
      readonly revocations?: readonly Omit<RevocationRow, "sequence">[];
    }
  /** Replaces a list's newest CRL: crl_superseded unless that has the number `replaces` (undefined: there is none yet). */
  | { readonly kind: "publish-crl"; readonly crl: CrlRow; readonly replaces: number | undefined }
  /** A request to a key that is offline. */
  | { readonly kind: "request-ceremony"; readonly ceremony: CeremonyRow }
  /**
   * Refused with documents_changed unless the newest change of any document is still `expects` (0 for none): what is changed was
   * judged together with what is there. The sequence of all that it changes is the index of its first entry + 1.
   */
  | { readonly kind: "change-documents"; readonly expects: number; readonly changes: readonly Omit<DocumentRow, "sequence">[] }
  /**
   * Forgets the certificates at [from, to) of the log that ended before then, the checkpoints there but the last of each 256
   * entries, and idempotency keys that are over. Their entries stay.
   */
  | { readonly kind: "prune"; readonly from: number; readonly to: number; readonly expiredBeforeMs: number; readonly nowMs: number }
  /** Every private key of the store under another sealing key. */
  | {
      readonly kind: "reseal";
      readonly sealedLogKey: Uint8Array;
      /** As `CaState` has it; empty where no KMS wraps the key. */
      readonly wrappedSealingKey: string;
      readonly authorities: readonly { readonly id: string; readonly sealed: Uint8Array }[];
    }
  /** A JWT-SVID, of which only the entries are kept; refused with authority_superseded when its key is stopped by then. */
  | { readonly kind: "issue-jwt-svid"; readonly authorityId: string; readonly expiresAtMs: number }
  /** Nothing but its entries: a denial, a login. */
  | { readonly kind: "record" };

export interface Descendants {
  /** Theirs, and that of the certificate they descend from: a renewal changes no names. */
  readonly spiffeId: string;
  /** Those whose notAfter is earlier are left as they are: they prove nothing any more. */
  readonly notAfterMs: number;
  /** Who revokes, for their entries. */
  readonly actor: string;
}

export interface Receipt {
  /** Index of the act's first entry in the log. */
  readonly logIndex: number;
}

export type StoreErrorCode =
  | "already_initialized"
  | "key_reused"
  | "serial_taken"
  | "token_unknown"
  | "token_already_redeemed"
  | "idempotency_conflict"
  | "certificate_unknown"
  | "certificate_revoked"
  | "already_revoked"
  /** Its authorities are not what the act expects: also for an `issue` by one that signs nothing (any more). */
  | "authority_superseded"
  | "authority_in_use"
  /** The act's lease is another's by now, or was given up. */
  | "lease_lost"
  | "crl_superseded"
  /** No such request to an offline key, or it was answered or taken back. */
  | "ceremony_unknown"
  | "documents_changed"
  /** The queue of waiting acts is full. Nothing was written: safe to retry. */
  | "store_busy"
  /** The database cannot be reached or refuses writes. `outcomeKnown` tells whether the act may have landed. */
  | "store_unavailable"
  /** The stored log does not fit its own head: nothing is written until an operator has looked. */
  | "log_inconsistent";

/** A refused or failed act. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: StoreErrorCode;
  /** False when the connection broke during COMMIT: the act may have landed, look before retrying. */
  readonly outcomeKnown: boolean;

  constructor(code: StoreErrorCode, message: string, options?: { cause?: unknown; outcomeKnown?: boolean }) {
    super(message, options);
    this.code = code;
    this.outcomeKnown = options?.outcomeKnown ?? true;
  }
}

/** What opening a store needs to seal the log: the checkpoint is signed inside the transaction it covers. */
export interface LogSealer {
  /** Name of the log in its checkpoints and of its key: `countersign.dev/<trust domain>/log` or what the operator chose. */
  readonly origin: string;
  /** Ed25519 private key, PKCS#8 DER: handed to the writer, never stored in clear. */
  readonly privateKeyPkcs8: Uint8Array;
}

export interface CaState {
  readonly trustDomain: string;
  /** Rises with each change of the bundle. */
  readonly bundleSequence: number;
  /** C2SP verifier key of the log: `name+hex+base64`. */
  readonly logVerifierKey: string;
  /** Ed25519 key of the log, sealed (`ca/signer/sealing.ts`). */
  readonly sealedLogKey: Uint8Array;
  readonly createdAtMs: number;
  /** Where KMS wraps the sealing key: the wrapped key and what unwraps it, as ca/signer/kms-sealing.ts writes it. Empty elsewhere. */
  readonly wrappedSealingKey?: string;
  /** New at the first start and after a restore: what tells the feed's readers that they may hold what this store never had. */
  readonly feedEpoch: string;
}

/** Where an authority's private key is. `offline`: nowhere here; a ceremony signs with it. */
export type AuthorityKey =
  /** PKCS#8, sealed (`ca/signer/sealing.ts`). */
  | { readonly kind: "sealed"; readonly sealed: Uint8Array }
  | { readonly kind: "kms"; readonly keyId: string }
  | { readonly kind: "pkcs11"; readonly uri: string }
  | { readonly kind: "offline" };

export interface AuthorityChange {
  readonly authorityId: string;
  /** Compare-and-swap. */
  readonly from: AuthorityState;
  readonly to: AuthorityState;
  readonly atMs: number;
  readonly activateAtMs?: number;
  /** Refused with authority_in_use while, at `atMs`, a certificate below it is valid or an authority below it may sign. */
  readonly unusedOnly?: boolean;
}

export interface AuthorityRow {
  /** Lower-case hex of the certificate's subject key identifier. */
  readonly id: string;
  readonly type: AuthorityType;
  readonly state: AuthorityState;
  readonly certificate: Uint8Array;
  readonly key: AuthorityKey;
  /** Whose key signed it; absent for a root, and for issuers of before it was kept. */
  readonly parentId?: string;
  /** Root: its name and key signed by the root before it, DER, for software that has only that one as its anchor. */
  readonly crossCertificate?: Uint8Array;
  /** Root or JWT key: the bundle sequence that first had it. Holders that acknowledged this one or a later one trust it. */
  readonly publishedSequence?: number;
  /** Prepared: not activated before; absent: when the policy says. */
  readonly activateAtMs?: number;
  /** The latest end of the certificates or tokens it signed for workloads; 0 before the first one. */
  readonly lastNotAfterMs: number;
  /** When it came into its state. */
  readonly stateSinceMs: number;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly createdAtMs: number;
}

export interface CeremonyRow {
  /** SHA-256 of the request's text, lower-case hex. */
  readonly id: string;
  /** The request file as it was written, whole. */
  readonly request: string;
  /** Of the authority that is asked for, where its key is made and sealed here. */
  readonly sealedPrivateKey?: Uint8Array;
  readonly createdAtMs: number;
  /** When it was answered or taken back; absent: it is open. */
  readonly closedAtMs?: number;
}

export interface NewCertificate {
  /** 32 lower-case hex digits. */
  readonly serialNumber: string;
  readonly spiffeId: string;
  readonly dnsNames: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly authorityId: string;
  readonly attestation: AttestationMethod;
  /** DER. */
  readonly certificate: Uint8Array;
  /** SHA-256 of the SPKI, 32 bytes: unique in the store (DESIGN promise 5). */
  readonly keyFingerprint: Uint8Array;
  readonly issuedAtMs: number;
  /** The join token it descends from, directly or through renewals: what ties a re-attestation to its holder. */
  readonly tokenId?: string;
  /** Name of the configured attestor that its line began with: it says whether, and as what, the line may go on. */
  readonly attestor?: string;
  /**
   * Serial number of the certificate whose key proved who asks, for a renewal or a return with a join token: the commit is
   * refused with certificate_revoked when that one is revoked by then.
   */
  readonly renewedFrom?: string;
  /** Sequence of the bundle that its holder has said to hold; absent for 0. */
  readonly acknowledgedSequence?: number;
}

export interface CertificateRow extends NewCertificate {
  readonly logIndex: number;
  readonly revokedAtMs?: number;
  readonly revocationReason?: RevocationReason;
  readonly revocationSequence?: number;
}

export type CertificateEnd = Pick<CertificateRow, "logIndex" | "issuedAtMs" | "notAfterMs">;

/** An account, order or authorization of ACME's, as JSON. */
export interface AcmeRecord {
  readonly id: string;
  /** As it was read; its successor has one more. */
  readonly version: number;
  readonly body: string;
  readonly untilMs: number;
}

export interface CertificateQuery {
  readonly limit: number;
  /** Log index, where only revoked ones are asked for the sequence of a revocation: rows below it only. */
  readonly before?: number;
  /** Exact ID, or a prefix ending in `/*`. */
  readonly spiffeId?: string;
  /** Only IDs of these patterns, as `spiffeId` has them; of none, none. */
  readonly within?: readonly string[];
  readonly status?: "valid" | "expired" | "revoked";
  readonly expiresBeforeMs?: number;
  /** Only issuers signed for other CAs. */
  readonly issuersOnly?: boolean;
  /** The instant `status` is judged at. */
  readonly nowMs: number;
}

export interface IdempotentRow {
  readonly requestHash: string;
  readonly serialNumber: string;
  readonly expiresAtMs: number;
}

export interface TokenRow {
  readonly id: string;
  readonly type: "join" | "api";
  /** SHA-256 of the secret, 32 bytes. */
  readonly secretHash: Uint8Array;
  /** Rises with each redemption: what a redeem swaps on. */
  readonly version: number;
  readonly createdAtMs: number;
  readonly createdBy: string;
  readonly expiresAtMs?: number;
  readonly spiffeId?: string;
  readonly dnsNames?: readonly string[];
  readonly redeemedAtMs?: number;
  readonly name?: string;
  readonly role?: Role;
  readonly scope?: readonly string[];
  readonly lastUsedAtMs?: number;
  readonly deletedAtMs?: number;
}

/** What is decided by operators and may be taken back: who operates, who may call whom, who answers to a name. */
export type DocumentKind = "operator" | "policy" | "service" | FederationKind;

/**
 * `federation`: another trust domain whose bundle is fetched, and where. `foreign-bundle`: the last good one. `federation-invitation`:
 * a secret, hashed, for which another CA may add itself.
 */
export type FederationKind = "federation" | "foreign-bundle" | "federation-invitation";

export interface DocumentRow {
  readonly kind: DocumentKind;
  readonly name: string;
  /** JSON; absent when it was removed. */
  readonly body?: string;
  /** Rises with each change, of all documents together. */
  readonly sequence: number;
  readonly changedAtMs: number;
  readonly changedBy: string;
}

export interface RevocationRow {
  readonly sequence: number;
  readonly serialNumber: string;
  readonly reason: RevocationReason;
  readonly revokedAtMs: number;
  readonly notAfterMs: number;
  /** Who issued the certificate, and so lists it. */
  readonly authorityId: string;
}

/**
 * The newest CRL of one list. The entries of a large one are not kept a second time: with what is here and the revocations it is
 * put together again, byte for byte.
 */
export interface CrlRow {
  readonly authorityId: string;
  /** Which of the authority's lists: the last part of its path. */
  readonly list: string;
  /** CRLNumber: never used for two CRLs of a list. */
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** Revocations up to this sequence are in it. */
  readonly sequence: number;
  /** Left out: revocations up to `droppedSequence` of certificates that ended before `droppedBeforeMs`. */
  readonly droppedSequence: number;
  readonly droppedBeforeMs: number;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  readonly signature: Uint8Array;
  /** The whole of it, for one that cannot be put together from revocations: a root's. */
  readonly crl?: Uint8Array;
}

export interface Acknowledgement {
  readonly serialNumber: string;
  /** Of the bundle that is held. */
  readonly sequence: number;
}

export interface SpentRequest {
  readonly spiffeId: string;
  readonly nonce: string;
  /** Until when it has to be remembered. */
  readonly untilMs: number;
}

export interface HoldersQuery {
  readonly sequence: number;
  /** Only those whose newest certificate is by one of these. */
  readonly authorityIds?: readonly string[];
  readonly nowMs: number;
  readonly limit: number;
}

/** A holder that is behind, by its newest certificate. */
export interface HolderRow {
  readonly spiffeId: string;
  readonly serialNumber: string;
  readonly acknowledgedSequence: number;
  readonly notAfterMs: number;
}

/** What the feed's readers have to hold to be up to date. */
export interface FeedPosition {
  readonly feedEpoch: string;
  readonly bundleSequence: number;
  /** 0 when there is none, as for announcements. */
  readonly revocationSequence: number;
  readonly announcementSequence: number;
  /** Of the newest change of any document. */
  readonly documentSequence: number;
  /** `reportedAtMs` of the newest tap that is kept; unlike the others it falls when that is over. */
  readonly tapSequence: number;
}

/** Said once to all who are connected, e.g. to renew because an authority was tainted. */
export interface AnnouncementRow {
  readonly sequence: number;
  /** JSON (`ca/contract/watch.ts`). */
  readonly body: string;
  readonly expiresAtMs: number;
}

export interface CheckpointRow {
  readonly size: number;
  /** The signed note, whole. */
  readonly note: string;
}

export interface EntryRow {
  readonly index: number;
  /** The bytes that were hashed, as text. */
  readonly body: string;
  /** RFC 6962 leaf hash as stored; `audit verify` recomputes it. */
  readonly leafHash: Uint8Array;
}

/**
 * `edges`: who talks to whom, by serial number. `tap`: a tap that is open; `tap-records`: what it brought and nobody has read yet.
 * `federation`: how the last look for another trust domain's bundle went; `federation-peer`: which bundle of ours its CA has.
 * `witnessed`: the newest checkpoint of another CA's log that this CA cosigned, by the log's origin; `cosignature`: theirs under ours, by name.
 * `session`: who is signed in to the dashboard, by the hash of what their browser holds; `sign-in`: who may sign in by a link, by the hash of it.
 */
export type ReportKind = "edges" | "tap" | "tap-records" | "federation" | "federation-peer" | "witnessed" | "cosignature" | "session" | "sign-in";

export interface ReportKey {
  readonly kind: ReportKind;
  readonly name: string;
  /** Of several under one name; "" where there is one. */
  readonly part: string;
}

export interface ReportRow extends ReportKey {
  /** JSON. */
  readonly body: string;
  readonly reportedAtMs: number;
  readonly expiresAtMs: number;
}

export interface ReportQuery {
  readonly kind: ReportKind;
  /** Only those of this name. */
  readonly name?: string;
  readonly after?: Pick<ReportKey, "name" | "part">;
  readonly nowMs: number;
  readonly limit: number;
}
