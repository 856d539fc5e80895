import Database from "better-sqlite3";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { readConfig as readCaConfig } from "../../ca/config/config.ts";
import type { Caller } from "../../ca/http/services.ts";
import { serveCa, type ServedCa } from "../../ca/runtime/node.ts";
import { freePort } from "../../infra/demo/place.ts";
import type { IdentityPage } from "../../proxy/identity-page.ts";
import { readConfig } from "../../proxy/config/config.ts";
import { runProxy, type RunningProxy } from "../../proxy/run.ts";
import { newCsr } from "../support/running-ca.ts";
import { recordedLog } from "../support/recorded-log.ts";

const admin: Caller = { actor: "token:test", name: "test", role: "admin", scope: ["spiffe://east/*"] };
let closing: (() => unknown)[];
let dataDir: string;
let app: number;

beforeEach(async () => {
  closing = [];
  dataDir = mkdtempSync(join(tmpdir(), "countersign-feed-e2e-"));
  closing.push(() => rmSync(dataDir, { recursive: true, force: true }));
  const echo = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
  echo.listen(0, "127.0.0.1");
  await once(echo, "listening");
  closing.push(() => echo.close());
  app = (echo.address() as { readonly port: number }).port;
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
});

async function serve(port = "0", settings: Readonly<Record<string, string>> = {}, folder = "."): Promise<ServedCa> {
  const config = readCaConfig({ flags: { "data-dir": join(dataDir, folder), "trust-domain": "east", listen: `127.0.0.1:${port}`, ...settings } });
  const served = await serveCa(config, pino({ level: "silent" }));
  closing.push(() => served.stop());
  return served;
}

/** The stream as somebody without an identity gets it. */
async function followed(served: ServedCa, localAddress: string): Promise<IncomingMessage> {
  const asked = get(`${served.url}/v1/watch`, { localAddress, rejectUnauthorized: false, agent: false });
  closing.push(() => asked.destroy());
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  return answer.on("error", () => undefined);
}

/** A proxy that asks once an hour where it cannot follow the stream, unless told otherwise. */
async function proxyOf(served: ServedCa, revocationPoll = "1h"): Promise<RunningProxy> {
  const { bootstrap = "" } = await served.ca.createToken({ type: "join", spiffeId: "spiffe://east/world" }, admin);
  const args = ["--inbound", "127.0.0.1:0", "--outbound", "off", "--admin", "127.0.0.1:0", "--app", `127.0.0.1:${app}`, "--inbound-protocol", "tcp"];
  const proxy = await runProxy({ config: readConfig({ args: [...args, "--revocation-poll", revocationPoll], env: { COUNTERSIGN_BOOTSTRAP: bootstrap } }), log: recordedLog() });
  closing.push(() => proxy.close());
  return proxy;
}

async function pageOf(proxy: RunningProxy): Promise<IdentityPage> {
  return (await (await fetch(`http://${proxy.admin}/identity`)).json()) as IdentityPage;
}

async function untilFollowedBy(how: "stream" | "polling", proxies: readonly RunningProxy[]): Promise<void> {
  for (const proxy of proxies) {
    await vi.waitUntil(async () => {
      const { feed, policy } = await pageOf(proxy);
      return feed?.followedBy === how && policy?.sequence !== undefined;
    }, { timeout: 30_000, interval: 20 });
  }
}

/** Somebody with a certificate and the key to it. */
interface Client { readonly serialNumber: string; readonly key: string; readonly cert: string }

async function clientOf(served: ServedCa): Promise<Client> {
  const { csr, privateKey } = newCsr();
  const issued = await served.ca.issue({ csr, attestation: { type: "operator", spiffeId: "spiffe://east/cart" } }, { caller: admin });
  return { serialNumber: issued.serialNumber, cert: issued.chain, key: privateKey.export({ format: "pem", type: "pkcs8" }) as string };
}

/** A connection through the proxy to the app and back. */
async function connected(proxy: RunningProxy, client: Client): Promise<TLSSocket> {
  const socket = open(proxy, client);
  socket.write("ping");
  await once(socket, "data");
  return socket;
}

/** Whether the proxy hangs up on a new connection before anything comes back from the app. */
function isRefused(proxy: RunningProxy, client: Client): Promise<boolean> {
  const socket = open(proxy, client);
  socket.write("ping");
  return new Promise((resolve) => {
    socket.once("data", () => {
      socket.destroy();
      resolve(false);
    });
    socket.once("close", () => resolve(true));
  });
}

function open({ inbound }: RunningProxy, { key, cert }: Client): TLSSocket {
  const [host, port] = inbound[0]!.split(":");
  const socket = connect({ host: host!, port: Number(port), key, cert, rejectUnauthorized: false, minVersion: "TLSv1.3" });
  socket.on("error", () => undefined);
  closing.push(() => socket.destroy());
  return socket;
}

/** A cut is a reset, so an error comes before. */
function closed(socket: TLSSocket): Promise<void> {
  return new Promise((resolve) => (socket.destroyed ? resolve() : socket.once("close", () => resolve())));
}

test("a revoked serial is refused by every connected proxy and its live connections are cut, by the stream alone", async () => {
  const served = await serve();
  const proxies = await Promise.all(Array.from({ length: 6 }, () => proxyOf(served)));
  await untilFollowedBy("stream", proxies);
  const [stolen, other] = [await clientOf(served), await clientOf(served)];
  const live = await Promise.all(proxies.map((proxy) => connected(proxy, stolen)));
  const others = await Promise.all(proxies.map((proxy) => connected(proxy, other)));
  await served.ca.revoke(stolen.serialNumber, "keyCompromise", admin);
  await Promise.all(live.map(closed));
  expect(await Promise.all(proxies.map((proxy) => isRefused(proxy, stolen)))).toEqual(proxies.map(() => true));
  expect(others.map(({ destroyed }) => destroyed)).toEqual(proxies.map(() => false));
  expect(await Promise.all(proxies.map((proxy) => isRefused(proxy, other)))).toEqual(proxies.map(() => false));
});

test("every proxy acknowledges the bundle it holds", async () => {
  const served = await serve();
  const proxies = await Promise.all([proxyOf(served), proxyOf(served)]);
  await untilFollowedBy("stream", proxies);
  await vi.waitUntil(async () => (await served.ca.store.holdersBehind({ sequence: 1, nowMs: Date.now(), limit: 9 })).length === 0, { timeout: 30_000 });
  const [page] = await Promise.all(proxies.map(pageOf));
  expect(page?.feed).toMatchObject({ epoch: served.ca.feedEpoch, acknowledgedSequence: "1" });
  const certificates = await served.ca.store.certificates({ limit: 9, nowMs: Date.now(), spiffeId: "spiffe://east/world" });
  expect(certificates.map(({ acknowledgedSequence }) => acknowledgedSequence)).toEqual([1, 1]);
});

test("a proxy that finds no place at the stream learns of it by polling", async () => {
  const served = await serve("0", { "max-watchers": "1" });
  const first = await proxyOf(served);
  await untilFollowedBy("stream", [first]);
  const second = await proxyOf(served, "1s");
  await vi.waitUntil(async () => (await pageOf(second)).feed?.lastError?.includes("watchers_full") === true, { timeout: 30_000 });
  const stolen = await clientOf(served);
  const live = await Promise.all([first, second].map((proxy) => connected(proxy, stolen)));
  await served.ca.revoke(stolen.serialNumber, "keyCompromise", admin);
  await Promise.all(live.map(closed));
  expect(await isRefused(second, stolen)).toBe(true);
  expect((await pageOf(second)).feed?.followedBy).toBe("polling");
});

test("strangers have streams by address, and give one up to a proxy that has no other place", async () => {
  const served = await serve("0", { "max-watchers": "32" });
  const strangers = await Promise.all(["127.0.0.1", "127.0.0.1", "127.0.0.2"].map((address) => followed(served, address)));
  expect(strangers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200]);
  expect((await followed(served, "127.0.0.1")).statusCode).toBe(503);
  const small = await serve("0", { "max-watchers": "1" }, "small");
  const stranger = await followed(small, "127.0.0.1");
  expect(stranger.statusCode).toBe(200);
  const cut = new Promise((resolve) => stranger.on("error", resolve).on("end", resolve).resume());
  await untilFollowedBy("stream", [await proxyOf(small)]);
  await cut;
});

test("a CA that restarts is followed again, and one that comes back from a backup and overtakes what was seen too: nothing is missed, nothing forgotten", async () => {
  const port = String(await freePort());
  let served = await serve(port);
  const proxy = await proxyOf(served);
  await untilFollowedBy("stream", [proxy]);
  const [before, lost, after] = [await clientOf(served), await clientOf(served), await clientOf(served)];
  await served.ca.revoke(before.serialNumber, "superseded", admin);
  await served.stop();
  const [database, backup] = [join(dataDir, "countersign.db"), join(dataDir, "backup.db")];
  copyFileSync(database, backup);
  await untilFollowedBy("polling", [proxy]);

  served = await serve(port);
  await untilFollowedBy("stream", [proxy]);
  const connection = await connected(proxy, lost);
  const { sequence: lostAt } = await served.ca.revoke(lost.serialNumber, "superseded", admin);
  await closed(connection);
  await served.stop();

  // What `countersign restore` leaves: the log of then, without its newer entries, and a new epoch.
  for (const file of ["countersign.db-wal", "countersign.db-shm", "witnessed-checkpoint"]) rmSync(join(dataDir, file), { force: true });
  copyFileSync(backup, database);
  const restored = new Database(database);
  restored.prepare("update ca_state set feed_epoch = 'restored'").run();
  restored.close();
  served = await serve(port);
  const other = await connected(proxy, after);
  let newest = await served.ca.revoke(after.serialNumber, "superseded", admin);
  // As far as before and further: a reader that went by the number alone would never hear of some of it.
  while (newest.sequence <= lostAt) newest = await served.ca.revoke((await clientOf(served)).serialNumber, "superseded", admin);
  await closed(other);
  await untilFollowedBy("stream", [proxy]);
  expect((await pageOf(proxy)).feed?.epoch).toBe("restored");
  expect(await Promise.all([before, lost, after].map((client) => isRefused(proxy, client)))).toEqual([true, true, true]);
});
