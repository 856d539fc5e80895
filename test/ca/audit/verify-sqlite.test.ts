import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { generateKeyPairSync } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { between, eq, sql, type Column } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import type { SQLiteTable } from "drizzle-orm/sqlite-core";
import { afterAll, beforeAll } from "vitest";
import { checkpointSigner } from "../../../ca/audit/checkpoint.ts";
import { openStore } from "../../../ca/store/open.ts";
import * as schema from "../../../ca/store/schema-sqlite.ts";
import { logFixture } from "../../support/log-fixture.ts";
import { describeTampering, type TamperableStore, type TamperableTable } from "./tampering.ts";

const origin = "countersign.dev/east/log";
const privateKeyPkcs8 = generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
const { verifierKey, sign } = checkpointSigner({ origin, privateKeyPkcs8 });
const folder = mkdtempSync(join(tmpdir(), "countersign-tampering-"));
const written = join(folder, "written.db");
let copies = 0;

beforeAll(async () => {
  const store = await openStore({ url: `sqlite:${written}`, sealer: { origin, privateKeyPkcs8 } });
  for (const acts of logFixture(verifierKey)) await Promise.all(acts.map((act) => store.commit(act)));
  await store.close();
});
afterAll(() => rmSync(folder, { recursive: true }));

describeTampering("SQLite", async () => {
  const path = join(folder, `copy-${++copies}.db`);
  copyFileSync(written, path);
  const attacker = new Database(path);
  const store = await openStore({ url: `sqlite:${path}`, readOnly: true });
  return {
    store, verifierKey, sign,
    ...tamperWith(attacker),
    async close() {
      attacker.close();
      await store.close();
    },
  };
});

function tamperWith(attacker: Database.Database): Pick<TamperableStore, "update" | "insert" | "remove" | "moveEntries"> {
  const db = drizzle(attacker);
  const { index } = schema.auditEntries;
  return {
    async update(name, key, changes) {
      const { changes: count } = db.update(tables[name][0]).set(changes).where(eq(tables[name][1], key)).run();
      if (count !== 1) throw new Error(`${count} rows of ${name} have the key ${key}`);
    },
    async insert(name, row) { db.insert(tables[name][0]).values(columnsOf(row)).run(); },
    async remove(name, first, last = first) { db.delete(tables[name][0]).where(between(tables[name][1], first, last)).run(); },
    async moveEntries(first, last, by) {
      // By way of negative indexes: no index is ever taken twice.
      db.update(schema.auditEntries).set({ index: sql`-1 - (${index} + ${by})` }).where(between(index, first, last)).run();
      db.update(schema.auditEntries).set({ index: sql`-1 - ${index}` }).where(sql`${index} < 0`).run();
    },
  };
}

/** Lists are JSON in this schema. */
function columnsOf(row: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Array.isArray(value) ? JSON.stringify(value) : value]));
}

const tables: Readonly<Record<TamperableTable, readonly [SQLiteTable, Column]>> = {
  entries: [schema.auditEntries, schema.auditEntries.index],
  checkpoints: [schema.auditCheckpoints, schema.auditCheckpoints.size],
  certificates: [schema.certificates, schema.certificates.serialNumber],
  revocations: [schema.revocations, schema.revocations.serialNumber],
  tokens: [schema.tokens, schema.tokens.id],
  authorities: [schema.authorities, schema.authorities.id],
  state: [schema.caState, schema.caState.id],
  subtrees: [schema.auditSubtrees, schema.auditSubtrees.index],
};
