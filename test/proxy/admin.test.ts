import { request } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import { startAdmin } from "../../proxy/admin.ts";
import { createMetrics } from "../../proxy/metrics.ts";
import type { PageServer } from "../../proxy/pages.ts";

const open: PageServer[] = [];
afterEach(() => {
  for (const admin of open.splice(0)) admin.close();
});

async function start(unready: readonly (() => string | undefined)[] = []) {
  const metrics = createMetrics();
  const admin = await startAdmin({ listen: { host: "127.0.0.1", port: 0 }, unready, metrics, pages: { "/identity": () => ({ sequence: 5n }) } });
  open.push(admin);
  return { metrics, get: (path: string, options: { method?: string; headers?: Record<string, string> } = {}) => ask(admin.address, path, options) };
}

function ask(address: string, path: string, { method = "GET", headers = {} }: { method?: string; headers?: Record<string, string> }): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const [host, port] = address.split(":");
    request({ host, port, path, method, headers, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk)).on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    }).on("error", reject).end();
  });
}

describe("the admin listener", () => {
  test("says that the process lives, and what its pages and metrics hold", async () => {
    const { get, metrics } = await start();
    metrics.counter("c", "C.").inc();
    expect(await get("/livez")).toEqual({ status: 200, body: "ok\n" });
    expect((await get("/metrics")).body).toContain("c 1\n");
    expect(JSON.parse((await get("/identity")).body)).toEqual({ sequence: "5" });
    expect((await get("/identity?x=1")).status).toBe(200);
  });

  test("is ready only when nobody has a reason why not, and gives the reasons", async () => {
    let reason: string | undefined = "no certificate yet";
    const { get } = await start([() => reason, () => undefined]);
    const before = await get("/readyz");
    expect(before.status).toBe(503);
    expect(JSON.parse(before.body)).toEqual({ ready: false, reasons: ["no certificate yet"] });
    reason = undefined;
    expect(await get("/readyz")).toMatchObject({ status: 200 });
    reason = "the certificate expired";
    expect(await get("/readyz")).toMatchObject({ status: 503 });
  });

  test("changes nothing and knows nothing else", async () => {
    const { get } = await start();
    expect((await get("/livez", { method: "POST" })).status).toBe(405);
    expect((await get("/")).status).toBe(404);
    expect((await get("/constructor")).status).toBe(404);
  });

  test("does not answer to the name of a web page that resolves to loopback", async () => {
    const { get } = await start();
    expect((await get("/identity", { headers: { host: "evil.example:4191" } })).status).toBe(421);
    expect((await get("/identity", { headers: { host: "localhost:4191" } })).status).toBe(200);
    expect((await get("/identity", { headers: { host: "[::1]:4191" } })).status).toBe(200);
  });

  test("refuses to leave loopback, whoever asks for it", async () => {
    await expect(startAdmin({ listen: { host: "0.0.0.0", port: 0 }, unready: [], metrics: createMetrics(), pages: {} })).rejects.toThrow(RangeError);
  });
});
