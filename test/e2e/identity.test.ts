import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, expect, test, vi } from "vitest";
import { readConfig as readCaConfig } from "../../ca/config/config.ts";
import type { Caller } from "../../ca/http/services.ts";
import { serveCa, type ServedCa } from "../../ca/runtime/node.ts";
import { freePort } from "../../infra/demo/place.ts";
import { systemClock, type Clock } from "../../proxy/clock.ts";
import { readConfig } from "../../proxy/config/config.ts";
import { identityHolder } from "../../proxy/identity/source.ts";
import { startIdentity } from "../../proxy/identity/start.ts";
import { createMetrics } from "../../proxy/metrics.ts";
import { changed } from "../support/identity-changes.ts";
import { recordedLog } from "../support/recorded-log.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  vi.useRealTimers();
});

const hourMs = 3_600_000;
const admin: Caller = { actor: "token:test", name: "test", role: "admin", scope: ["spiffe://east/*"] };

/** One clock for both sides, which the test sets; waiting takes a thousandth. */
const clock: Clock = { now: () => Date.now(), after: (delayMs, run) => systemClock.after(delayMs / 1000, run) };

test("a proxy lives through its first certificate, renewals, a CA that is down beyond expiry, and revocations, with the real CA", async () => {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
  const pass = (ms: number): void => void vi.setSystemTime(Date.now() + ms);
  const dataDir = mkdtempSync(join(tmpdir(), "countersign-identity-e2e-"));
  closing.push(() => rmSync(dataDir, { recursive: true, force: true }));
  const serve = (port: string): Promise<ServedCa> =>
    serveCa(readCaConfig({ flags: { "data-dir": dataDir, "trust-domain": "east", listen: `127.0.0.1:${port}` } }), pino({ level: "silent" }), () => new Date());
  const port = String(await freePort());
  let served = await serve(port);
  closing.push(() => served.stop());
  const { bootstrap = "" } = await served.ca.createToken({ type: "join", spiffeId: "spiffe://east/ns/shop/sa/cart" }, admin);

  const holder = identityHolder(clock.now);
  const log = recordedLog();
  const keeper = startIdentity({
    config: readConfig({ env: { COUNTERSIGN_BOOTSTRAP: bootstrap } }), holder, clock, random: Math.random, log, metrics: createMetrics(),
  });
  closing.push(() => keeper.stop());
  const attestationOf = async (serialNumber = ""): Promise<string | undefined> => (await served.ca.store.certificate(serialNumber))?.attestation;

  await changed(holder, () => holder.identity() !== undefined);
  const first = holder.identity()!;
  expect(first.id.uri).toBe("spiffe://east/ns/shop/sa/cart");
  expect(await attestationOf(first.serialNumber)).toBe("join-token");
  expect(String(holder.trust()?.bundles.get("east")?.sequence)).toBe(served.ca.bundle().sequence);

  pass(17 * hourMs);
  await changed(holder, () => holder.identity()?.serialNumber !== first.serialNumber);
  const second = holder.identity()!;
  expect(await attestationOf(second.serialNumber)).toBe("svid");
  expect(second.privateKey.equals(first.privateKey)).toBe(false);

  await served.stop();
  pass(17 * hourMs);
  await vi.waitUntil(() => keeper.status().rotation.failures > 2, { timeout: 20_000 });
  expect(holder.identity()?.serialNumber).toBe(second.serialNumber);
  expect(keeper.unready()).toBeUndefined();
  pass(8 * hourMs);
  await changed(holder, () => holder.identity() === undefined);
  expect(keeper.unready()).toMatch(/expired at .*cannot reach the CA/);

  served = await serve(port);
  await changed(holder, () => holder.identity() !== undefined);
  const third = holder.identity()!;
  expect(third.id.uri).toBe(first.id.uri);
  expect(await attestationOf(third.serialNumber)).toBe("join-token");
  expect(keeper.unready()).toBeUndefined();

  await served.ca.revoke(third.serialNumber, "keyCompromise", admin);
  await changed(holder, () => holder.trust()?.revoked.has(third.serialNumber) === true);
  expect(keeper.unready()).toContain("revoked");
  expect(log.text()).not.toContain(bootstrap);
});
