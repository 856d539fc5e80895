import { appendFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase } from "../support/postgres.ts";
import { startWalk, type Walk } from "../support/walk.ts";

const write = (text: string) => appendFileSync("/tmp/walk.out", `\n=====\n${text}`);
describe("a newcomer who follows the README", () => {
  let walk: Walk;
  beforeAll(async () => {
    walk = await startWalk({ database: await createDatabase() });
  });
  afterAll(() => walk?.close());

  test("walks", { timeout: 160_000 }, async () => {
    await walk.follow("Postgres and replicas");
    await walk.follow("Keys in KMS");
    await walk.follow("Join two clusters");
    const west = `--data-dir west --url https://127.0.0.1:${walk.port(9443)}`;
    write(await walk.run("times"));
    write(await walk.run(`kill %?demo-kms; sleep 3; countersign check ${west} -o short || true`));
    write(await walk.run(`countersign certificate issue --id spiffe://west.example/x --cert x.pem --key x.key ${west} ; countersign authority rotate ${west} || true; countersign check ${west} -o short || true`));
    write(await walk.run(`kill '%?--data-dir west'; sleep 8; countersign check --data-dir east -o short || true; countersign federation refresh west.example --data-dir east || true; countersign check --data-dir east -o short || true`));
    write(await walk.run(`countersign check ${west} || true; tail -n 5 east*.log`));
    write(await walk.run("times; jobs"));
  });
});
