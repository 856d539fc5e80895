import { once } from "node:events";
import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { serveClient } from "../../../proxy/http/client.ts";
import type { ClientLimits, ClientOwner, Route } from "../../../proxy/http/owner.ts";
import { upstreamPool, type UpstreamPool } from "../../../proxy/http/pool.ts";
import { upstreamConnection } from "../../../proxy/http/upstream.ts";
import { idleWatch, type IdleWatch } from "../../../proxy/http/watch.ts";
import { connectApp } from "../../../proxy/inbound/tcp.ts";
import { readAll, readUntil, tcpApp, tcpClient, type TestServer } from "../../support/tcp.ts";

const servers: TestServer[] = [];
const watches: IdleWatch[] = [];
afterEach(async () => {
  for (const watch of watches.splice(0)) watch.stop();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

interface Front { readonly port: number; readonly bugs: unknown[]; readonly appSockets: readonly Socket[]; readonly clientSockets: readonly Socket[]; readonly upstreamSockets: readonly Socket[] }

/** A forwarder before an app. */
async function front(onApp: (socket: Socket) => void, { limits, owner, idleMs = 60_000, watch = idleWatch(5) }: {
  readonly limits?: Partial<ClientLimits>; readonly owner?: Partial<ClientOwner<Route>>; readonly idleMs?: number; readonly watch?: IdleWatch;
} = {}): Promise<Front> {
  const appSockets: Socket[] = [];
  const upstreamSockets: Socket[] = [];
  const app = await tcpApp((socket) => {
    appSockets.push(socket);
    onApp(socket.on("error", () => undefined));
  });
  watches.push(watch);
  const bugs: unknown[] = [];
  const settings = { app: { host: "127.0.0.1", port: app.port }, connectTimeoutMs: 5000, idleTimeoutMs: 5000 };
  const pool: UpstreamPool = upstreamPool({
    maxIdle: 8, idleMs, watch,
    open: (keeper) => {
      const end = connectApp(settings.app, settings, () => undefined, true);
      upstreamSockets.push(end.socket);
      return upstreamConnection(end, keeper);
    },
  });
  const decisions: ClientOwner<Route> = {
    route: ({ target }) => ({ pool, path: target, host: undefined, addedLines: Buffer.alloc(0) }),
    connect: () => ({ status: 405, text: "no" }),
    failed: () => ({ status: 502, text: "failed" }),
    answered: () => undefined,
    ended: () => undefined,
    bug: (error) => bugs.push(error),
    ...owner,
  };
  const clientSockets: Socket[] = [];
  const server = await tcpApp((socket) => {
    clientSockets.push(socket);
    serveClient({ socket, reset: () => void socket.resetAndDestroy() }, undefined, decisions, { idleTimeoutMs: 5000, ...limits }, watch);
  });
  servers.push(server, app);
  return { port: server.port, bugs, appSockets, clientSockets, upstreamSockets };
}

/** A watch whose time a test lets pass. */
function manualWatch(): IdleWatch & { pass(ms: number): void } {
  const checks = new Set<(nowMs: number) => void>();
  let nowMs = 0;
  return {
    nowMs: () => nowMs,
    add(check) {
      checks.add(check);
      return () => void checks.delete(check);
    },
    stop: () => undefined,
    pass(ms) {
      nowMs += ms;
      for (const check of checks) check(nowMs);
    },
  };
}

test("what has come of an answer reaches the client, also when its end too early comes in the same turn", async () => {
  const asked = Promise.withResolvers<void>();
  const { port, upstreamSockets } = await front((socket) => void socket.once("data", () => asked.resolve()));
  const client = await tcpClient(port);
  client.write(get);
  await asked.promise;
  upstreamSockets[0]!.emit("data", Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"));
  upstreamSockets[0]!.emit("end");
  const { bytes, ending } = await readAll(client);
  expect([String(bytes).endsWith("\r\n\r\nhello"), ending]).toEqual([true, "reset"]);
});

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const answering = (socket: Socket): void => void socket.on("data", () => socket.write(ok));
const mute = (): void => undefined;

describe("a fault of ours ends one exchange, on both sides, and is reported", () => {
  const upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
  const table: readonly [string, string, string][] = [
    ["a response", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
    ["a refused upgrade", upgrade, "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n"],
    ["an upgrade", upgrade, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"],
    ["a refusal", "GET / HTTP/1.1\r\n\r\n", ""],
  ];
  for (const [claim, request, reply] of table) {
    test(claim, async () => {
      const { port, bugs, appSockets } = await front((socket) => void socket.once("data", () => socket.write(reply)), {
        owner: { answered() { throw new Error("our bug"); } },
      });
      const client = await tcpClient(port);
      client.write(request);
      expect(await readAll(client)).toEqual({ bytes: Buffer.alloc(0), ending: "reset" });
      expect(bugs).toMatchObject([{ message: "our bug" }]);
      await expect.poll(() => appSockets.every(({ destroyed }) => destroyed)).toBe(true);
    });
  }
});

describe("what stands still is ended", () => {
  test("a head that trickles in", async () => {
    const { port } = await front(mute, { limits: { headTimeoutMs: 500 } });
    const client = await tcpClient(port);
    client.write("GET / HTTP/1.1\r\nHost: a\r\n");
    const trickle = setInterval(() => client.write("X-A: 1\r\n"), 10);
    const { bytes } = await readAll(client);
    clearInterval(trickle);
    expect(String(bytes)).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n[^]*did not arrive in time/);
  });

  test("an app that gives no answer: a 504", async () => {
    const { port, appSockets } = await front(mute, { limits: { idleTimeoutMs: 500 } });
    const client = await tcpClient(port);
    client.write(get);
    expect(await readUntil(client, "\n\r\n")).toMatch(/^HTTP\/1\.1 504 /);
    await expect.poll(() => appSockets[0]!.destroyed).toBe(true);
  });

  test("an app that stops in the middle of its answer: a reset", async () => {
    const { port } = await front((socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"), { limits: { idleTimeoutMs: 500 } });
    const client = await tcpClient(port);
    // Bytes nobody asked for end the connection to the app, so it is asked first.
    client.write(get);
    expect((await readAll(client)).ending).toBe("reset");
  });

  test("a client that stops in the middle of its body", async () => {
    const { port, appSockets } = await front(mute, { limits: { idleTimeoutMs: 500 } });
    const client = await tcpClient(port);
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    expect(await readUntil(client, "\n\r\n")).toMatch(/^HTTP\/1\.1 504 /);
    await expect.poll(() => appSockets[0]!.destroyed).toBe(true);
  });

  test("a client that does not read the end of its last answer", async () => {
    const { port, appSockets, clientSockets } = await front(mute, { limits: { idleTimeoutMs: 3000 } });
    const client = await tcpClient(port);
    client.pause().write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    await expect.poll(() => appSockets.length).toBe(1);
    const [app, ours] = [appSockets[0]!, clientSockets[0]!];
    app.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    // Until the kernel takes no more, so that the last piece stays with us.
    while (ours.writableLength === 0) {
      const passed = ours.bytesWritten;
      app.write(`4000\r\n${"x".repeat(0x4000)}\r\n`);
      while (ours.bytesWritten === passed) await new Promise(setImmediate);
    }
    app.resume().end("0\r\n\r\n");
    await once(app, "close");
    expect(ours.destroyed).toBe(false);
    await once(ours, "close");
  });

  test("a connection to the app that no request uses", async () => {
    const { port, appSockets } = await front(answering, { idleMs: 30 });
    const client = await tcpClient(port);
    client.write(get);
    await readUntil(client, "ok");
    await expect.poll(() => appSockets[0]!.readableEnded).toBe(true);
  });
});

test("who has sent the rest of a request that was answered before its end has as long for the next one as anybody", async () => {
  const watch = manualWatch();
  const { port, clientSockets } = await front((socket) => void socket.on("data", () => socket.write(ok)), { watch });
  const client = await tcpClient(port);
  const post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
  client.write(post.slice(0, -3));
  await readUntil(client, "ok");
  client.write("llo");
  await expect.poll(() => clientSockets[0]!.bytesRead).toBe(post.length);
  watch.pass(30_000);
  client.write(get);
  expect(await readUntil(client, "\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 /);
  client.destroy();
});

describe("a connection to the app on which a 204 announced a body, which might come later, carries no other request", () => {
  for (const line of ["Content-Length: 5", "Transfer-Encoding: chunked"]) {
    test(line, async () => {
      const { port, appSockets } = await front((socket) => void socket.once("data", () => socket.write(`HTTP/1.1 204 No Content\r\n${line}\r\n\r\n`)));
      const client = await tcpClient(port);
      for (const asked of [1, 2]) {
        client.write(get);
        expect(await readUntil(client, "\r\n\r\n")).toMatch(/^HTTP\/1\.1 204 /);
        expect(appSockets.length).toBe(asked);
      }
      client.destroy();
    });
  }

  test("one that announced an empty one does", async () => {
    const { port, appSockets } = await front((socket) => void socket.on("data", () => socket.write("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")));
    const client = await tcpClient(port);
    for (let asked = 0; asked < 2; asked++) {
      client.write(get);
      expect(await readUntil(client, "\r\n\r\n")).toMatch(/^HTTP\/1\.1 204 /);
    }
    expect(appSockets.length).toBe(1);
    client.destroy();
  });
});

describe("a connection for a request that was given up meanwhile", () => {
  interface Dial { open(): void; fail(): void }

  /** A forwarder that has told a client 504 for what was to go to one server, and dials another one for its next request. */
  async function givenUp() {
    const watch = manualWatch();
    const dials: Dial[] = [];
    async function serverOf(name: string) {
      const app = await tcpApp((socket) => void socket.on("error", () => undefined).on("data", () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n${name}`)));
      servers.push(app);
      const settings = { connectTimeoutMs: 5000 };
      return upstreamPool({
        maxIdle: 8, idleMs: 60_000, watch,
        open: (keeper) => new Promise((resolve, reject) => dials.push({
          open: () => resolve(upstreamConnection(connectApp({ host: "127.0.0.1", port: app.port }, settings, () => undefined, true), keeper)),
          fail: () => reject(new Error("no connection")),
        })),
      });
    }
    const pools = { one: await serverOf("one"), two: await serverOf("two") };
    const { port, bugs } = await front(mute, {
      watch, limits: { idleTimeoutMs: 5000 },
      owner: { route: ({ target }) => ({ pool: target === "/one" ? pools.one : pools.two, path: target, host: undefined, addedLines: Buffer.alloc(0) }) },
    });
    const client = await tcpClient(port);
    client.write("GET /one HTTP/1.1\r\nHost: a\r\n\r\n");
    await expect.poll(() => dials.length).toBe(1);
    watch.pass(6000);
    expect(await readUntil(client, "no answer yet")).toMatch(/^HTTP\/1\.1 504 /);
    client.write("GET /two HTTP/1.1\r\nHost: a\r\n\r\n");
    await expect.poll(() => dials.length).toBe(2);
    return { client, pools, bugs, one: dials[0]!, two: dials[1]! };
  }

  test("does not carry the next one, which is for another server", async () => {
    const { client, one, two } = await givenUp();
    one.open();
    two.open();
    expect(await readUntil(client, "\r\n\r\ntwo")).toMatch(/^HTTP\/1\.1 200 /);
    client.destroy();
  });

  test("waits among those to its own server", async () => {
    const { client, pools, bugs, one, two } = await givenUp();
    two.open();
    await readUntil(client, "two");
    one.open();
    await new Promise(setImmediate);
    // There is one at once.
    expect(pools.one.acquire()).not.toBeInstanceOf(Promise);
    expect(pools.two.acquire()).not.toBeInstanceOf(Promise);
    expect(pools.two.acquire()).toBeInstanceOf(Promise);
    expect(bugs).toEqual([]);
    client.destroy();
  });

  test("fails the next one as little", async () => {
    const { client, one, two } = await givenUp();
    one.fail();
    await new Promise(setImmediate);
    two.open();
    expect(await readUntil(client, "\r\n\r\ntwo")).toMatch(/^HTTP\/1\.1 200 /);
    client.destroy();
  });
});

describe("HTTP/1.0", () => {
  test("closes after one answer", async () => {
    const { port } = await front(answering);
    const client = await tcpClient(port);
    client.write("GET / HTTP/1.0\r\n\r\n");
    expect(String((await readAll(client)).bytes)).toBe("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\nok");
  });

  test("goes on where it asks to, and is told so", async () => {
    const { port } = await front(answering);
    const client = await tcpClient(port);
    for (let count = 0; count < 2; count++) {
      client.write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
      expect(await readUntil(client, "ok")).toBe("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: keep-alive\r\n\r\nok");
    }
    client.destroy();
  });

  test("gets a chunked answer as it is, up to the end of the connection", async () => {
    const { port } = await front((socket) => void socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")));
    const client = await tcpClient(port);
    client.write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(String((await readAll(client)).bytes)).toBe("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok");
  });

  test("gets no 1xx", async () => {
    const { port } = await front((socket) => void socket.on("data", () => socket.write(`HTTP/1.1 103 Early\r\n\r\n${ok}`)));
    const client = await tcpClient(port);
    client.write("GET / HTTP/1.0\r\n\r\n");
    expect(String((await readAll(client)).bytes)).toMatch(/^HTTP\/1\.1 200 /);
  });
});

test("a stream of 1xx ends", async () => {
  const { port } = await front((socket) => void socket.once("data", () => socket.write("HTTP/1.1 103 Early\r\n\r\n".repeat(40))));
  const client = await tcpClient(port);
  client.write(get);
  expect(await readUntil(client, "502")).toContain("HTTP/1.1 502 ");
});

test("answers that nobody reads stop the reading of requests", async () => {
  let asked = 0;
  const all = 5000;
  const answer = `HTTP/1.1 200 OK\r\nContent-Length: 8000\r\n\r\n${"x".repeat(8000)}`;
  const { port } = await front((socket) => void socket.on("data", () => {
    asked++;
    socket.write(answer);
  }));
  const client = await tcpClient(port);
  client.pause();
  client.write(get.repeat(all));
  let before = -1;
  // It stops somewhere between what the sockets' buffers hold and all of it.
  await expect.poll(() => asked === before || void (before = asked), { interval: 200 }).toBe(true);
  expect(asked).toBeLessThan(all / 2);
  let read = 0;
  client.on("data", (chunk: Buffer) => (read += chunk.length)).resume();
  await expect.poll(() => read, { timeout: 60_000 }).toBeGreaterThan(all * 8000);
  client.destroy();
}, 120_000);

test("an upgrade with a body is refused, and the app gets nothing", async () => {
  const { port, appSockets } = await front(mute);
  const client = await tcpClient(port);
  client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi");
  expect(await readUntil(client, "no body")).toMatch(/^HTTP\/1\.1 400 /);
  expect(appSockets).toEqual([]);
});

for (const lines of ["Content-Length: 2", "Transfer-Encoding: chunked"]) {
  test(`CONNECT with ${lines} is refused`, async () => {
    const { port } = await front(mute, { owner: { connect: () => { throw new Error("it was taken"); } } });
    const client = await tcpClient(port);
    client.write(`CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n${lines}\r\n\r\n`);
    expect(await readUntil(client, "no body")).toMatch(/^HTTP\/1\.1 400 /);
    client.destroy();
  });
}

test("a client that closes in the middle of an exchange cancels it", async () => {
  const { port, appSockets } = await front(mute);
  const client = await tcpClient(port);
  client.write(get);
  await expect.poll(() => appSockets.length).toBe(1);
  client.end();
  await expect.poll(() => appSockets[0]!.destroyed).toBe(true);
});
