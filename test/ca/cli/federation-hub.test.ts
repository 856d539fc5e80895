import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { noteSigner } from "../../../ca/audit/note-signer.ts";
import { readConfig } from "../../../ca/config/config.ts";
import { memberKeyName } from "../../../ca/federation/hub-notes.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";
import { countersign, tooWide, type Ran } from "../../support/command-line.ts";
import { startObjectServer, type ObjectServer } from "../../support/object-server.ts";
import { dns, testAuthority } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-hub-"));
const web = testAuthority({ trustDomain: "web.example" });
const roots = join(folder, "web.pem");
const hubFile = join(folder, "hub.json");
/** A bucket, which everybody may read over https. */
let bucket: ObjectServer;
let east: ServedCa;
let west: ServedCa;
let subscription: string;

beforeAll(async () => {
  writeFileSync(roots, web.pem);
  mkdirSync(join(folder, "east-publishes"));
  const leaf = web.leaf({ names: [dns("localhost")] });
  bucket = await startObjectServer({ tls: { key: leaf.privateKeyPem, cert: leaf.chainPem } });
  [east, west] = await Promise.all(["east", "west"].map((trustDomain) => serveCa(
    readConfig({ file: { trustDomain, dataDir: join(folder, trustDomain), listen: "127.0.0.1:0", federationWebRoots: roots, ...(trustDomain === "east" && { federationHub: join(folder, "east-publishes") }) } }), pino({ level: "silent" }),
  ))) as [ServedCa, ServedCa];
});
afterAll(async () => {
  for (const served of [east, west]) await served.stop();
  await bucket.close();
  rmSync(folder, { recursive: true });
});

const run = ({ ca, url }: ServedCa, ...args: readonly string[]): Promise<Ran> => countersign(args, { COUNTERSIGN_URL: url, COUNTERSIGN_DATA_DIR: join(folder, ca.trustDomain), ...bucket.env });
const own = (...args: readonly string[]): Promise<Ran> => countersign(["federation", "hub", ...args, "--hub-file", hubFile, "--hub-roots", roots], bucket.env);
const publish = (served: ServedCa, ...args: readonly string[]): Promise<Ran> => run(served, "federation", "publish", "s3://fleet/hub", "--endpoint", bucket.endpoint, "--hub-roots", roots, ...args);

describe("clusters that join a hub in a bucket", () => {
  test("its owner makes it and its key, in a file of its own", async () => {
    const made = await own("create", "s3://fleet/hub", "--endpoint", bucket.endpoint, "--hub-url", `${bucket.endpoint}/fleet/hub/`);
    expect(made).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^countersign_hub_[\w-]+\n$/) as string });
    subscription = made.stdout.trim();
    expect(statSync(hubFile).mode & 0o777).toBe(0o600);
    expect([...bucket.objects.keys()]).toEqual(["fleet/hub/members.note"]);
    expect(await own("create", "s3://fleet/hub", "--hub-url", `${bucket.endpoint}/fleet/hub/`)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("is a hub already") as string });
  });

  test("each publishes and subscribes by one line, is admitted by its key, and is believed by all", async () => {
    for (const served of [east, west]) {
      const published = await publish(served);
      expect(published).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^countersign\.dev\/\w+\/hub\+[0-9a-f]{8}\+\S+\n$/) as string });
      expect(await own("admit", published.stdout.trim())).toMatchObject({ exitCode: 0 });
    }
    expect([...bucket.objects.keys()].sort()).toEqual(["east.bundle.json", "east.bundle.note", "east.holds.note", "members.note", "west.bundle.json", "west.bundle.note", "west.holds.note"].map((name) => `fleet/hub/${name}`));
    // Software that knows no hubs reads the bundle beside it, an https_web endpoint.
    expect(await run(east, "federation", "add", "west", "--profile", "https_web", "--endpoint", `${bucket.endpoint}/fleet/hub/west.bundle.json`)).toMatchObject({ exitCode: 0 });
    expect((await east.ca.federation.get("west")).bundle?.authorities.map(({ fingerprint }) => fingerprint)).toEqual([(await west.ca.authorities()).find(({ type }) => type === "root")!.fingerprint]);
    expect(await run(east, "federation", "remove", "west")).toMatchObject({ exitCode: 0 });
    for (const served of [east, west]) expect(await run(served, "federation", "subscribe", subscription)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("this CA: is in it\n") as string });
    expect((await run(east, "federation", "refresh", "west")).stdout).toContain("came by the hub: localhost\n");
    await run(west, "federation", "refresh", "east");
    expect((await run(west, "federation", "list")).stdout).toMatch(/^east +1 /m);
    const shown = await run(east, "federation", "hubs");
    expect(shown.stdout).toMatch(/^localhost +2 +listed /m);
    expect(tooWide((await run(east, "federation", "--help")).stdout)).toEqual([]);
  });

  test("witness each other's audit logs by what is in it, against which each log verifies", async () => {
    const witness = `${west.ca.witnessKey}@${bucket.endpoint}/fleet/hub/west.log.note`;
    const verify = () => countersign(["audit", "verify", "--witness", witness], { COUNTERSIGN_DATA_DIR: join(folder, "east") });
    // Each shows its log, cosigns what it finds, and shows that.
    for (let turn = 0; turn < 2; turn++) {
      for (const served of [east, west]) await publish(served);
      for (const [at, of] of [[east, "west"], [west, "east"]] as const) expect(await run(at, "federation", "refresh", of)).toMatchObject({ exitCode: 0 });
    }
    const shown = (await run(east, "federation", "show", "west")).stdout;
    expect(shown).toMatch(/^it cosigned our log: \d+ entries \([^)]+\)$/m);
    expect(shown).toContain(`its witness key: ${west.ca.witnessKey}`);
    expect(await verify()).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("1, contained in this log") as string });
    const [name, there] = ["fleet/hub/west.log.note", bucket.objects.get("fleet/hub/west.log.note")!];
    bucket.objects.set(name, { ...there, body: Buffer.from(there.body.toString().replace(/cosigned":\{"east"/, `cosigned":{"north"`)) });
    expect((await verify()).exitCode).toBe(2);
  });

  test("a key that took another's place is admitted only when its owner says so", async () => {
    const next = noteSigner(memberKeyName("west"), generateKeyPairSync("ed25519").privateKey).verifierKey;
    expect(await own("admit", next)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("--replace") as string });
    expect((await own("show")).stdout).not.toContain(next);
    expect(await own("admit", next, "--replace")).toMatchObject({ exitCode: 0 });
    expect((await own("show")).stdout).toContain(next);
    expect(await own("admit", next.replace("west", "east"))).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("is refused") as string });
  });

  test("who is expelled is dropped by the others", async () => {
    expect(await own("expel", "west")).toMatchObject({ exitCode: 0 });
    await run(east, "federation", "subscribe", subscription);
    expect((await run(east, "federation", "list")).stdout).not.toContain("west");
    expect(await own("expel", "west")).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("is not in the hub") as string });
  });

  test("a list may end, and is renewed by its owner", async () => {
    expect(await own("renew", "--valid", "59m")).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("an hour at least") as string });
    expect(await own("renew", "--valid", "7d")).toMatchObject({ exitCode: 0 });
    const read = async (): Promise<string> => (await run(east, "federation", "subscribe", subscription)).stdout;
    const [, before] = /^list: (\d+), of .*, until \d{4}-/m.exec(await read())!;
    expect(await own("renew")).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("holds for 604800 s") as string });
    expect(await read()).toMatch(new RegExp(`^list: ${Number(before) + 1}, of .*, until `, "m"));
  });

  test("and one that leaves it drops them all", async () => {
    expect(await run(west, "federation", "unsubscribe", "localhost")).toMatchObject({ exitCode: 0 });
    expect((await run(west, "federation", "list")).stdout).not.toContain("east");
    expect(await run(west, "federation", "unsubscribe", "localhost")).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("no hub localhost") as string });
  });

  test("a bucket that takes nothing is named, with what to do", async () => {
    const refused = await countersign(["federation", "publish", "s3://fleet/hub", "--endpoint", bucket.endpoint, "--hub-roots", roots], { COUNTERSIGN_URL: east.url, COUNTERSIGN_DATA_DIR: join(folder, "east"), ...bucket.env, AWS_SECRET_ACCESS_KEY: "hunter2" });
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/SignatureDoesNotMatch.*secret key is not that/s) as string });
  });
});

test("a CA publishes by itself, at once and whenever its bundle changes", async () => {
  const read = (): string => readFileSync(join(folder, "east-publishes", "east.bundle.note"), "utf8");
  await vi.waitFor(read, waiting);
  const before = read();
  expect(await run(east, "authority", "prepare")).toMatchObject({ exitCode: 0 });
  await vi.waitFor(() => expect(read()).not.toBe(before), waiting);
  expect(read()).toContain(`"spiffe_sequence":${east.ca.bundle().sequence}`);
  expect((await run(east, "federation", "hubs")).stdout).toContain(`published to: ${join(folder, "east-publishes")}`);
}, 60_000);

const waiting = { timeout: 20_000, interval: 50 };
