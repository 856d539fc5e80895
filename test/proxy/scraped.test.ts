import { once } from "node:events";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createMetrics } from "../../proxy/metrics.ts";
import type { PageServer } from "../../proxy/pages.ts";
import { startScraped } from "../../proxy/scraped.ts";
import { manyAddresses } from "../support/many-addresses.ts";

const open: PageServer[] = [];
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of open.splice(0)) server.close();
});

async function start(unready: () => string | undefined = () => undefined) {
  const metrics = createMetrics();
  const clock = { nowMs: 0 };
  const server = await startScraped({ listen: { host: "*", port: 0 }, unready: [unready], metrics, now: () => clock.nowMs });
  open.push(server);
  const port = Number(server.address.split(":")[1]);
  return { metrics, clock, port, get: (path: string, options: { method?: string; host?: string } = {}) => ask(port, path, options) };
}

function ask(port: number, path: string, { method = "GET", host = "10.1.0.7:4192" }: { method?: string; host?: string }): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port, path, method, headers: { host }, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk)).on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    }).on("error", reject).end();
  });
}

/** Connects and says nothing. */
async function silent(port: number, localAddress: string): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  sockets.push(socket.on("error", () => undefined));
  await once(socket, "connect");
  return socket;
}

test("scrapers and probes from elsewhere have metrics, and whether the proxy lives and is ready", async () => {
  let reason: string | undefined = "the CA at https://ca.internal:8443 does not answer";
  const { get, metrics } = await start(() => reason);
  metrics.counter("c", "C.").inc();
  expect(await get("/metrics")).toMatchObject({ status: 200, body: expect.stringContaining("c 1\n") as string });
  expect(await get("/livez")).toEqual({ status: 200, body: "ok\n" });
  // Why not is for those who are on this host.
  expect(await get("/readyz")).toEqual({ status: 503, body: "not ready: /readyz of the admin listener says why\n" });
  reason = undefined;
  expect(await get("/readyz")).toEqual({ status: 200, body: "ready\n" });
});

test("there is nothing else, and nothing to be done", async () => {
  const { get } = await start();
  for (const path of ["/", "/identity", "/edges", "/tap", "/routes", "/metrics/", "//metrics", "/metrics/../identity", "/constructor"]) expect([path, (await get(path)).status]).toEqual([path, 404]);
  for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) expect([method, (await get("/metrics", { method })).status]).toEqual([method, 405]);
});

test("metrics are made anew once a second at most, however often they are asked for", async () => {
  const { get, metrics, clock } = await start();
  let reads = 0;
  metrics.gaugeOf("g", "G.", () => (reads += 1));
  for (let asked = 0; asked < 5; asked++) expect((await get("/metrics")).body).toContain("g 1\n");
  clock.nowMs = 1000;
  expect((await get("/metrics")).body).toContain("g 2\n");
});

test("who holds connections keeps no probe out: the oldest one goes, of the same address where that has its share", async () => {
  const { get, port } = await start();
  const [first, second] = [await silent(port, "127.0.0.2"), await silent(port, "127.0.0.3")];
  for (let count = 1; count < 16; count++) await silent(port, "127.0.0.3");
  const ended = once(second, "close");
  await silent(port, "127.0.0.3");
  await ended;
  expect(first.destroyed).toBe(false);
  const displaced = once(first, "close");
  for (const address of ["127.0.0.4", "127.0.0.5", "127.0.0.6"]) for (let count = 0; count < 16; count++) await silent(port, address);
  await displaced;
  expect((await get("/livez")).status).toBe(200);
});

test("the addresses of an IPv6 network have one share", async () => {
  const { port } = await start();
  const restore = manyAddresses();
  try {
    const first = await silent(port, "127.0.0.1");
    const ended = once(first, "close");
    for (let count = 1; count <= 16; count++) await silent(port, "127.0.0.1");
    await ended;
  } finally {
    restore();
  }
});
