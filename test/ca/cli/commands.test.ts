import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readConfig } from "../../../ca/config/config.ts";
import type { AuthorityList } from "../../../ca/contract/authorities.ts";
import type { CertificateSummary } from "../../../ca/contract/certificates.ts";
import type { TokenSummary } from "../../../ca/contract/tokens.ts";
import { parseBootstrap } from "../../../ca/pki/bootstrap.ts";
import { parseBundle } from "../../../ca/pki/bundle.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";
import { mountSmallDisk } from "../../support/small-disk.ts";
import { countersign, tooWide, type Ran } from "../../support/command-line.ts";

let served: ServedCa;
let env: Record<string, string>;
let utf8: Record<string, string>;
const folder = mkdtempSync(join(tmpdir(), "countersign-cli-"));
const dataDir = join(folder, "data");
beforeAll(async () => {
  served = await serveCa(
    readConfig({ file: { trustDomain: "east", dataDir, listen: "127.0.0.1:0" } }),
    pino({ level: "silent" }),
  );
  env = { COUNTERSIGN_URL: served.url, COUNTERSIGN_DATA_DIR: dataDir };
  utf8 = { ...env, LANG: "C.UTF-8" };
});
afterAll(async () => {
  await served.stop();
  rmSync(folder, { recursive: true, force: true });
});

const run = (...args: readonly string[]): Promise<Ran> => countersign(args, env);
const cart = "spiffe://east/ns/shop/sa/cart";

describe("token", () => {
  test("create prints the bootstrap string alone, and explains on standard error without it", async () => {
    const { exitCode, stdout, stderr } = await run(
      "token",
      "create",
      "--id",
      cart,
      "--dns",
      "cart.shop.svc",
      "--ttl",
      "2h",
    );
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^countersign_join_\S+\n$/);
    const bootstrap = parseBootstrap(stdout);
    expect(bootstrap).toMatchObject({
      caUrl: served.url,
      trustDomain: "east",
      rootFingerprint: served.ca.firstStart?.rootFingerprint,
    });
    expect(stderr).toContain(cart);
    expect(stderr).not.toContain(bootstrap.token);
  });

  test("create --type api prints a token with which the API can be called", async () => {
    const { stdout } = await run(
      "token",
      "create",
      "--type",
      "api",
      "--name",
      "ci",
      "--role",
      "operator",
      "--scope",
      "spiffe://east/ns/shop/*",
    );
    const file = join(folder, "ci-token");
    writeFileSync(file, stdout, { mode: 0o600 });
    const issue = (id: string, name: string) =>
      run(
        "certificate",
        "issue",
        "--token-file",
        file,
        "--id",
        id,
        "--cert",
        join(folder, `${name}.pem`),
        "--key",
        join(folder, `${name}.key`),
      );
    expect((await issue(cart, "in-scope")).exitCode).toBe(0);
    const refused = await issue("spiffe://east/ns/bank/sa/vault", "out-of-scope");
    expect(refused).toMatchObject({
      exitCode: 1,
      stdout: "",
      stderr: expect.stringContaining("(forbidden)") as string,
    });
  });

  test("an admin is not sent to an admin for an ID of another trust domain", async () => {
    const { exitCode, stderr } = await run("token", "create", "--id", "spiffe://esat/ns/shop/sa/cart");
    expect([exitCode, stderr.replaceAll("\n", " ")]).toEqual([1, expect.stringContaining("its own trust domain: look at the ID")]);
    expect(stderr).not.toContain("Ask an admin");
  });

  test("an operator without a scope is told that it can issue nothing", async () => {
    expect((await run("token", "create", "--type", "api", "--name", "idle", "--role", "operator")).stderr).toContain(
      "no --scope",
    );
  });

  test("list shows each token's state, delete ends one", async () => {
    const created = JSON.parse((await run("token", "create", "--id", cart, "-o", "json")).stdout) as TokenSummary;
    const before = await run("token", "list");
    expect(before.stdout.split("\n").find((line) => line.startsWith(created.id))).toMatch(
      / join +\d{4}-\d\d-\d\d \d\d:\d\dZ +waiting +\/ns\/shop/,
    );
    expect(before.stdout).toMatch(/ api +- +used \d{4}-\d\d-\d\d +first-admin \(admin\)/);
    expect(await run("token", "delete", created.id)).toMatchObject({ exitCode: 0, stdout: "" });
    expect((await run("token", "list")).stdout).not.toContain(created.id);
    expect(await run("token", "delete", created.id)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("(not_found)") as string,
    });
  });
});

describe("operator", () => {
  test("a role is bound to an ID, used by its SVID instead of a token, listed and taken back", async () => {
    const alice = "spiffe://east/ops/alice";
    const [cert, key] = [join(folder, "alice.pem"), join(folder, "alice.key")];
    expect((await run("certificate", "issue", "--id", alice, "--cert", cert, "--key", key)).exitCode).toBe(0);
    const asAlice = (...args: readonly string[]) => countersign([...args, "--svid-cert", cert, "--svid-key", key], { ...env, COUNTERSIGN_TOKEN: "none" });
    expect((await asAlice("token", "create", "--id", cart)).stderr).toContain("(forbidden)");
    const added = await run("operator", "add", alice, "--role", "operator", "--scope", "spiffe://east/ns/shop/*");
    expect([added.exitCode, added.stdout]).toEqual([0, `${alice}\n`]);
    expect((await asAlice("token", "create", "--id", cart)).exitCode).toBe(0);
    expect((await asAlice("token", "create", "--id", "spiffe://east/ns/bank/a")).stderr).toContain("(forbidden)");
    expect((await run("operator", "list")).stdout).toMatch(/operator +(?:never|2\d{3}-\d\d-\d\d) +spiffe:\/\/east\/ops\/alice\n.*for spiffe:\/\/east\/ns\/shop/);
    expect((await run("operator", "remove", alice)).exitCode).toBe(0);
    expect((await asAlice("token", "create", "--id", cart)).stderr).toContain("(forbidden)");
    expect((await run("operator", "remove", alice)).stderr).toContain("(not_found)");
  });

  test("half of an SVID, or something else in its place, is refused before anything is sent", async () => {
    const file = join(folder, "not-a-key");
    writeFileSync(file, "secret-not-a-key");
    expect(await run("token", "list", "--svid-cert", file)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("go together") as string });
    const { exitCode, stderr } = await run("token", "list", "--svid-cert", file, "--svid-key", file);
    expect([exitCode, stderr.includes("secret-not")]).toEqual([1, false]);
  });
});

describe("policy and service", () => {
  test("a file is applied, shown, tested and taken back", async () => {
    const [file, web] = [join(folder, "policies.json"), "spiffe://east/ns/shop/sa/web"];
    const cartPolicy = { name: "cart", workloads: [cart], rules: [{ name: "reads", action: "allow", from: [web], methods: ["GET"], paths: ["/items/*"] }] };
    writeFileSync(file, JSON.stringify([cartPolicy, { name: "cart.shop", spiffeId: cart }]));
    const applied = await run("policy", "apply", "-f", file);
    expect([applied.exitCode, applied.stdout]).toEqual([0, "policy cart\nservice cart.shop\n"]);
    expect(await run("policy", "apply", "-f", file)).toMatchObject({ exitCode: 0, stdout: "", stderr: expect.stringContaining("Nothing to change") as string });
    const yaml = join(folder, "policies.yaml");
    writeFileSync(yaml, `name: cart\nworkloads: ["${cart}"]\nrules:\n  - {name: reads, action: allow, from: ["${web}"], methods: [GET], paths: [/items/*]}\n---\nname: cart.shop\nspiffeId: ${cart}\n`);
    expect(await run("policy", "apply", "-f", yaml)).toMatchObject({ exitCode: 0, stdout: "", stderr: expect.stringContaining("Nothing to change") as string });
    expect((await run("policy", "list")).stdout).toMatch(/cart +1 +\d{4}-.* +spiffe:/);
    expect(JSON.parse((await run("policy", "show", "cart")).stdout)).toEqual(cartPolicy);
    expect((await run("service", "list")).stdout).toMatch(/cart\.shop +by DNS +spiffe:/);
    const testing = (...more: readonly string[]) => run("policy", "test", "--from", web, "--to", cart, ...more);
    expect(await testing("--path", "/items/1")).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^allow by cart\/reads\n/) as string });
    expect(await testing("--method", "DELETE", "--path", "/items/1")).toMatchObject({ exitCode: 1, stdout: expect.stringMatching(/^deny\n.*no rule allows/) as string });
    expect((await run("policy", "remove", "cart")).exitCode).toBe(0);
    expect((await run("service", "remove", "cart.shop")).exitCode).toBe(0);
    expect((await testing()).stdout).toContain("No policy selects the server");
    expect((await run("policy", "show", "cart")).exitCode).toBe(1);
  });

  test("a file that is none of that is refused before anything is sent", async () => {
    const file = join(folder, "wrong.json");
    for (const text of ["{", "1", '{"kind":"Policy"}', "", "# nothing\n---\n"]) {
      writeFileSync(file, text);
      expect(await run("policy", "apply", "-f", file)).toMatchObject({ exitCode: 1, stdout: "" });
    }
  });
});

describe("certificate", () => {
  test("inspect says of a certificate by our CA whether it is revoked, or that nobody could say", async () => {
    const [cert, key] = [join(folder, "inspected.pem"), join(folder, "inspected.key")];
    const { stdout: serial } = await run("certificate", "issue", "--id", cart, "--cert", cert, "--key", key);
    const valid = await run("cert", "inspect", cert);
    expect(valid).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("takes it as") });
    expect(valid.stdout).not.toContain("revoked");
    await run("certificate", "revoke", serial.trim(), "--reason", "keyCompromise");
    expect(await run("cert", "inspect", cert)).toMatchObject({ exitCode: 1, stdout: expect.stringMatching(/ revoked, since [^]*\(keyCompromise\)/) });
    expect(await run("cert", "inspect", cert, "--url", "https://127.0.0.1:9")).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("whether it is revoked is not known") });
  });

  test("issue on a full disk says so, and leaves neither file", async ({ skip }) => {
    const disk = mountSmallDisk(4096);
    if (disk === undefined) return skip();
    try {
      writeFileSync(join(disk.path, "fill"), Buffer.alloc(4096));
      const refused = await run("certificate", "issue", "--id", cart, "--cert", join(folder, "full.pem"), "--key", join(disk.path, "full.key"));
      expect(refused).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringContaining("(ENOSPC)") });
      expect([existsSync(join(folder, "full.pem")), existsSync(join(disk.path, "full.key"))]).toEqual([false, false]);
    } finally {
      disk.dispose();
    }
    const one = join(folder, "one.pem");
    expect(await run("certificate", "issue", "--id", cart, "--cert", one, "--key", one)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("name one file") });
  });

  test("issue leaves a chain and a key nobody else can read; show takes openssl's form of the serial; revoke ends it", async () => {
    const [cert, key] = [join(folder, "cart.pem"), join(folder, "cart.key")];
    const issued = await run(
      "certificate",
      "issue",
      "--id",
      cart,
      "--cert",
      cert,
      "--key",
      key,
      "--ttl",
      "1h",
      "--dns",
      "cart.shop.svc",
    );
    expect(issued.exitCode).toBe(0);
    const serial = issued.stdout.trim();
    const x509 = new X509Certificate(readFileSync(cert));
    expect(x509.checkPrivateKey(createPrivateKey(readFileSync(key)))).toBe(true);
    expect(x509.subjectAltName).toContain("DNS:cart.shop.svc");
    expect(statSync(key).mode & 0o777).toBe(0o600);

    const colons = x509.serialNumber.match(/../g)?.join(":") ?? "";
    const shown = await run("certificate", "show", `serial=${colons}`);
    expect(shown.stdout).toContain(serial);
    expect(shown.stdout).toContain("-----BEGIN CERTIFICATE-----");
    expect((await run("certificate", "list", "--id", "spiffe://east/ns/*", "--status", "valid")).stdout).toContain(
      serial,
    );

    expect((await run("certificate", "revoke", serial, "--reason", "superseded")).exitCode).toBe(0);
    const [row] = JSON.parse(
      (await run("certificate", "list", "--status", "revoked", "-o", "json")).stdout,
    ) as CertificateSummary[];
    expect(row).toMatchObject({ serialNumber: serial, revocationReason: "superseded" });
    expect(await run("certificate", "revoke", serial)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("(already_revoked)") as string,
    });
  });

  test("issue never writes over a file, and leaves none behind when it is refused", async () => {
    const [cert, key] = [join(folder, "kept.pem"), join(folder, "kept.key")];
    writeFileSync(cert, "precious");
    const refused = await run("certificate", "issue", "--id", cart, "--cert", cert, "--key", key);
    expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/not\s+overwritten/) as string });
    expect([readFileSync(cert, "utf8"), existsSync(key)]).toEqual(["precious", false]);
    const other = await run(
      "certificate",
      "issue",
      "--id",
      "spiffe://west/a",
      "--cert",
      join(folder, "w.pem"),
      "--key",
      join(folder, "w.key"),
    );
    expect(other.exitCode).toBe(1);
    expect([existsSync(join(folder, "w.pem")), existsSync(join(folder, "w.key"))]).toEqual([false, false]);
  });
});

test("authority list and bundle show tell whom to trust", async () => {
  const { authorities } = {
    authorities: JSON.parse((await run("authority", "list", "-o", "json")).stdout) as AuthorityList["authorities"],
  };
  expect(authorities.map(({ type }) => type).sort()).toEqual(["issuer", "root"]);
  expect((await run("authority", "list")).stdout).toMatch(/root +active/);
  const { stdout } = await run("bundle", "show");
  expect(parseBundle("east", stdout).x509Authorities[0]?.fingerprint).toBe(served.ca.firstStart?.rootFingerprint);
  expect((await run("bundle", "show", "-o", "pem")).stdout).toBe(served.ca.bundle().pem);
});

test("the bundle is public: no token is read for it", async () => {
  const bare = {
    COUNTERSIGN_URL: served.url,
    COUNTERSIGN_CA_CERT: join(dataDir, "root.pem"),
    COUNTERSIGN_TOKEN_FILE: join(folder, "absent"),
  };
  expect((await countersign(["bundle", "show"], bare)).exitCode).toBe(0);
  expect(await countersign(["token", "list"], bare)).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining("--token-file") as string,
  });
});

test("what is printed for people fits 80 columns", async () => {
  const long = `spiffe://east/ns/${"very-long-namespace-".repeat(3)}/sa/cart`;
  await run("token", "create", "--id", long);
  const issued = await run(
    "certificate",
    "issue",
    "--id",
    long,
    "--cert",
    join(folder, "l.pem"),
    "--key",
    join(folder, "l.key"),
  );
  for (const args of [
    ["token", "list"],
    ["certificate", "list"],
    ["authority", "list"],
    ["token", "create", "--id", cart],
    ["certificate", "issue", "--id", cart, "--cert", join(folder, "fits.pem"), "--key", join(folder, "fits.key")],
    ["certificate", "revoke", issued.stdout.trim(), "--reason", "cessationOfOperation"],
  ]) {
    const { stdout, stderr } = await run(...args);
    expect(tooWide(stdout + stderr)).toEqual([]);
  }
  expect((await run("certificate", "list")).stdout).toContain(`\n  ${long.slice("spiffe://east".length)}\n`);
});

describe("a CA that cannot be called is explained", () => {
  test.for([
    ["nothing listens", { COUNTERSIGN_URL: "https://127.0.0.1:9" }, "nothing listens there"],
    ["no such host", { COUNTERSIGN_URL: "https://no-such-host.invalid" }, "no such host"],
    ["no data folder", { COUNTERSIGN_DATA_DIR: "/nonexistent" }, "name it with --ca-cert"],
    ["a token of another CA", { COUNTERSIGN_TOKEN: "csapi_0000000000000000_secret" }, "(unauthenticated)"],
    ["a token of two lines", { COUNTERSIGN_TOKEN: "secret\nsecret" }, "is it the right file?"],
  ] as const)("%s", async ([, change, expected]) => {
    const { exitCode, stdout, stderr } = await countersign(["token", "list"], { ...env, ...change });
    expect([exitCode, stdout]).toEqual([1, ""]);
    expect(stderr.replaceAll("\n", " ")).toContain(expected);
    expect(stderr).not.toContain("secret");
    expect(tooWide(stderr)).toEqual([]);
  });

  test("another CA's root", async () => {
    const other = await serveCa(
      readConfig({ file: { trustDomain: "west", dataDir: join(folder, "west"), listen: "127.0.0.1:0" } }),
      pino({ level: "silent" }),
    );
    const { exitCode, stderr } = await countersign(["token", "list"], {
      ...env,
      COUNTERSIGN_CA_CERT: other.files.root,
    });
    expect([exitCode, stderr.replaceAll("\n", " ")]).toEqual([1, expect.stringContaining("not from the root we have")]);
    await other.stop();
  });

  test("something that speaks no TLS", async () => {
    const plain = createServer((socket) => socket.on("error", () => undefined).end("HTTP/1.1 200 OK\r\n\r\n")).listen(
      0,
      "127.0.0.1",
    );
    await once(plain, "listening");
    const { port } = plain.address() as { port: number };
    const { exitCode, stderr } = await countersign(["token", "list"], {
      ...env,
      COUNTERSIGN_URL: `https://127.0.0.1:${port}`,
    });
    expect([exitCode, stderr.replaceAll("\n", " ")]).toEqual([1, expect.stringContaining("does not speak TLS")]);
    plain.close();
  });
});

// Last: it replaces what the tests above rely on.
test("check says what is well, what is not, and ends as scripts need it", async () => {
  const well = await countersign(["check"], utf8);
  expect(well).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/√ the CA can be reached[^]*√ root/) });
  expect(tooWide(well.stdout)).toEqual([]);
  expect(JSON.parse((await run("check", "-o", "json")).stdout)).toContainEqual(expect.objectContaining({ category: "api", status: "ok" }));
  expect(await countersign(["check", "--url", "https://127.0.0.1:1", "-o", "short"], utf8)).toMatchObject({ exitCode: 1, stdout: expect.stringContaining("× the CA can be reached") });
  expect((await run("check")).stdout, "no locale is set, as in a container").toMatch(/^api\n---\nok the CA can be reached\n[^√‼×]*$/);
  expect(await run("check", "-o", "xml")).toMatchObject({ exitCode: 2 });
});

test("authority: the steps of a root's life by the beginning of its ID, refused with names where somebody would be cut off", async () => {
  const rows = async () => JSON.parse((await run("authority", "list", "-o", "json")).stdout) as AuthorityList["authorities"];
  const idIn = async (type: string, state: string) => (await rows()).find((row) => row.type === type && row.state === state)!.id.slice(0, 12);
  const before = await idIn("root", "active");
  expect(await run("authority", "prepare")).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/root +prepared/) });
  expect((await run("authority", "list")).stderr).toMatch(/waits for \d+ holders[^]*\/ns\/shop/);
  expect(await countersign(["check", "--strict", "-o", "short"], utf8)).toMatchObject({ exitCode: 2, stdout: expect.stringMatching(/‼ the prepared root \w+ is trusted by every holder[^]*\/ns\/shop/) });
  const prepared = await idIn("root", "prepared");
  expect(await run("authority", "activate", prepared)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("authority_held_back") });
  const forced = await run("authority", "activate", prepared, "--force");
  expect(forced).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/root +retiring/), stderr: expect.stringMatching(/Forced: \d+ holders/) });
  expect(tooWide(forced.stdout)).toEqual([]);
  expect(await run("authority", "taint", await idIn("issuer", "active"))).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/issuer +tainted/) });
  expect(await run("authority", "revoke", await idIn("issuer", "tainted"))).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/issuer +revoked/) });
  expect(await run("authority", "rotate")).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/issuer +active/) });
  expect(await run("authority", "retire", before)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("authority_held_back") });
  expect((await run("authority", "taint", "ffffffffffffffffffff")).exitCode).toBe(2);
  expect((await run("authority", "rotate", "--force")).exitCode).toBe(2);
  // What the CA itself presents has followed, and so has root.pem: all of this went over it.
  expect((await rows()).filter(({ type, state }) => type === "root" && state === "active")).toHaveLength(1);
});

describe("clock", () => {
  test("confirm says that the CA was in no doubt, and is refused with another time than the CA's", async () => {
    const confirmed = await run("clock", "confirm", "--time", "now");
    expect([confirmed.exitCode, confirmed.stderr]).toEqual([0, "The CA was in no doubt about its clock.\n"]);
    const refused = await run("clock", "confirm", "--time", "2026-01-01T00:00:00Z");
    expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining("The clock is not confirmed")]);
  });
});
