import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freePort } from "../../infra/demo/place.ts";
import { countersign, startCa, startProcess, startProxy, type RunningCa, type RunningProcess, type RunningProxy } from "../../infra/demo/processes.ts";
import { httpGet } from "../support/http-get.ts";

let dataDir: string;
let running: RunningProcess[];
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "countersign-outage-"));
  running = [];
});
afterEach(async () => {
  await Promise.all(running.map((process) => process.stop()));
  rmSync(dataDir, { recursive: true });
});

test("a CA that is away costs nothing before the certificates expire, everything after, and one wait when it is back", { timeout: 300_000 }, async () => {
  const ca = keep(await startCa({ dataDir, env: fewSeconds }));
  const [hello, world] = await startPair(ca);
  const pair = [hello, world];
  await until("requests through the pair", async () => (await ask(hello)).body === "world\n");
  const before = await Promise.all(pair.map(identityOf));
  await until("a renewal of both while the CA is there", async () => (
    (await Promise.all(pair.map(identityOf))).every(({ serialNumber }, index) => serialNumber !== before[index]?.serialNumber)
  ));

  await until("both to have most of their time before them", async () => (
    (await Promise.all(pair.map(identityOf))).every(({ notAfter }) => Date.parse(notAfter) - Date.now() > mostOfItMs)
  ));
  await ca.stop();
  const last = await Promise.all(pair.map(identityOf));
  const goodUntilMs = Math.min(...last.map(({ notAfter }) => Date.parse(notAfter)));
  let asked = 0;
  while (Date.now() < goodUntilMs - aboutToExpireMs) {
    const answers = [await ask(hello), ...(await Promise.all(pair.map(readiness)))];
    // What was still under way when the certificate ended says nothing.
    if (Date.now() >= goodUntilMs) break;
    expect(answers.map(({ status, body }) => (status === 200 ? 200 : `${status} ${body}`))).toEqual([200, 200, 200]);
    asked += 1;
  }
  expect(asked).toBeGreaterThan(2);
  // The first to expire was past its renewal and had tried in vain: the outage was there, and was not felt.
  const first = pair[last.findIndex(({ notAfter }) => Date.parse(notAfter) === goodUntilMs)]!;
  expect(await identityOf(first)).toMatchObject({ failures: expect.toSatisfy((count: number) => count > 0) as number, lastError: { code: "ca_unreachable" } });

  await until("both to be expired and to say so", async () => (await Promise.all(pair.map(readiness))).every(({ status }) => status === 503));
  expect((await readiness(world)).body).toContain("expired");
  expect((await ask(hello)).status).toBeGreaterThanOrEqual(500);

  keep(await startCa({ dataDir, port: Number(new URL(ca.url).port), env: fewSeconds }));
  await until("both to be back by themselves", async () => (await Promise.all(pair.map(readiness))).every(({ status }) => status === 200));
  await until("requests through the pair again", async () => (await ask(hello)).body === "world\n");
  const after = await Promise.all(pair.map(identityOf));
  expect(after.map(({ spiffeId }) => spiffeId)).toEqual(before.map(({ spiffeId }) => spiffeId));
  expect(after.map(({ serialNumber }) => serialNumber)).not.toEqual(last.map(({ serialNumber }) => serialNumber));
});

/** The two apps' proxies; only hello's is asked, and only world's is answered by an app. */
async function startPair(ca: RunningCa): Promise<readonly [hello: RunningProxy, world: RunningProxy]> {
  const [helloId, worldId] = ["hello", "world"].map((name) => `spiffe://${ca.trustDomain}/ns/default/sa/${name}`) as [string, string];
  const app = await freePort();
  keep(startProcess("infra/demo/world.ts", [], { PORT: String(app) }));
  const tokenFor = async (spiffeId: string) => (await countersign(ca, "token", "create", "--id", spiffeId)).trim();
  const args = ["--certificate-lifetime", "9s"];
  const world = keep(await startProxy({ bootstrap: await tokenFor(worldId), app, args }));
  const route = `world=127.0.0.1:${world.inboundPort},${worldId}`;
  const hello = keep(await startProxy({ bootstrap: await tokenFor(helloId), app, args: [...args, "--route", route] }));
  return [hello, world];
}

interface Answer { readonly status: number; readonly body: string }

/** What an app with http_proxy set gets from http://world/. */
function ask(hello: RunningProxy): Promise<Answer> {
  return httpGet(hello.outboundPort, "http://world/", { host: "world" });
}

function readiness(proxy: RunningProxy): Promise<Answer> {
  return httpGet(proxy.adminPort, "/readyz");
}

async function identityOf(proxy: RunningProxy): Promise<{
  readonly spiffeId: string; readonly serialNumber: string; readonly notAfter: string; readonly failures: number; readonly lastError?: { readonly code: string };
}> {
  return JSON.parse((await httpGet(proxy.adminPort, "/identity")).body);
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited ${deadlineMs / 1000} s in vain for ${what}:\n${running.map((process) => process.output()).join("\n")}`);
    await delay(pollMs);
  }
}

function keep<T extends RunningProcess>(process: T): T {
  running.push(process);
  return process;
}

/** notBefore is set back by the skew, and renewal is at a part of the whole. */
const fewSeconds = { COUNTERSIGN_CLOCK_SKEW: "1s" };
/** Of nine seconds: the CA has the rest of them to stop in. */
const mostOfItMs = 5000;
const aboutToExpireMs = 300;
/** Far more than any of it takes, so that a slow machine does not fail. */
const deadlineMs = 60_000;
const pollMs = 50;
