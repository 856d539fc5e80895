import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { afterEach, expect, test, vi } from "vitest";
import type { InboundDataPath } from "../../../proxy/inbound/server.ts";
import { eastIssuer, inboundHalf, metricValue, type HalfOptions, type TestHalf } from "../../support/data-path.ts";
import { until } from "../../support/manual-clock.ts";
import { programAvailable } from "../../support/programs.ts";
import { readAll, readUntil, tcpApp, tlsClient, type TestServer } from "../../support/tcp.ts";

const hello = eastIssuer.leaf({ spiffeId: "spiffe://east/hello" });
let app: TestServer;
let half: TestHalf<InboundDataPath>;
/** Connections of the app, in order. */
let connected: Socket[] = [];

afterEach(async () => {
  vi.useRealTimers();
  half.path.close();
  await app.close();
  connected = [];
});

async function start(onConnection: (socket: Socket) => void = () => undefined, options: HalfOptions = {}) {
  app = await tcpApp((socket) => {
    connected.push(socket.on("error", () => undefined));
    onConnection(socket);
  });
  half = await inboundHalf({ app: { host: "127.0.0.1", port: app.port }, ...options });
  return tlsClient(half.port, { leaf: hello });
}

const echo = (socket: Socket): void => void socket.pipe(socket);

test("opaque bytes go through as they are", async () => {
  const client = await start(echo);
  client.write("\0\x01binary");
  expect(await readUntil(client, "binary")).toBe("\0\x01binary");
});

test("a text protocol goes through once its first line is whole", async () => {
  const client = await start(echo);
  client.write("get ke");
  client.write("y\r\n");
  expect(await readUntil(client, "\n")).toBe("get key\r\n");
});

test("HTTP that comes byte by byte still gets its identity header, and loses a forged one", async () => {
  const client = await start((socket) => void readUntil(socket, "\r\n\r\n").then((head) => {
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`);
  }));
  for (const character of "GET / HTTP/1.1\r\nHost: world\r\nConnection: close\r\nCountersign-Client-Id: spiffe://east/admin\r\n\r\n") {
    client.write(character);
    await new Promise(setImmediate);
  }
  const all = String((await readAll(client)).bytes);
  expect(all).toContain("200 OK");
  expect(all).toContain("countersign-client-id: spiffe://east/hello");
  expect(all).not.toContain("admin");
});

test("a client that ends in the middle of a line is passed on as opaque", async () => {
  const client = await start(echo);
  client.end("no line end");
  expect(String((await readAll(client)).bytes)).toBe("no line end");
});

test("a client that ends in the middle of a request line is refused, since some server may take CR for its end", async () => {
  const client = await start(echo);
  client.end("GET / HTTP/1.1\rCountersign-Client-Id: spiffe://east/admin\r\r");
  expect(String((await readAll(client)).bytes)).toBe("");
  expect(connected.length).toBe(0);
  await expect.poll(() => metricValue(half.metrics, "inbound_refused_total", 'reason="line_incomplete"')).toBe(1);
  await expect.poll(() => half.path.connections.count()).toBe(0);
});

test("on an opaque port a server speaks first at once, and neither side's first line is looked at", async () => {
  app = await tcpApp((socket) => socket.on("error", () => undefined).write("220 ready\r\n"));
  half = await inboundHalf({ app: { host: "127.0.0.1", port: app.port }, opaquePorts: new Set([app.port]) });
  const client = await tlsClient(half.port, { leaf: hello });
  expect(await readUntil(client, "\n")).toBe("220 ready\r\n");
  client.end("PROXY ");
  expect(half.path.connections.edges()).toMatchObject([{ protocol: "tcp" }]);
});

test("TLS that the client speaks inside of ours goes through at once, and is shown as such", async () => {
  const client = await start(echo);
  const hello = Buffer.of(0x16, 3, 1, 0, 4, 1, 0, 0, 0);
  client.write(hello);
  expect(await readUntil(client, hello.toString("latin1"))).toBe(hello.toString("latin1"));
  expect(half.path.connections.edges()).toMatchObject([{ protocol: "tls", secured: true }]);
});

test("after the deadline a server that speaks first can", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const client = await start((socket) => {
    socket.write("220 mail ready\r\n");
    echo(socket);
  });
  await until("the proxy has the connection", () => half.path.connections.count() === 1);
  expect(connected.length).toBe(0);
  vi.advanceTimersByTime(10_000);
  vi.useRealTimers();
  expect(await readUntil(client, "ready\r\n")).toBe("220 mail ready\r\n");
  client.write("EHLO me\r\n");
  expect(await readUntil(client, "me\r\n")).toBe("EHLO me\r\n");
});

test("a client that waits for the deadline and then sends HTTP has its forged header removed all the same", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const client = await start();
  await until("the proxy has the connection", () => half.path.connections.count() === 1);
  vi.advanceTimersByTime(10_000);
  vi.useRealTimers();
  await expect.poll(() => connected.length).toBe(1);
  client.write("GET / HT");
  await new Promise(setImmediate);
  client.write("TP/1.1\r\nHost: world\r\nCountersign-Client-Id: spiffe://east/admin\r\n\r\n");
  await expect.poll(() => connected.length).toBe(2);
  const [early, http] = connected;
  const head = await readUntil(http!, "\r\n\r\n");
  expect(head).toContain("countersign-client-id: spiffe://east/hello");
  expect(head).not.toContain("admin");
  expect(early!.bytesRead).toBe(0);
  await expect.poll(() => early!.destroyed).toBe(true);
  http!.end("HTTP/1.1 204 No Content\r\n\r\n");
  await readUntil(client, "204");
});

for (const pieces of [["HTTP/1.1 408 Request Timeout\r\n\r\n"], ["HT", "TP/1.1 408 Request Timeout\r\n\r\n"]]) {
  test(`an app that says 408 to a connection without a request, in ${pieces.length}, is not passed on, and the client's request is served`, async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const client = await start();
    await until("the proxy has the connection", () => half.path.connections.count() === 1);
    vi.advanceTimersByTime(10_000);
    vi.useRealTimers();
    await expect.poll(() => connected.length).toBe(1);
    for (const piece of pieces) {
      connected[0]!.write(piece);
      await new Promise(setImmediate);
    }
    await expect.poll(() => connected[0]!.destroyed).toBe(true);
    client.write("GET / HTTP/1.1\r\nHost: world\r\nCountersign-Client-Id: spiffe://east/admin\r\n\r\n");
    await expect.poll(() => connected.length).toBe(2);
    expect(await readUntil(connected[1]!, "\r\n\r\n")).toContain("countersign-client-id: spiffe://east/hello");
    connected[1]!.write("HTTP/1.1 204 No Content\r\n\r\n");
    expect(await readUntil(client, "\r\n\r\n")).toMatch(/^HTTP\/1\.1 204 /);
  });
}

test("a client that stops in the middle of a line is refused after the deadline, which starts with its first byte", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const client = await start();
  await until("the proxy has the connection", () => half.path.connections.count() === 1);
  vi.advanceTimersByTime(10_000);
  await until("the app has it", () => connected.length === 1);
  const timers = vi.getTimerCount();
  client.write("GET / HT");
  await until("the deadline runs", () => vi.getTimerCount() === timers + 1);
  vi.advanceTimersByTime(9999);
  expect(metricValue(half.metrics, "inbound_refused_total", 'reason="line_incomplete"')).toBe(0);
  client.write("T");
  vi.advanceTimersByTime(1);
  vi.useRealTimers();
  expect((await readAll(client)).ending).toBe("reset");
  await expect.poll(() => connected[0]!.destroyed).toBe(true);
  expect(connected[0]!.bytesRead).toBe(0);
  expect(metricValue(half.metrics, "inbound_refused_total", 'reason="line_incomplete"')).toBe(1);
  expect(half.logged.join()).toContain("inboundProtocol tcp");
});

test("where neither side says anything, the idle limit ends both connections", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const client = await start(undefined, { idleTimeoutMs: 50 });
  await until("the proxy has the connection", () => half.path.connections.count() === 1);
  const all = readAll(client);
  vi.advanceTimersByTime(10_000);
  vi.useRealTimers();
  await expect.poll(() => connected.length).toBe(1);
  expect((await all).ending).toBe("reset");
  await expect.poll(() => connected[0]!.destroyed).toBe(true);
});

test("a client that leaves before it said anything leaves nothing behind", async () => {
  const client = await start();
  client.raw.resetAndDestroy();
  await expect.poll(() => half.path.connections.count()).toBe(0);
  expect(connected.length).toBe(0);
});

for (const pieces of [1, 5]) {
  test(`a client that waits until the app has spoken HTTP/2, in ${pieces}, gets no opaque way in`, async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const client = await start();
    await until("the proxy has the connection", () => half.path.connections.count() === 1);
    vi.advanceTimersByTime(10_000);
    vi.useRealTimers();
    await expect.poll(() => connected.length).toBe(1);
    const settings = Buffer.from([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0]);
    for (let at = 0; at < settings.length; at += settings.length / pieces) {
      connected[0]!.write(settings.subarray(at, at + settings.length / pieces));
      await new Promise(setImmediate);
    }
    await expect.poll(() => connected[0]!.destroyed).toBe(true);
    client.write(`GET / HTTP/1.1\r\n${forged}`);
    await expect.poll(() => connected.length).toBe(2);
    expect(await readUntil(connected[1]!, "\r\n\r\n")).toContain("countersign-client-id: spiffe://east/hello");
  });
}

const forged = "Host: world\r\nConnection: close\r\nCountersign-Client-Id: spiffe://east/admin\r\n\r\n";
for (const line of ["GET / HTTP/0.9", "GET / HTTP/2.0", "GET / HTTP/1.10", " GET / HTTP/1.1", "GET\xa0/\xa0HTTP/1.1", `${"A".repeat(65)} / HTTP/1.1`, "POST / RTSP/1.0", "GET /"]) {
  test(`a forged identity does not reach the app behind ${JSON.stringify(line.slice(0, 20))}`, async () => {
    const heads: string[] = [];
    const client = await start((socket) => void readUntil(socket, "\r\n\r\n").then((head) => {
      heads.push(head);
      socket.end("HTTP/1.1 204 No Content\r\n\r\n");
    }, () => undefined));
    client.write(Buffer.from(`${line}\r\n${forged}`, "latin1"));
    expect(String((await readAll(client)).bytes)).toMatch(/^HTTP\/1\.1 (400|505|204) /);
    expect(heads.join("")).not.toContain("admin");
  });
}

for (const [what, bytes, reason] of [
  ["a PROXY preamble", `PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\n${forged}`, "proxy_preamble"],
  ["a binary PROXY preamble", "\r\n\r\n\0\r\nQUIT\n", "proxy_preamble"],
] as const) {
  test(`${what} is refused, counted and explained`, async () => {
    const client = await start(echo);
    client.write(bytes);
    await expect.poll(() => client.destroyed).toBe(true);
    expect(connected.length).toBe(0);
    expect(metricValue(half.metrics, "inbound_refused_total", `reason="${reason}"`)).toBe(1);
    expect(half.logged.join()).toContain("inboundProtocol tcp");
  });
}

test("what is opaque by a byte of its method is cut before the line's end if that makes it a request", async () => {
  let got = "";
  const client = await start((socket) => void socket.on("data", (bytes: Buffer) => (got += bytes.toString("latin1"))));
  client.write("G\x01ET ");
  await expect.poll(() => got).toBe("G\x01ET ");
  client.write("/ HTTP/1.0\r\nCountersign-Client-Id: spiffe://east/admin\r\n\r\n");
  expect((await readAll(client)).ending).not.toBe("end");
  await expect.poll(() => metricValue(half.metrics, "inbound_refused_total", 'reason="line_disguised"')).toBe(1);
  await expect.poll(() => connected[0]!.destroyed).toBe(true);
  expect(got).toBe("G\x01ET ");
});

test("what is opaque by its first bytes stays so, whatever is in and behind its first line", async () => {
  const client = await start(echo);
  const pieces = ["\0\x01a ", "b/c d HT", "TP", " /\r\n", "GET / HTTP/1.1\r\n\r\n"];
  let sent = "";
  for (const piece of pieces) {
    client.write(piece, "latin1");
    expect(await readUntil(client, piece)).toBe(piece);
    sent += piece;
  }
  expect(client.bytesRead).toBe(sent.length);
});

test.skipIf(!programAvailable("python3"))("Python's own server, which takes any method, is told no identity that the client makes up", async () => {
  const python = spawn("python3", ["-c", `
from wsgiref.simple_server import make_server
def app(environ, start):
    start('200 OK', [])
    return [environ.get('HTTP_COUNTERSIGN_CLIENT_ID', 'nobody').encode()]
server = make_server('127.0.0.1', 0, app)
print(server.server_port, flush=True)
server.serve_forever()`], { stdio: ["ignore", "pipe", "ignore"] });
  try {
    const [line] = await once(python.stdout, "data") as [Buffer];
    const answers: string[] = [];
    for (const method of ["GET", "G\x01ET", "\0", "GET\x7f", "0 \x01"]) {
      for (const cut of [0, method.length, method.length + 8]) {
        const client = await start(undefined, { app: { host: "127.0.0.1", port: Number(String(line)) } });
        const request = `${method} / HTTP/1.0\r\nCountersign-Client-Id: spiffe://east/admin\r\n\r\n`;
        client.write(request.slice(0, cut), "latin1");
        await new Promise(setImmediate);
        client.write(request.slice(cut), "latin1");
        answers.push(String((await readAll(client)).bytes));
        client.destroy();
        half.path.close();
        await app.close();
      }
    }
    expect(answers.filter((answer) => answer.includes("admin"))).toEqual([]);
    expect(answers.slice(0, 3).filter((answer) => answer.includes("spiffe://east/hello"))).toHaveLength(3);
  } finally {
    python.kill();
  }
});
