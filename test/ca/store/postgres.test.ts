import pg from "pg";
import { createDatabase } from "../../support/postgres.ts";
import { describeStore, type TestDatabase } from "./contract.ts";

describeStore("postgres", newPostgres);

async function newPostgres(): Promise<TestDatabase> {
  const url = await createDatabase();
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  let broken: string | undefined;
  const execute = async (sql: string) => void await client.query(sql);
  async function breakTable(table: string, operation: string, condition = ""): Promise<void> {
    broken = table;
    await execute("create or replace function broken() returns trigger language plpgsql as $$ begin raise exception 'broken'; end $$");
    await execute(`create trigger broken before ${operation} on ${table} for each row ${condition} execute function broken()`);
  }
  return {
    url,
    execute,
    breakTable,
    refuseCertificatesFor: (spiffeId) => breakTable("certificates", "insert", `when (new.spiffe_id = '${spiffeId}')`),
    repair: () => execute(`drop trigger broken on ${broken}`),
    async dispose() {
      await client.end();
    },
  };
}
