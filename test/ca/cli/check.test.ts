import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo, type Server } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { api } from "../../../ca/cli/api.ts";
import { checkedCa } from "../../../ca/cli/check-facts.ts";
import { dispatch } from "../../../ca/cli/dispatch.ts";
import { renderFindings } from "../../../ca/cli/check-report.ts";
import { gatherFacts } from "../../../ca/check/gather.ts";
import { finding } from "../../../ca/check/finding.ts";
import { readConfig } from "../../../ca/config/config.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";
import { freePort } from "../../../infra/demo/place.ts";
import { testAuthority } from "../../support/test-ca.ts";
import { countersign, tooWide } from "../../support/command-line.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-check-"));
const dataDir = join(folder, "data");
const utf8 = { LANG: "en_US.UTF-8" };
let served: ServedCa;
let env: Record<string, string>;
const start = (port = 0): Promise<ServedCa> => serveCa(readConfig({ file: { trustDomain: "east", dataDir, listen: `127.0.0.1:${port}` } }), pino({ level: "silent" }));
beforeAll(async () => {
  served = await start();
  env = { COUNTERSIGN_URL: served.url, COUNTERSIGN_DATA_DIR: dataDir, ...utf8 };
});
afterAll(async () => {
  await served.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe("check of a CA as it is after its first start", () => {
  test("is all √, in every category, in 80 columns, and exits with 0 also when strict", async () => {
    const { exitCode, stdout, stderr } = await countersign(["check", "--strict", "--wait", "30s"], env);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).not.toMatch(/[‼×]/);
    for (const category of ["api", "config", "store", "keys", "authorities", "data plane", "audit log", "access", "clock"]) expect(stdout).toContain(`${category}\n---`);
    expect(stdout).toContain("√ the checkpoint in ");
    expect(tooWide(stdout)).toEqual([]);
  });

  test("reads which bundle is published, to hold against what federated CAs have of it", async () => {
    const asked = checkedCa(api({}, { env }));
    expect(await gatherFacts(asked, { kept: { verifierKey: undefined, notes: [] }, version: "0", now: Date.now })).toMatchObject({ bundleSequence: BigInt(served.ca.bundle().sequence), notPermitted: [] });
  });

  test("-o short says only that all is well, -o json gives every line with its link", async () => {
    expect((await countersign(["check", "-o", "short"], env)).stdout).toBe("All is well: √\n");
    const lines = JSON.parse((await countersign(["check", "-o", "json"], env)).stdout) as readonly Record<string, string>[];
    expect(lines[0]).toEqual({ check: "api-reachable", category: "api", status: "ok", name: "the CA can be reached", link: `${served.url}/docs#check-api-reachable` });
  });

  test("in a locale that is not UTF-8 has no sign that it cannot show", async () => {
    const { stdout } = await countersign(["check"], { ...env, LANG: "C" });
    expect(stdout).toMatch(/^[\x20-\x7e\n]*$/);
    expect(stdout).toContain("ok the CA is ready to issue");
  });

  test("by an operator says what was not looked at: a warning, and 2 when strict", async () => {
    const made = await countersign(["token", "create", "--type", "api", "--name", "op", "--role", "operator", "--scope", "spiffe://east/ns/shop/*", "--ttl", "1h"], env);
    const file = join(folder, "operator");
    writeFileSync(file, made.stdout, { mode: 0o600 });
    const args = ["check", "--token-file", file];
    expect(await countersign(args, env)).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("‼ all of it may be looked at") as string });
    expect((await countersign([...args, "--strict"], env)).exitCode).toBe(2);
  });

  test("a checkpoint of another log is a × with its name, and exits with 1", async () => {
    const file = join(folder, "other");
    writeFileSync(file, "countersign.dev/west/log\n3\nAAAA\n\n- nobody AAAA\n");
    const { exitCode, stdout } = await countersign(["check", "-o", "short", "--checkpoint", file], env);
    expect([exitCode, stdout.includes("× the checkpoint in ")]).toEqual([1, true]);
    expect(stdout).toContain(`    see ${served.url}/docs#check-log-continues\n`);
  });
});

describe("check where there is no CA", () => {
  test("is one ×, with what to do, and 1", async () => {
    const { exitCode, stdout } = await countersign(["check"], { ...env, COUNTERSIGN_URL: `https://127.0.0.1:${await freePort()}` });
    expect([exitCode, stdout.match(/×/g)?.length]).toEqual([1, 2]);
    expect(stdout).toContain("countersign serve");
    // Nobody answers who would explain it: the page that came with the program does.
    const [, page = ""] = /see (\S+)#check-api-reachable/.exec(stdout) ?? [];
    expect(readFileSync(new URL(page), "utf8")).toContain('<a id="check-api-reachable">');
  });

  test("--wait sees it come", async () => {
    const port = await freePort();
    const waiting = countersign(["check", "-o", "short", "--wait", "60s"], { ...env, COUNTERSIGN_URL: `https://127.0.0.1:${port}` });
    await served.stop();
    served = await start(port);
    env["COUNTERSIGN_URL"] = served.url;
    expect(await waiting).toMatchObject({ exitCode: 0, stdout: "All is well: √\n" });
  });
});

describe("check --pre", () => {
  test("of a machine where a CA can begin is all √ and leaves nothing behind", async () => {
    const fresh = join(folder, "fresh", "deeper");
    const { exitCode, stdout } = await countersign(["check", "--pre", "--data-dir", fresh, "--listen", "127.0.0.1:0", "--strict"], utf8);
    expect([exitCode, stdout.match(/√/g)?.length]).toEqual([0, 7]);
    expect((await countersign(["check", "--pre", "--data-dir", fresh, "--listen", "127.0.0.1:0", "-o", "short"], utf8)).stdout).toBe("All is well: √\n");
  });

  test("names the address that is taken, the folder that is none, the setting that is wrong", async () => {
    const taken: Server = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as AddressInfo;
    const file = join(folder, "file");
    writeFileSync(file, "");
    const at = ["check", "--pre", "-o", "short", "--listen", `127.0.0.1:${port}`, "--data-dir", file];
    const { exitCode, stdout } = await countersign(at, utf8);
    taken.close();
    expect([exitCode, stdout]).toMatchObject([1, expect.stringMatching(/× the data folder[^]*no folder[^]*× the API's address[^]*EADDRINUSE/) as string]);
    expect(await countersign(["check", "--pre"], { ...utf8, COUNTERSIGN_LISTEN: "nowhere" })).toMatchObject({ exitCode: 1, stdout: expect.stringContaining("× the settings hold together") as string });
  });

  test("looks at attestors and at ACME as the CA would", async () => {
    const file = join(folder, "settings.json");
    const anchors = join(folder, "anchors.pem");
    writeFileSync(anchors, testAuthority({ trustDomain: "old", notBeforeMs: Date.UTC(2020, 0), notAfterMs: Date.UTC(2021, 0) }).pem);
    writeFileSync(file, JSON.stringify({
      trustDomain: "east", attestors: {
        cluster: { type: "kubernetes", api: "https://127.0.0.1:1", caFile: join(dataDir, "root.pem"), tokenFile: join(dataDir, "admin-token") },
        old: { type: "x509", anchorsFile: anchors, when: { organizationalUnit: "shop" }, spiffeId: "spiffe://east/old/{commonName}" },
      },
      acme: { names: ["*.internal"], externalAccountsFile: join(folder, "absent.json"), resolver: "127.0.0.1:1" },
    }));
    const { stdout } = await countersign(["check", "--pre", "-o", "short", "--config", file, "--listen", "127.0.0.1:0", "--data-dir", join(folder, "fresh")], utf8);
    const text = stdout.replaceAll(/\s+/g, " ");
    for (const said of ["‼ each attestor is reached", "cluster: no answer from 127.0.0.1:1", "old: its anchors ended at 2021-01-01", "× ACME's DNS server", "127.0.0.1:1 does not answer", "external accounts (ENOENT)"]) expect(text).toContain(said);
    writeFileSync(file, JSON.stringify({ trustDomain: "east", attestors: { old: { type: "x509", anchorsFile: "/nowhere", when: { organizationalUnit: "shop" }, spiffeId: "spiffe://east/old/{commonName}" } } }));
    expect((await countersign(["check", "--pre", "-o", "short", "--config", file, "--listen", "127.0.0.1:0", "--data-dir", join(folder, "fresh")], utf8)).stdout).toContain("anchorsFile");
  });

  test("of a CA's database without its sealing key is a ×", async () => {
    const { exitCode, stdout } = await countersign(
      ["check", "--pre", "-o", "short", "--listen", "127.0.0.1:0", "--data-dir", join(folder, "fresh"), "--store", `sqlite:${join(dataDir, "countersign.db")}`], utf8,
    );
    expect([exitCode, stdout]).toMatchObject([1, expect.stringContaining("× the sealing key is there") as string]);
  });
});

test("colours are for terminals that want them", async () => {
  const report = { findings: [finding("api-ready"), finding("api-ready", { status: "failed", what: "x" })], page: "https://ca/docs" };
  expect(renderFindings(report, "table", { env: utf8, hasColour: true })).toContain("\u001b[31m×\u001b[0m the CA is ready");
  expect(renderFindings(report, "table", { env: utf8 })).not.toContain("\u001b");
});

test.each([["check more", "one argument too many"], ["check -o yaml", "table, short or json"], ["check --wait 60", "a number and a unit"], ["check --wait 2h", "at most 60m"]])("%s ends with 2", async (line, expected) => {
  let stderr = "";
  expect(await dispatch(line.split(" "), { stdout: () => undefined, stderr: (text) => void (stderr += text), env: {} })).toBe(2);
  expect(stderr).toContain(expected);
});
