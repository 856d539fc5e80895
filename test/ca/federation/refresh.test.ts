import { setImmediate } from "node:timers/promises";
import type { ServerResponse } from "node:http";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { bundleEndpoint, type BundleEndpoint } from "../../support/bundle-endpoint.ts";
import { startTestCa, type TestCa } from "../../support/running-ca.ts";
import { dns, testAuthority } from "../../support/test-ca.ts";

/** One endpoint for all of them, each at a path of its own. */
const folder = mkdtempSync(join(tmpdir(), "countersign-refresh-"));
const web = testAuthority({ trustDomain: "web.example" });
const text = encodeBundle({ ...testAuthority({ trustDomain: "west" }).bundle(), refreshHintSeconds: 60 });
const names = [...Array.from({ length: 40 }, (_, index) => `a${index}`), ...Array.from({ length: 8 }, (_, index) => `z${index}`)];
let east: TestCa;
let endpoint: BundleEndpoint;
/** Not answered yet, by path. */
const held = new Map<string, ServerResponse>();
let mostHeld = 0;

beforeAll(async () => {
  writeFileSync(join(folder, "web.pem"), web.pem);
  // Without timers: a round of theirs could have asked some of them just before.
  east = await startTestCa({ settings: { federationWebRoots: join(folder, "web.pem") }, deps: { onDemand: true } });
  endpoint = await bundleEndpoint(web.leaf({ names: [dns("localhost")] }), text);
  await Promise.all(names.map((trustDomain) => east.ca.federation.add({ trustDomain, profile: "https_web", endpointUrl: `https://localhost:${endpoint.port}/${trustDomain}` }, east.admin)));
});
afterAll(async () => {
  await endpoint.close();
  await east.close();
  rmSync(folder, { recursive: true });
});

const answers = (): void => {
  endpoint.answer = (_, response) => void response.end(text);
};
const holds = (isHeld: (path: string) => boolean): void => {
  mostHeld = 0;
  endpoint.answer = ({ url = "" }, response) => {
    if (!isHeld(url)) return void response.end(text);
    held.set(url, response);
    mostHeld = Math.max(mostHeld, held.size);
  };
};
const release = (): void => {
  for (const [path, response] of held) {
    held.delete(path);
    response.end(text);
  }
};
/** Answers whoever waits, and who comes meanwhile, turn by turn until it is over. */
async function releaseUntil(ticked: Promise<void>): Promise<void> {
  let over = false;
  void ticked.finally(() => (over = true));
  while (!over) {
    release();
    await setImmediate();
  }
  await ticked;
}
/** So much later all of them are due. */
const aMinutePasses = (): void => void (east.clock.nowMs += 61_000);

test("many that are added at once are all there, and their next looks are spread, none of them later than the hint", async () => {
  const list = await east.ca.federation.list();
  expect(list.map(({ trustDomain }) => trustDomain)).toEqual([...names].sort());
  const intervals = list.map(({ refresh }) => refresh!.intervalSeconds);
  expect(Math.max(...intervals)).toBeLessThanOrEqual(60);
  expect(Math.min(...intervals)).toBeGreaterThanOrEqual(48);
  expect(new Set(intervals).size).toBeGreaterThan(40);
});

test("of those that are due together 32 are asked at once and no more, each once", async () => {
  holds(() => true);
  aMinutePasses();
  const before = endpoint.asked.length;
  const ticked = east.ca.tick();
  await vi.waitFor(() => expect(held.size).toBe(32), { timeout: 20_000 });
  await releaseUntil(ticked);
  expect(mostHeld).toBe(32);
  expect(endpoint.asked.slice(before).sort()).toEqual(names.map((name) => `/${name}`).sort());
});

test("those that failed are asked 16 at a time, and however long they say nothing, no other waits for them", async () => {
  const isBad = (path: string): boolean => path.startsWith("/a");
  endpoint.answer = ({ url = "" }, response) => void (isBad(url) ? response.writeHead(503).end() : response.end(text));
  aMinutePasses();
  await east.ca.tick();
  holds(isBad);
  aMinutePasses();
  const before = endpoint.asked.length;
  const ticked = east.ca.tick();
  await vi.waitFor(() => expect(endpoint.asked.slice(before).filter((path) => !isBad(path))).toHaveLength(8), { timeout: 20_000 });
  await vi.waitFor(() => expect(held.size).toBe(16), { timeout: 20_000 });
  await releaseUntil(ticked);
  expect(mostHeld).toBe(16);
  answers();
});
