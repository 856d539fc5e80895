import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openStore } from "../../../ca/store/open.ts";
import { hostUrls } from "../../../ca/store/postgres-hosts.ts";
import type { Store } from "../../../ca/store/store.ts";
import { createDatabase } from "../../support/postgres.ts";
import { verifyStore } from "../../support/store-oracle.ts";
import { newSealer, record } from "./acts.ts";
import { breakableLink, type BreakableLink } from "./breakable-link.ts";

describe("the hosts of a URL", () => {
  test.each([
    ["postgres://u:p@one:5433,two/db", ["postgres://u:p@one:5433/db", "postgres://u:p@two/db"]],
    ["postgresql://[::1]:1,10.0.0.1:2/db?sslmode=verify-full&target_session_attrs=read-write", ["postgresql://[::1]:1/db?sslmode=verify-full", "postgresql://10.0.0.1:2/db?sslmode=verify-full"]],
    ["postgres://u:1,hunter/2@one/db", ["postgres://u:1,hunter/2@one/db"]],
    ["postgres://u@one/db?target_session_attrs=x", ["postgres://u@one/db?target_session_attrs=x"]],
  ])("%s", (url, urls) => {
    expect(hostUrls(url)).toEqual(urls);
  });

  test.each([
    ["postgres://u:hunter2@one,,two/db", "1 to 8"], [`postgres://u:hunter2@${"h,".repeat(8)}h/db`, "1 to 8"],
    ["postgres://u:hunter2@one,two/db?target_session_attrs=standby", "only reads"],
  ])("%s is refused in words, without the password", (url, said) => {
    const refused = () => hostUrls(url);
    expect(refused).toThrow(expect.objectContaining({ code: "store_unavailable", message: expect.stringContaining(said) }));
    expect(refused).not.toThrow("hunter");
  });
});

describe("a store on several hosts", () => {
  const { sealer, verifierKey } = newSealer();
  const closing: (() => unknown)[] = [];
  let databaseUrl: string;
  let one: BreakableLink;
  let two: BreakableLink;
  beforeEach(async () => {
    databaseUrl = await createDatabase();
    [one, two] = [await breakableLink(databaseUrl), await breakableLink(databaseUrl)];
    closing.push(() => two.close());
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  async function open(...links: readonly { readonly url: string }[]): Promise<Store> {
    const [first, ...others] = links.map(({ url }) => new URL(url));
    const store = await openStore({ url: `postgres://postgres@${[first!, ...others].map(({ host }) => host).join(",")}${first!.pathname}?target_session_attrs=read-write`, sealer });
    closing.push(() => store.close());
    return store;
  }

  test("begins with the next where the first is dead, or only reads", async () => {
    await one.close();
    await expect(openStore({ url: one.url, sealer })).rejects.toThrow(/Postgres cannot be reached \(.*ECONNREFUSED/);
    const standby = await readingHost(databaseUrl);
    closing.push(standby.close);
    const store = await open(one, standby, two);
    await store.commit(record("first"));
    expect(await verifyStore(store, verifierKey)).toHaveLength(1);
  });

  test("goes on with the next when the one in use dies: reads, commits and leases, and nothing is lost", async () => {
    // One that only reads is passed over.
    const standby = await readingHost(databaseUrl);
    closing.push(standby.close);
    const store = await open(one, standby, two);
    await store.commit(record("first"));
    await one.close();
    await expect.poll(() => store.ping().then(() => "answers", () => "lost"), { timeout: 30_000 }).toBe("answers");
    await expect.poll(() => store.commit(record("second")).then(() => "landed", ({ code }: { code: string }) => code), { timeout: 30_000 }).toBe("landed");
    expect(await store.acquireLease({ name: "work", holder: "us", ttlMs: 60_000 })).toMatchObject({ held: true });
    expect(await verifyStore(store, verifierKey)).toHaveLength(2);
  }, 90_000);

  test("says what each host said where none takes writes", async () => {
    await one.close();
    const standby = await readingHost(databaseUrl);
    closing.push(standby.close);
    await expect(open(one, standby)).rejects.toMatchObject({ code: "store_unavailable", message: expect.stringMatching(/host 1: .*ECONNREFUSED.*host 2: this server only reads/) });
  });
});

/** The same database by way of a host whose sessions only read, as those of a standby do. */
async function readingHost(databaseUrl: string): Promise<{ readonly url: string; close(): void }> {
  const { searchParams, pathname } = new URL(databaseUrl);
  const server = createServer((client) => {
    const upstream = connect(`${searchParams.get("host")}/.s.PGSQL.5432`).on("error", () => client.destroy());
    client.on("error", () => upstream.destroy());
    // The startup message, which ends with an empty name: a length, then parameters.
    client.once("data", (startup: Buffer) => {
      const message = Buffer.concat([startup.subarray(0, -1), Buffer.from("default_transaction_read_only\0on\0\0")]);
      message.writeUInt32BE(message.length, 0);
      upstream.write(message);
      client.pipe(upstream);
    });
    upstream.pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `postgres://postgres@127.0.0.1:${(server.address() as AddressInfo).port}${pathname}`, close: () => void server.close() };
}
