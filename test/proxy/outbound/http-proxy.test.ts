import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage, type RequestOptions, type ServerResponse } from "node:http";
import { afterEach, describe, expect, test } from "vitest";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import type { Route } from "../../../proxy/config/config.ts";
import type { InboundDataPath } from "../../../proxy/inbound/server.ts";
import type { OutboundDataPath } from "../../../proxy/outbound/start.ts";
import { eastIdentity, holderOf, inboundHalf, metricValue, outboundHalf, type HalfOptions, type TestHalf } from "../../support/data-path.ts";
import { httpApp, readAll, readUntil, tcpApp, tcpClient, type TestServer } from "../../support/tcp.ts";

const worldId = parseSpiffeId("spiffe://east/world");
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Pair {
  readonly inbound: TestHalf<InboundDataPath>;
  readonly outbound: TestHalf<OutboundDataPath>;
  readonly route: Route;
}

/** hello's outbound side with a route to world's inbound side, before `app`. */
async function pair(app: TestServer, options: { readonly outbound?: HalfOptions; readonly inbound?: HalfOptions } = {}): Promise<Pair> {
  const inbound = await inboundHalf({ app: { host: "127.0.0.1", port: app.port }, ...options.inbound });
  const route: Route = { host: "world", port: undefined, address: { host: "127.0.0.1", port: inbound.port }, serverId: worldId };
  const outbound = await outboundHalf({ routes: [route], ...options.outbound });
  closers.push(() => app.close(), () => inbound.path.close(), () => outbound.path.close());
  return { inbound, outbound, route };
}

interface Answer { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: string }

/** One request of an app that has `http_proxy` set. */
function proxied(port: number, target: string, { body, ...options }: RequestOptions & { readonly body?: string | Buffer } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port, path: target, ...options }, (response) => {
      let text = "";
      response.setEncoding("latin1").on("data", (chunk: string) => (text += chunk)).on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
    });
    request.on("error", reject).end(body);
  });
}

const mirror = (): Promise<TestServer> => httpApp((request, response) => {
  let body = "";
  request.setEncoding("latin1").on("data", (chunk: string) => (body += chunk)).on("end", () => {
    response.end(JSON.stringify({ url: request.url, headers: request.headers, body }));
  });
});
const mirrored = ({ body }: Answer) => JSON.parse(body) as { url: string; headers: Record<string, string>; body: string };

describe("what has a route goes to the identity the route names", () => {
  test("an absolute-form request, with the caller's identity at the other end", async () => {
    const { outbound } = await pair(await mirror());
    const answer = await proxied(outbound.port, "http://World/path?q", { headers: { host: "ignored" } });
    expect(answer.status).toBe(200);
    expect(mirrored(answer)).toMatchObject({ url: "/path?q", headers: { host: "world", "countersign-client-id": "spiffe://east/hello" } });
  });

  test("an origin-form request whose Host has a route", async () => {
    const { outbound } = await pair(await mirror());
    expect(mirrored(await proxied(outbound.port, "/x", { headers: { host: "world:8080" } }))).toMatchObject({ url: "/x", headers: { host: "world:8080" } });
  });

  test("an identity header, proxy headers and hop-by-hop headers of the app stay here", async () => {
    const { outbound } = await pair(await mirror());
    const { headers } = mirrored(await proxied(outbound.port, "http://world/", {
      headers: {
        "Countersign_Client-Id": "spiffe://east/admin", "Countersign-Client-Id": "spiffe://east/admin", "Proxy-Authorization": "Basic eDp5", "Proxy-Connection": "keep-alive",
        "X-Hop": "1", Connection: "X-Hop", Authorization: "Bearer of the app",
      },
    }));
    expect(Object.keys(headers).sort()).toEqual(["authorization", "countersign-client-id", "host"]);
    expect(headers["countersign-client-id"]).toBe("spiffe://east/hello");
  });

  test("a body of a few megabytes both ways", async () => {
    const { outbound } = await pair(await mirror());
    const body = "0123456789abcdef".repeat(256 * 1024);
    expect(mirrored(await proxied(outbound.port, "http://world/", { method: "POST", body })).body).toBe(body);
  });

  test("CONNECT opens a tunnel of opaque bytes with half-close", async () => {
    const app = await tcpApp((socket) => {
      let text = "";
      socket.on("error", () => undefined).on("data", (chunk: Buffer) => (text += String(chunk))).on("end", () => socket.end(`got ${text}`));
    });
    const { outbound } = await pair(app, { inbound: { inboundProtocol: "tcp" } });
    const client = await tcpClient(outbound.port);
    client.write("CONNECT world:5432 HTTP/1.1\r\nHost: world:5432\r\n\r\nearly ");
    expect(await readUntil(client, "\r\n\r\n")).toBe("HTTP/1.1 200 Connection Established\r\n\r\n");
    client.end("bytes");
    expect(String((await readAll(client)).bytes)).toBe("got early bytes");
  });

  test("a WebSocket passes through both proxies", async () => {
    const app = await tcpApp((socket) => void readUntil(socket.on("error", () => undefined), "\r\n\r\n").then(() => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      socket.pipe(socket);
    }));
    const { outbound } = await pair(app);
    const client = await tcpClient(outbound.port);
    client.write("GET http://world/chat HTTP/1.1\r\nHost: world\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    expect(await readUntil(client, "\r\n\r\n")).toContain("101");
    client.write("frame");
    expect(await readUntil(client, "frame")).toBe("frame");
    client.destroy();
  });
});

describe("what has no route is refused and never sent", () => {
  const table: readonly [string, string, Record<string, string>, number][] = [
    ["another host", "http://other/", {}, 403],
    ["a longer host", "http://world.evil/", {}, 403],
    ["an origin-form request to nobody", "/", { host: "127.0.0.1" }, 403],
    ["https", "https://world/", {}, 400],
    ["a host with user information", "http://world@other/", {}, 400],
  ];
  for (const [claim, target, headers, status] of table) {
    test(claim, async () => {
      const { outbound, inbound } = await pair(await mirror());
      const answer = await proxied(outbound.port, target, { headers });
      expect(answer.status).toBe(status);
      if (status === 403) expect(answer.body).toContain("--route HOST[:PORT]=ADDRESS:PORT,SPIFFE-ID");
      expect(inbound.path.connections.count()).toBe(0);
    });
  }

  test("a plain server that the name would resolve to is not asked", async () => {
    const plain = await httpApp((_request, response) => response.end("plain text"));
    let touched = 0;
    plain.server.on("connection", () => touched++);
    const { outbound } = await pair(await mirror());
    closers.push(() => plain.close());
    expect((await proxied(outbound.port, `http://127.0.0.1:${plain.port}/`)).status).toBe(403);
    expect(touched).toBe(0);
  });

  test("a route that leads to a plain server sends it nothing of the request", async () => {
    let received = "";
    const plain = await tcpApp((socket) => void socket.on("error", () => undefined).on("data", (chunk: Buffer) => (received += chunk.toString("latin1"))));
    plain.server.on("connection", (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    const { outbound } = await pair(plain, {
      outbound: { routes: [{ host: "world", port: undefined, address: { host: "127.0.0.1", port: plain.port }, serverId: worldId }] },
    });
    const answer = await proxied(outbound.port, "http://world/secret-path");
    expect(answer.status).toBe(502);
    expect(received).not.toContain("secret-path");
  });

  test("CONNECT to a host without route", async () => {
    const { outbound } = await pair(await mirror());
    const client = await tcpClient(outbound.port);
    client.write("CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n");
    expect(String((await readAll(client)).bytes)).toMatch(/^HTTP\/1\.1 403 [^]*--route/);
  });
});

describe("answers of our own say what happened", () => {
  test("the wrong identity answers: 502 that names both", async () => {
    const app = await mirror();
    const { outbound } = await pair(app, { inbound: { holder: holderOf(eastIdentity("cart")) } });
    const { status, body } = await proxied(outbound.port, "http://world/");
    expect(status).toBe(502);
    expect(body).toContain("spiffe://east/cart answered where spiffe://east/world must");
  });

  test("a server that refuses us: 502 that points to its log", async () => {
    const { outbound } = await pair(await mirror(), { inbound: { allow: [] } });
    const { status, body } = await proxied(outbound.port, "http://world/");
    expect(status).toBe(502);
    expect(body).toContain("its proxy may not allow this identity");
  });

  test("no identity: 503", async () => {
    const { outbound } = await pair(await mirror());
    outbound.holder.setIdentity(undefined);
    expect((await proxied(outbound.port, "http://world/")).status).toBe(503);
  });

  test("a proxy that is not there: 502 with the address", async () => {
    const gone = await mirror();
    await gone.close();
    const { outbound } = await pair(await mirror(), { outbound: { routes: [{ host: "world", port: undefined, address: { host: "127.0.0.1", port: gone.port }, serverId: worldId }] } });
    const { status, body } = await proxied(outbound.port, "http://world/");
    expect(status).toBe(502);
    expect(body).toContain(`127.0.0.1:${gone.port}`);
  });
});

describe("the pool", () => {
  test("200 requests one after another use one connection", async () => {
    const { outbound } = await pair(await mirror());
    const agent = new Agent({ keepAlive: true });
    for (let count = 0; count < 200; count++) expect((await proxied(outbound.port, "http://world/", { agent })).status).toBe(200);
    expect(metricValue(outbound.metrics, "tcp_open_total", 'direction="outbound"')).toBe(1);
    expect(metricValue(outbound.metrics, "request_total", 'server_id="spiffe://east/world"')).toBe(200);
    agent.destroy();
  });

  test("a new identity on either side is used from the next handshake on, and drops no request", async () => {
    const { outbound, inbound } = await pair(await mirror());
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    let stop = false;
    let done = 0;
    const failures: unknown[] = [];
    const worker = async (): Promise<void> => {
      while (!stop) {
        const answer = await proxied(outbound.port, "http://world/", { method: "POST", body: "x".repeat(2000), agent }).catch((error: unknown) => error);
        if ((answer as Answer).status === 200) done++;
        else failures.push(answer);
      }
    };
    const workers = Array.from({ length: 8 }, worker);
    for (let swap = 0; swap < 6; swap++) {
      const before = done;
      await expect.poll(() => done, { interval: 5 }).toBeGreaterThan(before + 20);
      if (swap % 2 === 0) outbound.holder.setIdentity(eastIdentity("hello"));
      else inbound.holder.setIdentity(eastIdentity("world"));
    }
    stop = true;
    await Promise.all(workers);
    agent.destroy();
    expect(failures).toEqual([]);
    // Three swaps of hello, each with new connections.
    expect(metricValue(outbound.metrics, "tcp_open_total", 'direction="outbound"')).toBeGreaterThan(8);
  });

  test("an idle connection of the old identity is closed with the swap", async () => {
    const { outbound } = await pair(await mirror());
    await proxied(outbound.port, "http://world/");
    expect(outbound.path.connections.count()).toBe(1);
    outbound.holder.setIdentity(eastIdentity("hello"));
    await expect.poll(() => outbound.path.connections.count()).toBe(0);
  });

  test("a pooled connection whose server is revoked is cut and not used again", async () => {
    const { outbound, inbound } = await pair(await mirror());
    await proxied(outbound.port, "http://world/");
    outbound.holder.setRevoked(new Set([inbound.holder.identity()!.serialNumber]));
    expect(outbound.path.connections.count()).toBe(0);
    const { status, body } = await proxied(outbound.port, "http://world/");
    expect(status).toBe(502);
    expect(body).toContain("revoked");
  });

  test("a revocation of somebody else leaves pooled connections alone", async () => {
    const { outbound } = await pair(await mirror());
    await proxied(outbound.port, "http://world/");
    outbound.holder.setRevoked(new Set(["00ff"]));
    await proxied(outbound.port, "http://world/");
    expect(metricValue(outbound.metrics, "tcp_open_total", 'direction="outbound"')).toBe(1);
  });

  test("a connection that died while idle does not cost a request", async () => {
    const { outbound, inbound } = await pair(await mirror());
    await proxied(outbound.port, "http://world/");
    inbound.path.connections.cutAll();
    expect((await proxied(outbound.port, "http://world/")).status).toBe(200);
  });
});

test("draining lets requests finish and ends the rest", async () => {
  const arrived = Promise.withResolvers<ServerResponse>();
  const { outbound } = await pair(await httpApp((_request, response) => arrived.resolve(response)));
  const answer = proxied(outbound.port, "http://world/", { agent: new Agent({ keepAlive: true }) });
  const response = await arrived.promise;
  outbound.path.stopAccepting();
  const drained = outbound.path.drained(20_000);
  response.end("late");
  expect(await answer).toMatchObject({ status: 200, body: "late", headers: { connection: "close" } });
  await drained;
  expect(outbound.path.connections.count()).toBe(0);
  await expect(tcpClient(outbound.port)).rejects.toThrow();
});

test("an app that leaves cancels its request at the other end", async () => {
  const arrived = Promise.withResolvers<IncomingMessage>();
  const { outbound } = await pair(await httpApp((request) => arrived.resolve(request)));
  const client = await tcpClient(outbound.port);
  client.write("GET http://world/ HTTP/1.1\r\nHost: world\r\n\r\n");
  const { socket } = await arrived.promise;
  const closed = new Promise((resolve) => socket.once("close", resolve));
  client.resetAndDestroy();
  await closed;
});
