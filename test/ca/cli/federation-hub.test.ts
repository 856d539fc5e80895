import { mkdirSync, mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readConfig } from "../../../ca/config.ts";
import { encodeBundleMap, readBundleMap } from "../../../ca/pki/bundle-map.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";
import { bundleEndpoint, type BundleEndpoint } from "../../support/bundle-endpoint.ts";
import { countersign, type Ran } from "../../support/command-line.ts";
import { dns, testAuthority } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-hub-"));
const hub = join(folder, "hub");
const web = testAuthority({ trustDomain: "web.example" });
const roots = join(folder, "web.pem");
let cas: readonly ServedCa[];
let server: BundleEndpoint;

beforeAll(async () => {
  mkdirSync(hub);
  writeFileSync(roots, web.pem);
  server = await bundleEndpoint(web.leaf({ names: [dns("localhost")] }), "");
  server.answer = ({ url = "" }, response) => void response.end(readFileSync(join(hub, basename(url))));
  cas = await Promise.all(["east", "west", "north"].map((trustDomain) => serveCa(
    readConfig({ file: { trustDomain, dataDir: join(folder, trustDomain), listen: "127.0.0.1:0", federationWebRoots: roots } }), pino({ level: "silent" }),
  )));
});
afterAll(async () => {
  for (const served of cas) await served.stop();
  await server.close();
  rmSync(folder, { recursive: true });
});

const run = ({ ca, url }: ServedCa, ...args: readonly string[]): Promise<Ran> => countersign(["federation", ...args], { COUNTERSIGN_URL: url, COUNTERSIGN_DATA_DIR: join(folder, ca.trustDomain) });
const subscribe = (served: ServedCa): Promise<Ran> => run(served, "subscribe", `https://localhost:${server.port}/trust-domains.json`, "--hub-roots", roots);
const federated = async ({ ca }: ServedCa) => (await ca.federation.list()).map(({ trustDomain, bundle }) => [trustDomain, bundle?.authorities.length]);

test("clusters join a hub by one line each, and believe each other by the bundles that are there", async () => {
  for (const served of cas) expect((await run(served, "publish", hub)).exitCode).toBe(0);
  expect(readBundleMap(readFileSync(join(hub, "trust-domains.json"), "utf8"))).toEqual(["east", "north", "west"]);
  const [east] = cas;
  expect(await subscribe(east!)).toMatchObject({ exitCode: 0, stdout: "+ north\n+ west\n" });
  expect(await federated(east!)).toEqual([["north", 1], ["west", 1]]);
  expect((await subscribe(east!)).stdout).toBe("");
});

test("who left the hub is dropped, and who is federated with by another way stays", async () => {
  const [east, west] = cas;
  unlinkSync(join(hub, "north.bundle.json"));
  await run(west!, "publish", hub);
  expect((await subscribe(east!)).stdout).toBe("- north\n");
  await run(east!, "remove", "west");
  await run(east!, "add", "west", "--profile", "https_web", "--endpoint", `https://localhost:${server.port}/other/west.bundle.json`);
  const again = await subscribe(east!);
  expect([again.stdout, again.stderr]).toEqual(["", expect.stringContaining("stays: west") as string]);
  unlinkSync(join(hub, "west.bundle.json"));
  await run(east!, "publish", hub);
  expect((await subscribe(east!)).stdout).toBe("");
  expect((await federated(east!)).map(([name]) => name)).toEqual(["west"]);
});

test("a map that is broken, or from a host that is not known, changes nothing", async () => {
  const [, , north] = cas;
  writeFileSync(join(hub, "trust-domains.json"), encodeBundleMap([testAuthority({ trustDomain: "south" }).bundle()]).slice(0, -1));
  expect(await subscribe(north!)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("nothing was changed") as string });
  const strange = await run(north!, "subscribe", `https://localhost:${server.port}/trust-domains.json`);
  expect([strange.exitCode, strange.stderr]).toEqual([1, expect.stringContaining("nothing was changed") as string]);
  expect(await federated(north!)).toEqual([]);
});
