import { sql } from "drizzle-orm";
import { bigint, customType, index, integer, pgTable, primaryKey, text, uniqueIndex } from "drizzle-orm/pg-core";
import type { AttestationMethod } from "../contract/attestation.ts";
import type { AuthorityState, AuthorityType } from "../contract/authorities.ts";
import type { RevocationReason } from "../contract/revocations.ts";
import type { Role } from "../contract/roles.ts";
import type { AuthorityKey } from "./rows/authorities.ts";
import type { DocumentKind } from "./rows/documents.ts";
import type { ReportKind } from "./rows/reports.ts";

/**
 * The tables on Postgres. Property for property the same as `schema-sqlite.ts`, so that `row-columns.ts` serves both. Times are
 * milliseconds since the epoch, lists are JSON. Indexes only where a query or a promise needs one.
 */

const bytea = customType<{ data: Buffer; driverData: Buffer }>({ dataType: () => "bytea" });

/** What `initialize` wrote: one row, ID 1. */
export const caState = pgTable("ca_state", {
  id: integer("id").primaryKey(),
  trustDomain: text("trust_domain").notNull(),
  bundleSequence: bigint("bundle_sequence", { mode: "number" }).notNull(),
  logVerifierKey: text("log_verifier_key").notNull(),
  sealedLogKey: bytea("sealed_log_key").notNull(),
  createdAtMs: bigint("created_at_ms", { mode: "number" }).notNull(),
  /** Empty in a store of a version that had no feed. */
  feedEpoch: text("feed_epoch").notNull().default(""),
  /** Empty where the sealing key is a file's or the environment's. */
  wrappedSealingKey: text("wrapped_sealing_key").notNull().default(""),
});

/** The tree's compact range: one row, ID 1. */
export const logHead = pgTable("log_head", {
  id: integer("id").primaryKey(),
  size: bigint("size", { mode: "number" }).notNull(),
  /** Its hashes, one after another. */
  hashes: bytea("hashes").notNull(),
});

export const auditEntries = pgTable("audit_entries", {
  index: bigint("idx", { mode: "number" }).primaryKey(),
  body: text("body").notNull(),
  leafHash: bytea("leaf_hash").notNull(),
});

export const auditSubtrees = pgTable("audit_subtrees", {
  level: integer("level").notNull(),
  index: bigint("idx", { mode: "number" }).notNull(),
  hash: bytea("hash").notNull(),
}, (table) => [primaryKey({ columns: [table.level, table.index] })]);

export const auditCheckpoints = pgTable("audit_checkpoints", {
  size: bigint("size", { mode: "number" }).primaryKey(),
  note: text("note").notNull(),
});

export const authorities = pgTable("authorities", {
  id: text("id").primaryKey(),
  type: text("type").$type<AuthorityType>().notNull(),
  state: text("state").$type<AuthorityState>().notNull(),
  certificate: bytea("certificate").notNull(),
  keyKind: text("key_kind").$type<AuthorityKey["kind"]>().notNull().default("sealed"),
  /** Where the kind is `sealed`. */
  sealedPrivateKey: bytea("sealed_private_key"),
  /** A KMS key's ID or a PKCS#11 URI. */
  keyReference: text("key_reference"),
  parentId: text("parent_id"),
  crossCertificate: bytea("cross_certificate"),
  publishedSequence: bigint("published_sequence", { mode: "number" }),
  activateAtMs: bigint("activate_at_ms", { mode: "number" }),
  /** Null where certificates were signed before it was kept. */
  lastNotAfterMs: bigint("last_not_after_ms", { mode: "number" }),
  stateSinceMs: bigint("state_since_ms", { mode: "number" }),
  notBeforeMs: bigint("not_before_ms", { mode: "number" }).notNull(),
  notAfterMs: bigint("not_after_ms", { mode: "number" }).notNull(),
  createdAtMs: bigint("created_at_ms", { mode: "number" }).notNull(),
}, (table) => [index("authorities_state").on(table.state)]);

export const certificates = pgTable("certificates", {
  logIndex: bigint("log_index", { mode: "number" }).primaryKey(),
  serialNumber: text("serial_number").notNull(),
  spiffeId: text("spiffe_id").notNull(),
  dnsNames: text("dns_names"),
  notBeforeMs: bigint("not_before_ms", { mode: "number" }).notNull(),
  notAfterMs: bigint("not_after_ms", { mode: "number" }).notNull(),
  authorityId: text("authority_id").notNull(),
  attestation: text("attestation").$type<AttestationMethod>().notNull(),
  certificate: bytea("certificate").notNull(),
  keyFingerprint: bytea("key_fingerprint").notNull(),
  issuedAtMs: bigint("issued_at_ms", { mode: "number" }).notNull(),
  tokenId: text("token_id"),
  renewedFrom: text("renewed_from"),
  /** Name of the attestor that its line began with. */
  attestor: text("attestor"),
  acknowledgedSequence: bigint("acknowledged_sequence", { mode: "number" }).notNull().default(0),
}, (table) => [
  uniqueIndex("certificates_serial_number").on(table.serialNumber),
  uniqueIndex("certificates_key_fingerprint").on(table.keyFingerprint),
  // The operator class compares bytes whatever the database's locale is: what a search by prefix needs.
  index("certificates_spiffe_id").on(table.spiffeId.op("text_pattern_ops"), table.logIndex),
  // Certificates expire about in the order they are issued in, so this grows at its end: a fraction of what a random key costs.
  index("certificates_not_after").on(table.notAfterMs, table.acknowledgedSequence),
  // Of the few issuers signed for other CAs: costs a workload's certificate nothing.
  index("certificates_issuers").on(table.logIndex).where(sql`attestation = 'issuer'`),
]);

export const revocations = pgTable("revocations", {
  sequence: bigint("sequence", { mode: "number" }).primaryKey(),
  serialNumber: text("serial_number").notNull(),
  reason: text("reason").$type<RevocationReason>().notNull(),
  revokedAtMs: bigint("revoked_at_ms", { mode: "number" }).notNull(),
  notAfterMs: bigint("not_after_ms", { mode: "number" }).notNull(),
  authorityId: text("authority_id").notNull().default(""),
}, (table) => [uniqueIndex("revocations_serial_number").on(table.serialNumber)]);

export const crls = pgTable("crls", {
  authorityId: text("authority_id").notNull(),
  list: text("list").notNull(),
  number: bigint("number", { mode: "number" }).notNull(),
  thisUpdateMs: bigint("this_update_ms", { mode: "number" }).notNull(),
  nextUpdateMs: bigint("next_update_ms", { mode: "number" }).notNull(),
  sequence: bigint("sequence", { mode: "number" }).notNull(),
  droppedSequence: bigint("dropped_sequence", { mode: "number" }).notNull(),
  droppedBeforeMs: bigint("dropped_before_ms", { mode: "number" }).notNull(),
  fingerprint: text("fingerprint").notNull(),
  signature: bytea("signature").notNull(),
  crl: bytea("crl"),
}, (table) => [primaryKey({ columns: [table.authorityId, table.list] })]);

export const tokens = pgTable("tokens", {
  id: text("id").primaryKey(),
  type: text("type").$type<"join" | "api">().notNull(),
  secretHash: bytea("secret_hash").notNull(),
  version: bigint("version", { mode: "number" }).notNull(),
  createdAtMs: bigint("created_at_ms", { mode: "number" }).notNull(),
  createdBy: text("created_by").notNull(),
  expiresAtMs: bigint("expires_at_ms", { mode: "number" }),
  spiffeId: text("spiffe_id"),
  dnsNames: text("dns_names"),
  redeemedAtMs: bigint("redeemed_at_ms", { mode: "number" }),
  name: text("name"),
  role: text("role").$type<Role>(),
  scope: text("scope"),
  lastUsedAtMs: bigint("last_used_at_ms", { mode: "number" }),
  deletedAtMs: bigint("deleted_at_ms", { mode: "number" }),
}, (table) => [index("tokens_created").on(table.createdAtMs, table.id)]);

/** Who may do what only one process does at a time; a row stays when its lease is given up, for its token must not fall. */
export const leases = pgTable("leases", {
  name: text("name").primaryKey(),
  holder: text("holder").notNull(),
  token: bigint("token", { mode: "number" }).notNull(),
  expiresAtMs: bigint("expires_at_ms", { mode: "number" }).notNull(),
});

export const idempotencyKeys = pgTable("idempotency_keys", {
  scope: text("scope").notNull(),
  key: text("key").notNull(),
  requestHash: text("request_hash").notNull(),
  serialNumber: text("serial_number").notNull(),
  expiresAtMs: bigint("expires_at_ms", { mode: "number" }).notNull(),
}, (table) => [
  primaryKey({ columns: [table.scope, table.key] }),
  index("idempotency_keys_expires").on(table.expiresAtMs),
]);

/** What operators decide and may take back: who operates, policies, services. A removed one stays as a row without body, so that readers notice. */
export const documents = pgTable("documents", {
  kind: text("kind").$type<DocumentKind>().notNull(),
  name: text("name").notNull(),
  body: text("body"),
  sequence: bigint("sequence", { mode: "number" }).notNull(),
  changedAtMs: bigint("changed_at_ms", { mode: "number" }).notNull(),
  changedBy: text("changed_by").notNull(),
}, (table) => [primaryKey({ columns: [table.kind, table.name] }), index("documents_sequence").on(table.sequence)]);
/** What the feed tells connected proxies once: nothing that a later reader could not do without after `expiresAtMs`. */
export const announcements = pgTable("announcements", {
  sequence: bigint("sequence", { mode: "number" }).primaryKey(),
  body: text("body").notNull(),
  expiresAtMs: bigint("expires_at_ms", { mode: "number" }).notNull(),
});

/** What was asked of keys that are offline; a request is answered once. */
export const ceremonies = pgTable("ceremonies", {
  id: text("id").primaryKey(),
  request: text("request").notNull(),
  sealedPrivateKey: bytea("sealed_private_key"),
  createdAtMs: bigint("created_at_ms", { mode: "number" }).notNull(),
  closedAtMs: bigint("closed_at_ms", { mode: "number" }),
});

/** Signed requests that were acted upon, until nobody would believe them again: each is good once. */
export const spentRequests = pgTable("spent_requests", {
  spiffeId: text("spiffe_id").notNull(),
  nonce: text("nonce").notNull(),
  untilMs: bigint("until_ms", { mode: "number" }).notNull(),
}, (table) => [primaryKey({ columns: [table.spiffeId, table.nonce] }), index("spent_requests_until").on(table.untilMs)]);

/** ACME's accounts, orders and authorizations. */
export const acmeRecords = pgTable("acme_records", {
  id: text("id").primaryKey(),
  version: bigint("version", { mode: "number" }).notNull(),
  body: text("body").notNull(),
  untilMs: bigint("until_ms", { mode: "number" }).notNull(),
}, (table) => [index("acme_records_until").on(table.untilMs)]);

/** What proxies tell and nobody needs after a while. */
export const reports = pgTable("reports", {
  kind: text("kind").$type<ReportKind>().notNull(),
  name: text("name").notNull(),
  part: text("part").notNull(),
  body: text("body").notNull(),
  reportedAtMs: bigint("reported_at_ms", { mode: "number" }).notNull(),
  expiresAtMs: bigint("expires_at_ms", { mode: "number" }).notNull(),
}, (table) => [primaryKey({ columns: [table.kind, table.name, table.part] }), index("reports_expires").on(table.expiresAtMs)]);
