import { and, asc, desc, eq, getTableColumns, gt, gte, isNull, lt, lte, max, ne, or, sql, type SQL } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import type { SQLiteColumn, SQLiteTable } from "drizzle-orm/sqlite-core";
import { maxAcknowledgedGenerations } from "./acknowledgements.ts";
import { maxForgottenAlong, maxForgottenReports } from "./forgetting.ts";
import { maxLaterCertificates } from "./facts.ts";
import { acmeRecords, announcements, auditCheckpoints, auditEntries, auditSubtrees, authorities, caState, ceremonies, certificates, crls, documents, idempotencyKeys, leases, logHead, reports, revocations, spentRequests, tokens } from "./schema-sqlite.ts";

/** An INSERT and the properties of a row in the order of its placeholders. */
export interface Insertion<Row> {
  readonly text: string;
  readonly properties: readonly (keyof Row & string)[];
}

export type SqliteSql = ReturnType<typeof sqliteSql>;

/**
 * The writer's SQL, rendered by drizzle from the schema. The writer's thread gets it as text and starts without drizzle, which
 * takes longer to load than all the rest of it (some 0.6 s of CPU), and each row costs 3 us instead of the 15 through drizzle.
 * A statement's values are given in the order of its text.
 */
export function sqliteSql() {
  const db = drizzle.mock();
  return {
    head: text(db.select({ size: logHead.size, hashes: logHead.hashes }).from(logHead)),
    newestCheckpoint: text(db.select().from(auditCheckpoints).orderBy(desc(auditCheckpoints.size))),
    certificate: text(db.select({ notAfterMs: certificates.notAfterMs, authorityId: certificates.authorityId }).from(certificates).where(eq(certificates.serialNumber, given("serialNumber")))),
    issuedAfter: text(
      db.select({
        serialNumber: certificates.serialNumber, notAfterMs: certificates.notAfterMs, authorityId: certificates.authorityId,
        renewedFrom: certificates.renewedFrom,
        revoked: sql`exists (select 1 from ${revocations} where ${eq(revocations.serialNumber, certificates.serialNumber)})`.as("revoked"),
      }).from(certificates)
        .where(and(
          eq(certificates.spiffeId, given("spiffeId")),
          sql`${certificates.logIndex} > (select p.log_index from ${certificates} p where p.serial_number = ${given("serialNumber")})`,
        ))
        .orderBy(asc(certificates.logIndex)).limit(maxLaterCertificates),
    ),
    revoked: text(db.select({ sequence: revocations.sequence }).from(revocations).where(eq(revocations.serialNumber, given("serialNumber")))),
    keyUsed: text(db.select({ logIndex: certificates.logIndex }).from(certificates).where(eq(certificates.keyFingerprint, given("keyFingerprint")))),
    token: text(db.select({ version: tokens.version, deletedAtMs: tokens.deletedAtMs }).from(tokens).where(eq(tokens.id, given("id")))),
    keyExpiry: text(
      db.select({ expiresAtMs: idempotencyKeys.expiresAtMs }).from(idempotencyKeys)
        .where(and(eq(idempotencyKeys.scope, given("scope")), eq(idempotencyKeys.key, given("key")))),
    ),
    crlNumber: text(db.select({ number: crls.number }).from(crls).where(and(eq(crls.authorityId, given("authorityId")), eq(crls.list, given("list"))))),
    documentSequence: text(db.select({ sequence: max(documents.sequence) }).from(documents)),
    ceremonyOpen: text(db.select({ id: ceremonies.id }).from(ceremonies).where(and(eq(ceremonies.id, given("id")), isNull(ceremonies.closedAtMs)))),
    sealedLogKey: text(db.select({ sealedLogKey: caState.sealedLogKey }).from(caState)),
    bundleSequence: text(db.select({ bundleSequence: caState.bundleSequence }).from(caState)),
    leaseToken: text(db.select({ token: leases.token }).from(leases).where(and(eq(leases.name, given("name")), ne(leases.holder, nobody)))),
    leaseHolder: text(db.select({ holder: leases.holder }).from(leases).where(eq(leases.name, given("name")))),
    authority: text(db.select(authorityFact).from(authorities).where(eq(authorities.id, given("id")))),
    authorities: text(
      db.select(authorityFact).from(authorities).where(sql`${authorities.state} in (${sql.join(liveStates, sql`, `)})`),
    ),

    setAuthorityState: text(
      db.update(authorities).set({
        // Rendered in the order of the table's columns.
        state: given("state"), activateAtMs: sql`coalesce(${given("activateAtMs")}, ${authorities.activateAtMs})`, stateSinceMs: given("atMs"),
      }).where(eq(authorities.id, given("id"))),
    ),
    setLastNotAfter: text(db.update(authorities).set({ lastNotAfterMs: given("lastNotAfterMs") }).where(eq(authorities.id, given("id")))),
    setSealing: text(db.update(caState).set({ sealedLogKey: given("sealedLogKey"), wrappedSealingKey: given("wrappedSealingKey") })),
    setSealedKey: text(db.update(authorities).set({ sealedPrivateKey: given("sealed") }).where(eq(authorities.id, given("id")))),
    setBundleSequence: text(db.update(caState).set({ bundleSequence: given("bundleSequence") })),
    redeem: text(db.update(tokens).set({ version: given("version"), redeemedAtMs: given("redeemedAtMs") }).where(eq(tokens.id, given("id")))),
    deleteToken: text(db.update(tokens).set({ deletedAtMs: given("deletedAtMs") }).where(eq(tokens.id, given("id")))),
    touchToken: text(db.update(tokens).set({ lastUsedAtMs: given("lastUsedAtMs") }).where(eq(tokens.id, given("id")))),
    acknowledge: text(db.update(certificates).set({ acknowledgedSequence: given("sequence") }).where(and(
      lt(certificates.acknowledgedSequence, given("sequence")),
      sql`${certificates.serialNumber} in (
        with recursive family (serial_number, generation) as (
          select ${given("serialNumber")}, 0 union all
          select c.renewed_from, generation + 1 from family join ${certificates} c on c.serial_number = family.serial_number
          where c.renewed_from is not null and generation < ${sql.raw(String(maxAcknowledgedGenerations))}
        ) select serial_number from family)`,
    ))),
    closeCeremony: text(db.update(ceremonies).set({ closedAtMs: given("closedAtMs") }).where(eq(ceremonies.id, given("id")))),
    pruneCertificates: text(db.delete(certificates).where(
      and(gte(certificates.logIndex, given("from")), lt(certificates.logIndex, given("to")), lt(certificates.notAfterMs, given("expiredBeforeMs"))),
    )),
    pruneCheckpoints: text(db.delete(auditCheckpoints).where(and(
      gte(auditCheckpoints.size, given("from")), lt(auditCheckpoints.size, given("to")),
      sql`exists (select 1 from ${auditCheckpoints} later where later.size > ${auditCheckpoints.size} and later.size < (${auditCheckpoints.size} / 256 + 1) * 256)`,
    ))),
    setHead: text(db.update(logHead).set({ size: given("size"), hashes: given("hashes") })),
    acquireLease: text(
      db.insert(leases).values({ name: given("name"), holder: given("holder"), token: sql`1`, expiresAtMs: given("expiresAtMs") })
        .onConflictDoUpdate({
          target: leases.name,
          set: {
            holder: sql`excluded.holder`, expiresAtMs: sql`excluded.expires_at_ms`,
            token: sql`${leases.token} + (${leases.holder} <> excluded.holder)`,
          },
          setWhere: or(
            eq(leases.holder, sql`excluded.holder`), lte(leases.expiresAtMs, given("nowMs")), gt(leases.expiresAtMs, given("latestMs")),
          )!,
        })
        .returning({ token: leases.token }),
    ),
    releaseLease: text(
      db.update(leases).set({ holder: nobody, expiresAtMs: sql`0` }).where(and(eq(leases.name, given("name")), eq(leases.holder, given("holder")))),
    ),
    // 1024 at a time: each commit adds a key for each of its acts at most, so this always catches up.
    forgetKeys: text(db.delete(idempotencyKeys).where(
      sql`rowid in (select rowid from ${idempotencyKeys} where ${lte(idempotencyKeys.expiresAtMs, given("untilMs"))} limit 1024)`,
    )),
    dropReport: text(db.delete(reports).where(and(eq(reports.kind, given("kind")), eq(reports.name, given("name")), eq(reports.part, given("part"))))),
    claimReport: text(db.insert(reports).values({
      kind: given("kind"), name: given("name"), part: given("part"), body: given("body"), reportedAtMs: given("reportedAtMs"), expiresAtMs: given("expiresAtMs"),
    }).onConflictDoNothing()),
    replaceReport: text(db.update(reports).set({ body: given("body"), reportedAtMs: given("reportedAtMs"), expiresAtMs: given("expiresAtMs") }).where(
      and(eq(reports.kind, given("kind")), eq(reports.name, given("name")), eq(reports.part, given("part")), eq(reports.body, given("expected"))),
    )),
    forgetReports: text(db.delete(reports).where(
      sql`rowid in (select rowid from ${reports} where ${lte(reports.expiresAtMs, given("nowMs"))} limit ${sql.raw(String(maxForgottenReports))})`,
    )),

    forgetSpent: text(db.delete(spentRequests).where(
      sql`rowid in (select rowid from ${spentRequests} where ${lt(spentRequests.untilMs, given("nowMs"))} limit ${sql.raw(String(maxForgottenAlong))})`,
    )),
    forgetAcme: text(db.delete(acmeRecords).where(
      sql`rowid in (select rowid from ${acmeRecords} where ${lt(acmeRecords.untilMs, given("nowMs"))} limit ${sql.raw(String(maxForgottenAlong))})`,
    )),
    insertAcme: text(db.insert(acmeRecords).values({ id: given("id"), version: sql`1`, body: given("body"), untilMs: given("untilMs") }).onConflictDoNothing()),
    updateAcme: text(
      db.update(acmeRecords).set({ version: sql`${acmeRecords.version} + 1`, body: given("body"), untilMs: given("untilMs") })
        .where(and(eq(acmeRecords.id, given("id")), eq(acmeRecords.version, given("version")))),
    ),
    spend: text(db.insert(spentRequests).values({ spiffeId: given("spiffeId"), nonce: given("nonce"), untilMs: given("untilMs") }).onConflictDoNothing()),

    insertState: insertion(caState),
    insertAuthority: insertion(authorities),
    insertCertificate: insertion(certificates),
    insertRevocation: insertion(revocations),
    insertToken: insertion(tokens),
    insertIdempotencyKey: insertion(idempotencyKeys, [idempotencyKeys.scope, idempotencyKeys.key]),
    insertCrl: insertion(crls, [crls.authorityId, crls.list]),
    insertCeremony: insertion(ceremonies),
    insertAnnouncement: insertion(announcements),
    insertDocument: insertion(documents, [documents.kind, documents.name]),
    putReport: insertion(reports, [reports.kind, reports.name, reports.part], sql`excluded.reported_at_ms >= ${reports.reportedAtMs}`),
    insertEntry: insertion(auditEntries),
    insertSubtree: insertion(auditSubtrees),
    insertCheckpoint: insertion(auditCheckpoints),
  };
}

/**
 * @param replaceOn  the key of a row that may be there already and is then replaced
 * @param onlyIf     it is replaced where this holds
 */
function insertion<Table extends SQLiteTable>(table: Table, replaceOn?: SQLiteColumn[], onlyIf?: SQL): Insertion<Table["$inferSelect"]> {
  const columns = Object.entries(getTableColumns(table));
  const values = Object.fromEntries(columns.map(([property]) => [property, given(property)])) as unknown as Table["$inferInsert"];
  const set = Object.fromEntries(columns.map(([property, { name }]) => [property, sql`excluded.${sql.identifier(name)}`])) as unknown as Table["$inferInsert"];
  const insert = drizzle.mock().insert(table).values(values);
  return {
    text: text(replaceOn === undefined ? insert : insert.onConflictDoUpdate({ target: replaceOn, set, ...(onlyIf && { setWhere: onlyIf }) })),
    properties: columns.map(([property]) => property as keyof Table["$inferSelect"] & string),
  };
}

function text(query: { toSQL(): { readonly sql: string } }): string {
  return query.toSQL().sql;
}

/** A value given when the statement runs. */
function given(name: string): SQL {
  return sql`${sql.placeholder(name)}`;
}

const authorityFact = {
  id: authorities.id, type: authorities.type, state: authorities.state, parentId: authorities.parentId,
  lastNotAfterMs: authorities.lastNotAfterMs, notAfterMs: authorities.notAfterMs,
};
/** As literals: the statement takes no values. */
const liveStates = ["prepared", "active", "retiring", "tainted"].map((state) => sql.raw(`'${state}'`));
/** The holder of a lease that was given up. */
const nobody = sql`''`;
