import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readConfig } from "../../../ca/config/config.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";
import { countersign } from "../../support/command-line.ts";
import { resolveHere } from "../../support/host-names.ts";
import { programAvailable } from "../../support/programs.ts";
import { dns, testAuthority } from "../../support/test-ca.ts";

const run = promisify(execFile);
const hasCurl = programAvailable("curl");
const folder = mkdtempSync(join(tmpdir(), "countersign-https-web-"));
const path = (name: string): string => join(folder, name);
const web = testAuthority({ trustDomain: "web.example" });
const host = "bundle.west.example";
let west: ServedCa;
let east: ServedCa;
let port: string;
let forget: () => void;

function serve(trustDomain: string, settings: Readonly<Record<string, string>>): Promise<ServedCa> {
  return serveCa(readConfig({ file: { trustDomain, dataDir: path(trustDomain), listen: "127.0.0.1:0", ...settings } }), pino({ level: "silent" }));
}
function certify(name: string): Readonly<Record<string, string>> {
  const leaf = web.issuer().leaf({ names: [dns(name)] });
  writeFileSync(path(`${name}.pem`), leaf.chainPem);
  writeFileSync(path(`${name}.key`), leaf.privateKeyPem, { mode: 0o600 });
  return { webCert: path(`${name}.pem`), webKey: path(`${name}.key`) };
}
beforeAll(async () => {
  writeFileSync(path("web.pem"), web.pem);
  [west, east] = await Promise.all([serve("west", certify(host)), serve("east", { federationWebRoots: path("web.pem") })]);
  port = new URL(west.url).port;
  forget = resolveHere(host);
});
afterAll(async () => {
  forget();
  for (const served of [west, east]) await served.stop();
  rmSync(folder, { recursive: true });
});

const command = ({ url, ca }: ServedCa, ...args: readonly string[]) => countersign(args, { COUNTERSIGN_URL: url, COUNTERSIGN_DATA_DIR: path(ca.trustDomain) });

describe("a bundle endpoint with a certificate of the web", () => {
  test("FE-01, FE-05, FE-06: is added by another CA's operator by its URL alone, and followed by its host's name", async () => {
    const added = await command(east, "federation", "add", "west", "--profile", "https_web", "--endpoint", `https://${host}:${port}/v1/bundle`);
    expect(added).toMatchObject({ exitCode: 0 });
    const { bundle, refresh, profile } = await east.ca.federation.get("west");
    expect([profile, bundle?.authorities.map(({ fingerprint }) => fingerprint), refresh?.failures]).toEqual(["https_web", [(await west.ca.authorities()).find(({ type }) => type === "root")!.fingerprint], 0]);
    expect(await command(east, "federation", "refresh", "west")).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("(https_web)") as string });
  });

  test("FE-03: is not followed by a name that its certificate does not have, nor by its SVID in the certificate's place", async () => {
    for (const other of ["127.0.0.1", "localhost"]) {
      const added = await command(east, "federation", "add", "north", "--profile", "https_web", "--endpoint", `https://${other}:${port}/v1/bundle`);
      expect(added.stderr).toMatch(/could\s+not\s+be\s+fetched.*did\s+not\s+prove\s+to\s+be\s+the\s+endpoint/s);
      expect((await east.ca.federation.get("north")).bundle).toBeUndefined();
      await command(east, "federation", "remove", "north");
    }
  });

  test("how long it lasts is a line of check", async () => {
    const { stdout } = await command(west, "check", "-o", "json");
    const findings = JSON.parse(stdout) as readonly { readonly check: string }[];
    expect(findings.find(({ check }) => check === "web-certificate")).toMatchObject({ status: "ok", name: `the web certificate for ${host} has enough of its life left` });
  });

  test.skipIf(!hasCurl)("FE-07, FE-08: answers curl, which trusts the web's root and shows nothing, with the newest bundle as JSON", async () => {
    const curl = async (...args: readonly string[]) => run("curl", ["-sS", "--fail", "--max-time", "20", "--resolve", `${host}:${port}:127.0.0.1`, ...args]);
    const { stdout } = await curl("-w", "\n%{content_type}", "--cacert", path("web.pem"), `https://${host}:${port}/v1/bundle`);
    expect(stdout).toBe(`${west.ca.bundle().jwks}\napplication/json`);
    // The API is known by its own certificate under its own names, and by no other.
    expect((await curl("--cacert", west.files.root, `https://localhost:${port}/v1/bundle`)).stdout).toBe(west.ca.bundle().jwks);
    for (const [root, name] of [[west.files.root, host], [path("web.pem"), "localhost"]] as const) {
      await expect(curl("--cacert", root, `https://${name}:${port}/v1/bundle`)).rejects.toMatchObject({ code: 60 });
    }
  });
});

test("a CA whose web certificate is for the API's own name does not start, and has begun nothing", async () => {
  await expect(serve("north", certify("localhost"))).rejects.toMatchObject({ code: "web_certificate_unusable", message: expect.stringContaining("another name of this host") as string });
  const looked = await countersign(["check", "--pre", "-o", "json"], { COUNTERSIGN_DATA_DIR: path("north"), COUNTERSIGN_LISTEN: "127.0.0.1:0", COUNTERSIGN_WEB_CERT: path("localhost.pem"), COUNTERSIGN_WEB_KEY: path("localhost.key") });
  expect((JSON.parse(looked.stdout) as readonly { readonly check: string }[]).find(({ check }) => check === "pre-web")).toMatchObject({ status: "failed" });
});
