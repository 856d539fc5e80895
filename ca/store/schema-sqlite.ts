import { sql } from "drizzle-orm";
import { blob, index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import type { AttestationMethod } from "../contract/attestation.ts";
import type { AuthorityState, AuthorityType } from "../contract/authorities.ts";
import type { RevocationReason } from "../contract/revocations.ts";
import type { Role } from "../contract/roles.ts";
import type { AuthorityKey } from "./rows/authorities.ts";
import type { DocumentKind } from "./rows/documents.ts";
import type { ReportKind } from "./rows/reports.ts";

/**
 * The tables on SQLite. Property for property the same as `schema-postgres.ts`, so that `row-columns.ts` serves both. Times are
 * milliseconds since the epoch, lists are JSON. Every index is paid for by each certificate issued: about 9 us of CPU for one
 * with random keys, so there is one only where a query or a promise needs it.
 */

/** What `initialize` wrote: one row, ID 1. */
export const caState = sqliteTable("ca_state", {
  id: integer("id").primaryKey(),
  trustDomain: text("trust_domain").notNull(),
  bundleSequence: integer("bundle_sequence").notNull(),
  logVerifierKey: text("log_verifier_key").notNull(),
  sealedLogKey: blob("sealed_log_key", { mode: "buffer" }).notNull(),
  createdAtMs: integer("created_at_ms").notNull(),
  /** Empty in a store of a version that had no feed. */
  feedEpoch: text("feed_epoch").notNull().default(""),
  /** Empty where the sealing key is a file's or the environment's. */
  wrappedSealingKey: text("wrapped_sealing_key").notNull().default(""),
});

/** The tree's compact range: one row, ID 1. */
export const logHead = sqliteTable("log_head", {
  id: integer("id").primaryKey(),
  size: integer("size").notNull(),
  /** Its hashes, one after another. */
  hashes: blob("hashes", { mode: "buffer" }).notNull(),
});

export const auditEntries = sqliteTable("audit_entries", {
  index: integer("idx").primaryKey(),
  body: text("body").notNull(),
  leafHash: blob("leaf_hash", { mode: "buffer" }).notNull(),
});

export const auditSubtrees = sqliteTable("audit_subtrees", {
  level: integer("level").notNull(),
  index: integer("idx").notNull(),
  hash: blob("hash", { mode: "buffer" }).notNull(),
}, (table) => [primaryKey({ columns: [table.level, table.index] })]);

export const auditCheckpoints = sqliteTable("audit_checkpoints", {
  size: integer("size").primaryKey(),
  note: text("note").notNull(),
});

export const authorities = sqliteTable("authorities", {
  id: text("id").primaryKey(),
  type: text("type").$type<AuthorityType>().notNull(),
  state: text("state").$type<AuthorityState>().notNull(),
  certificate: blob("certificate", { mode: "buffer" }).notNull(),
  keyKind: text("key_kind").$type<AuthorityKey["kind"]>().notNull().default("sealed"),
  /** Where the kind is `sealed`. */
  sealedPrivateKey: blob("sealed_private_key", { mode: "buffer" }),
  /** A KMS key's ID or a PKCS#11 URI. */
  keyReference: text("key_reference"),
  parentId: text("parent_id"),
  crossCertificate: blob("cross_certificate", { mode: "buffer" }),
  publishedSequence: integer("published_sequence"),
  activateAtMs: integer("activate_at_ms"),
  /** Null where certificates were signed before it was kept. */
  lastNotAfterMs: integer("last_not_after_ms"),
  stateSinceMs: integer("state_since_ms"),
  notBeforeMs: integer("not_before_ms").notNull(),
  notAfterMs: integer("not_after_ms").notNull(),
  createdAtMs: integer("created_at_ms").notNull(),
}, (table) => [index("authorities_state").on(table.state)]);

export const certificates = sqliteTable("certificates", {
  logIndex: integer("log_index").primaryKey(),
  serialNumber: text("serial_number").notNull(),
  spiffeId: text("spiffe_id").notNull(),
  dnsNames: text("dns_names"),
  notBeforeMs: integer("not_before_ms").notNull(),
  notAfterMs: integer("not_after_ms").notNull(),
  authorityId: text("authority_id").notNull(),
  attestation: text("attestation").$type<AttestationMethod>().notNull(),
  certificate: blob("certificate", { mode: "buffer" }).notNull(),
  keyFingerprint: blob("key_fingerprint", { mode: "buffer" }).notNull(),
  issuedAtMs: integer("issued_at_ms").notNull(),
  tokenId: text("token_id"),
  renewedFrom: text("renewed_from"),
  /** Name of the attestor that its line began with. */
  attestor: text("attestor"),
  acknowledgedSequence: integer("acknowledged_sequence").notNull().default(0),
}, (table) => [
  uniqueIndex("certificates_serial_number").on(table.serialNumber),
  uniqueIndex("certificates_key_fingerprint").on(table.keyFingerprint),
  index("certificates_spiffe_id").on(table.spiffeId),
  // Of the few issuers signed for other CAs: costs a workload's certificate nothing.
  index("certificates_issuers").on(table.logIndex).where(sql`attestation = 'issuer'`),
  // Certificates expire about in the order they are issued in, so this grows at its end: a fraction of what a random key costs.
  index("certificates_not_after").on(table.notAfterMs, table.acknowledgedSequence),
]);

export const revocations = sqliteTable("revocations", {
  sequence: integer("sequence").primaryKey(),
  serialNumber: text("serial_number").notNull(),
  reason: text("reason").$type<RevocationReason>().notNull(),
  revokedAtMs: integer("revoked_at_ms").notNull(),
  notAfterMs: integer("not_after_ms").notNull(),
  authorityId: text("authority_id").notNull().default(""),
}, (table) => [uniqueIndex("revocations_serial_number").on(table.serialNumber)]);

export const crls = sqliteTable("crls", {
  authorityId: text("authority_id").notNull(),
  list: text("list").notNull(),
  number: integer("number").notNull(),
  thisUpdateMs: integer("this_update_ms").notNull(),
  nextUpdateMs: integer("next_update_ms").notNull(),
  sequence: integer("sequence").notNull(),
  droppedSequence: integer("dropped_sequence").notNull(),
  droppedBeforeMs: integer("dropped_before_ms").notNull(),
  fingerprint: text("fingerprint").notNull(),
  signature: blob("signature", { mode: "buffer" }).notNull(),
  crl: blob("crl", { mode: "buffer" }),
}, (table) => [primaryKey({ columns: [table.authorityId, table.list] })]);

export const tokens = sqliteTable("tokens", {
  id: text("id").primaryKey(),
  type: text("type").$type<"join" | "api">().notNull(),
  secretHash: blob("secret_hash", { mode: "buffer" }).notNull(),
  version: integer("version").notNull(),
  createdAtMs: integer("created_at_ms").notNull(),
  createdBy: text("created_by").notNull(),
  expiresAtMs: integer("expires_at_ms"),
  spiffeId: text("spiffe_id"),
  dnsNames: text("dns_names"),
  redeemedAtMs: integer("redeemed_at_ms"),
  name: text("name"),
  role: text("role").$type<Role>(),
  scope: text("scope"),
  lastUsedAtMs: integer("last_used_at_ms"),
  deletedAtMs: integer("deleted_at_ms"),
}, (table) => [index("tokens_created").on(table.createdAtMs, table.id)]);

/** Who may do what only one process does at a time; a row stays when its lease is given up, for its token must not fall. */
export const leases = sqliteTable("leases", {
  name: text("name").primaryKey(),
  holder: text("holder").notNull(),
  token: integer("token").notNull(),
  expiresAtMs: integer("expires_at_ms").notNull(),
});

export const idempotencyKeys = sqliteTable("idempotency_keys", {
  scope: text("scope").notNull(),
  key: text("key").notNull(),
  requestHash: text("request_hash").notNull(),
  serialNumber: text("serial_number").notNull(),
  expiresAtMs: integer("expires_at_ms").notNull(),
}, (table) => [
  primaryKey({ columns: [table.scope, table.key] }),
  index("idempotency_keys_expires").on(table.expiresAtMs),
]);

/** What operators decide and may take back: who operates, policies, services. A removed one stays as a row without body, so that readers notice. */
export const documents = sqliteTable("documents", {
  kind: text("kind").$type<DocumentKind>().notNull(),
  name: text("name").notNull(),
  body: text("body"),
  sequence: integer("sequence").notNull(),
  changedAtMs: integer("changed_at_ms").notNull(),
  changedBy: text("changed_by").notNull(),
}, (table) => [primaryKey({ columns: [table.kind, table.name] }), index("documents_sequence").on(table.sequence)]);
/** What the feed tells connected proxies once: nothing that a later reader could not do without after `expiresAtMs`. */
export const announcements = sqliteTable("announcements", {
  sequence: integer("sequence").primaryKey(),
  body: text("body").notNull(),
  expiresAtMs: integer("expires_at_ms").notNull(),
});

/** What was asked of keys that are offline; a request is answered once. */
export const ceremonies = sqliteTable("ceremonies", {
  id: text("id").primaryKey(),
  request: text("request").notNull(),
  sealedPrivateKey: blob("sealed_private_key", { mode: "buffer" }),
  createdAtMs: integer("created_at_ms").notNull(),
  closedAtMs: integer("closed_at_ms"),
});

/** Signed requests that were acted upon, until nobody would believe them again: each is good once. */
export const spentRequests = sqliteTable("spent_requests", {
  spiffeId: text("spiffe_id").notNull(),
  nonce: text("nonce").notNull(),
  untilMs: integer("until_ms").notNull(),
}, (table) => [primaryKey({ columns: [table.spiffeId, table.nonce] }), index("spent_requests_until").on(table.untilMs)]);

/** ACME's accounts, orders and authorizations. */
export const acmeRecords = sqliteTable("acme_records", {
  id: text("id").primaryKey(),
  version: integer("version").notNull(),
  body: text("body").notNull(),
  untilMs: integer("until_ms").notNull(),
}, (table) => [index("acme_records_until").on(table.untilMs)]);

/** What proxies tell and nobody needs after a while. */
export const reports = sqliteTable("reports", {
  kind: text("kind").$type<ReportKind>().notNull(),
  name: text("name").notNull(),
  part: text("part").notNull(),
  body: text("body").notNull(),
  reportedAtMs: integer("reported_at_ms").notNull(),
  expiresAtMs: integer("expires_at_ms").notNull(),
}, (table) => [primaryKey({ columns: [table.kind, table.name, table.part] }), index("reports_expires").on(table.expiresAtMs)]);
