import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readConfig } from "../../../ca/config/config.ts";
import { serveCa } from "../../../ca/runtime/node.ts";
import { openStore } from "../../../ca/store/open.ts";
import { countersign } from "../../support/command-line.ts";
import { startKubernetesApi, type KubernetesApi } from "../../support/kubernetes-api.ts";
import { rulesOf } from "../../support/manifests.ts";
import { createDatabase } from "../../support/postgres.ts";
import { dns, ip, testAuthority } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-initialize-"));
const authority = testAuthority({ trustDomain: "kubernetes" });
const leaf = authority.issuer().leaf({ names: [dns("kubernetes.default.svc"), ip(127, 0, 0, 1)] });
writeFileSync(join(folder, "token"), "job-token\n");
writeFileSync(join(folder, "ca.crt"), authority.pem);
const sealing = Buffer.alloc(32, 7).toString("base64");
let kubernetes: KubernetesApi;
let url: string;
beforeAll(async () => void (kubernetes = await startKubernetesApi({ key: leaf.privateKeyPem, cert: leaf.chainPem }, "job-token")));
afterAll(async () => {
  await kubernetes.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  kubernetes.secrets.clear();
  kubernetes.objects.clear();
  kubernetes.beforeWrite = undefined;
  kubernetes.rules = rulesOf("countersign-initialize");
  kubernetes.objects.set("/api/v1/namespaces/countersign", { metadata: { name: "countersign" } });
  url = await createDatabase();
});

const environment = (): Record<string, string> => ({ COUNTERSIGN_STORE: url, COUNTERSIGN_SEALING_KEY: sealing, COUNTERSIGN_TRUST_DOMAIN: "east", COUNTERSIGN_LOG_LEVEL: "silent", COUNTERSIGN_DATA_DIR: join(folder, "unused") });
const args = (): string[] => ["store", "initialize", "--namespace", "countersign", "--kube-url", kubernetes.url, "--kube-token-file", join(folder, "token"), "--kube-ca-file", join(folder, "ca.crt")];
const initialize = (env = environment()) => countersign(args(), env);
const token = (): string => Buffer.from(kubernetes.secrets.get("countersign/countersign-admin")?.data["token"] ?? "", "base64").toString();
const published = () => kubernetes.objects.get("/api/v1/namespaces/countersign/configmaps/countersign-root")?.data;

/** A replica as the manifests start it. */
const replica = (user = url, stopping?: Promise<unknown>) => serveCa(
  readConfig({ file: { trustDomain: "east", dataDir: mkdtempSync(join(folder, "replica-")), listen: "127.0.0.1:0", store: user, initialize: "off" }, env: { COUNTERSIGN_SEALING_KEY: sealing } }),
  pino({ level: "silent" }), undefined, stopping,
);

async function sql(text: string): Promise<pg.QueryResult> {
  const client = new pg.Client(url);
  await client.connect();
  return client.query(text).finally(() => client.end());
}

test("with the rights of the manifests: tables, a CA, the first admin's token in a Secret, roots and audit key in a ConfigMap; no word of the token elsewhere", async () => {
  const { exitCode, stdout, stderr } = await initialize();
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("A new CA for the trust domain east");
  expect(stdout).not.toContain(token());
  const served = await replica();
  try {
    const env = { COUNTERSIGN_URL: served.url, COUNTERSIGN_TOKEN: token(), COUNTERSIGN_CA_CERT: join(folder, "root.pem") };
    writeFileSync(join(folder, "root.pem"), published()!["root.pem"]!);
    expect(await countersign(["token", "list"], env)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("first-admin") as string });
    expect(published()!["audit-log.vkey"]).toBe(`${served.ca.verifierKey}\n`);
  } finally {
    await served.stop();
  }
  // Again, as with the next version: the token stays.
  const before = token();
  expect(await initialize()).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("goes on, with tables of this version") as string });
  expect(token()).toBe(before);
});

test.for(rulesOf("countersign-initialize").map((_, index) => index))("each of these rights is needed: not without rule %d", async (left) => {
  kubernetes.rules = kubernetes.rules!.filter((_, index) => index !== left);
  // The second time, what is there is changed.
  const ran = [await initialize(), await initialize()];
  expect(ran.map(({ stderr }) => stderr.replaceAll("\n", " ")).join("")).toContain("403 Forbidden");
});

describe("a crash or a race", () => {
  test("between the Secret and the commit: the next attempt writes the token that is good", async () => {
    kubernetes.secrets.set("countersign/countersign-admin", { type: "Opaque", data: { token: Buffer.from("of an attempt that died").toString("base64") }, resourceVersion: 1000 });
    expect((await initialize()).exitCode).toBe(0);
    expect(token()).toMatch(/^csapi_/);
  });

  test("of two at once one begins the CA, and the Secret has its token", async () => {
    const ran = await Promise.all([initialize(), initialize()]);
    expect(ran.map(({ stdout }) => stdout).filter((text) => text.includes("A new CA"))).toHaveLength(1);
    expect((await initialize()).stdout).toContain("goes on");
    const served = await replica();
    try {
      expect(await served.ca.authenticate(token())).toMatchObject({ role: "admin" });
    } finally {
      await served.stop();
    }
  });

  test("whoever finds the Secret written meanwhile begins nothing", async () => {
    kubernetes.beforeWrite = () => {
      kubernetes.beforeWrite = undefined;
      kubernetes.secrets.set("countersign/countersign-admin", { type: "Opaque", data: { token: Buffer.from("of another").toString("base64") }, resourceVersion: 1000 });
    };
    expect(await initialize()).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("was written meanwhile") as string });
    expect((await sql("select count(*)::int as count from audit_entries")).rows).toEqual([{ count: 0 }]);
  });
});

test.for([
  ["a sealing key that nobody gave", { COUNTERSIGN_SEALING_KEY: "" }, "there is no sealing key"],
  ["a store that is a file", { COUNTERSIGN_STORE: "sqlite:/tmp/none.db" }, "initialize is for Postgres"],
  ["settings that do not hold together", { COUNTERSIGN_CERTIFICATE_LIFETIME: "48h" }, "certificateLifetime is longer"],
] as const)("%s is refused before anything is made", async ([, change, said]) => {
  const env = Object.fromEntries(Object.entries({ ...environment(), ...change }).filter(([, value]) => value !== ""));
  const { exitCode, stderr } = await initialize(env);
  expect([exitCode === 0, stderr.replaceAll("\n", " ")]).toEqual([false, expect.stringContaining(said) as string]);
  expect(kubernetes.secrets.size).toBe(0);
});

describe("a replica with initialize=off", () => {
  test("waits for it, and needs no right to create tables", async () => {
    const waiting = replica();
    await initialize();
    const served = await waiting;
    await served.stop();
    // PostgreSQL 15: only the owner of a database may create in its schema public; pg_read_all_data and pg_write_all_data may not.
    const name = `replica_${Date.now()}`;
    await sql(`create role ${name} login password 'p' in role pg_read_all_data, pg_write_all_data; revoke create on schema public from public`);
    const limited = new URL(url);
    [limited.username, limited.password] = [name, "p"];
    await expect(serveCa(readConfig({ file: { trustDomain: "east", dataDir: join(folder, "other"), listen: "127.0.0.1:0", store: await emptyFor(name) }, env: { COUNTERSIGN_SEALING_KEY: sealing } }), pino({ level: "silent" }))).rejects.toThrow("brought up to date");
    const few = await replica(limited.href);
    try {
      expect(few.ca.trustDomain).toBe("east");
    } finally {
      await few.stop();
    }
  });

  /** A database of somebody else. */
  async function emptyFor(user: string): Promise<string> {
    const empty = new URL(await createDatabase());
    const owner = new pg.Client(empty.href);
    await owner.connect();
    await owner.query("revoke create on schema public from public; revoke create on database " + empty.pathname.slice(1) + " from public").finally(() => owner.end());
    [empty.username, empty.password] = [user, "p"];
    return empty.href;
  }

  test("of a newer version than the tables does not touch them, and ends when it is asked to", async () => {
    await initialize();
    await sql("delete from drizzle.__drizzle_migrations where id = (select max(id) from drizzle.__drizzle_migrations)");
    await expect(replica(url, Promise.resolve())).rejects.toThrow("are not there, or of an older version");
  });

  test("does not begin a CA of its own where there are tables and none", async () => {
    await expect(replica(url, Promise.resolve())).rejects.toThrow("tables are not there");
    await (await openStore({ url })).close();
    await expect(replica(url, Promise.resolve())).rejects.toThrow("No CA has begun in this database");
    expect((await sql("select count(*)::int as count from audit_entries")).rows).toEqual([{ count: 0 }]);
  });

  test("is not for a database in a file", () => {
    expect(() => readConfig({ file: { initialize: "off" } })).toThrow("which nobody else would make");
  });
});
