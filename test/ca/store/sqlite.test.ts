import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describeStore, type TestDatabase } from "./contract.ts";

describeStore("sqlite", async () => newSqlite());

function newSqlite(): TestDatabase & { readonly path: string } {
  const directory = mkdtempSync(join(tmpdir(), "countersign-sqlite-"));
  const path = join(directory, "data", "ca.db");
  async function execute(sql: string): Promise<void> {
    const database = new Database(path);
    try {
      database.exec(sql);
    } finally {
      database.close();
    }
  }
  return {
    path,
    url: `sqlite:${path}`,
    execute,
    breakTable: (table, operation) => execute(`create trigger broken before ${operation} on ${table} begin select raise(abort, 'broken'); end`),
    refuseCertificatesFor: (spiffeId) => execute(
      `create trigger broken before insert on certificates when new.spiffe_id = '${spiffeId}' begin select raise(abort, 'refused'); end`,
    ),
    repair: () => execute("drop trigger broken"),
    async dispose() {
      rmSync(directory, { recursive: true });
    },
  };
}
