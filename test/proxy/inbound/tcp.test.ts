import { createHash } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { InboundDataPath } from "../../../proxy/inbound/server.ts";
import { eastIdentity, eastIssuer, holderOf, inboundHalf, metricValue, policyFor, type HalfOptions, type TestHalf } from "../../support/data-path.ts";
import { echoApp, readAll, readUntil, tcpApp, tlsClient, type TestServer } from "../../support/tcp.ts";

const hello = eastIssuer.leaf({ spiffeId: "spiffe://east/hello" });
const apps: TestServer[] = [];
const halves: TestHalf<InboundDataPath>[] = [];

afterEach(async () => {
  for (const { path } of halves.splice(0)) path.close();
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

async function start(app: TestServer, options: HalfOptions = {}): Promise<TestHalf<InboundDataPath>> {
  apps.push(app);
  const half = await inboundHalf({ app: { host: "127.0.0.1", port: app.port }, inboundProtocol: "tcp", ...options });
  halves.push(half);
  return half;
}

/** An app whose one connection the test drives itself. */
async function heldApp(options: HalfOptions = {}): Promise<{ half: TestHalf<InboundDataPath>; client: Awaited<ReturnType<typeof tlsClient>>; app: Socket }> {
  const connected = Promise.withResolvers<Socket>();
  const half = await start(await tcpApp((socket) => connected.resolve(socket.on("error", () => undefined))), options);
  const client = await tlsClient(half.port, { leaf: hello });
  return { half, client, app: await connected.promise };
}

describe("half-close", () => {
  test("the client ends first and still gets what the app says after it", async () => {
    const { client, app } = await heldApp();
    client.end("question");
    expect(String((await readAll(app)).bytes)).toBe("question");
    app.write("long ");
    app.end("answer");
    expect(await readAll(client)).toEqual({ bytes: Buffer.from("long answer"), ending: "end" });
  });

  test("the app ends first and still gets what the client says after it", async () => {
    const { half, client, app } = await heldApp();
    app.end("greeting");
    expect(String((await readAll(client)).bytes)).toBe("greeting");
    client.write("late ");
    client.end("words");
    expect(await readAll(app)).toEqual({ bytes: Buffer.from("late words"), ending: "end" });
    await expect.poll(() => half.path.connections.count()).toBe(0);
  });
});

describe("failure of one side reaches the other as a failure", () => {
  test("an app that resets resets the client", async () => {
    const { client, app } = await heldApp();
    app.write("beginning of something lo");
    await readUntil(client, "lo");
    const all = readAll(client);
    app.resetAndDestroy();
    expect((await all).ending).toBe("reset");
  });

  test("a client that resets resets the app", async () => {
    const { client, app } = await heldApp();
    client.write("half a comm");
    await readUntil(app, "comm");
    const all = readAll(app);
    client.raw.resetAndDestroy();
    expect((await all).ending).toBe("reset");
  });

  test("an app that is down resets the client and is counted", async () => {
    const app = await echoApp();
    const half = await start(app);
    await app.close();
    apps.pop();
    const client = await tlsClient(half.port, { leaf: hello });
    expect((await readAll(client)).bytes.length).toBe(0);
    expect(metricValue(half.metrics, "inbound_refused_total", 'reason="app_unreachable"')).toBe(1);
  });

  test("a connection on which nothing moves is ended", async () => {
    const { client, app } = await heldApp({ idleTimeoutMs: 200 });
    const [ofClient, ofApp] = await Promise.all([readAll(client), readAll(app)]);
    expect([ofClient.ending, ofApp.ending]).not.toContain("end");
  });
});

test("a client that has ended and an app that says nothing to it are not kept", async () => {
  const { half, client, app } = await heldApp({ idleTimeoutMs: 1000 });
  client.end("question");
  const [ofClient, ofApp] = await Promise.all([readAll(client), readAll(app)]);
  expect([ofClient.ending, String(ofApp.bytes)]).toEqual(["reset", "question"]);
  await expect.poll(() => half.path.connections.count()).toBe(0);
});

describe("bulk", () => {
  const megabytes = 200;
  /** Far below what passes, far above what the collector leaves lying about in this process, client and app included. */
  const flatBytes = 120 * 1024 * 1024;
  const block = Buffer.from(Uint32Array.from({ length: 256 * 1024 }, (_, index) => index * 2654435761).buffer);
  const expected = createHash("sha256");
  for (let count = 0; count < megabytes; count++) expected.update(block);
  const digest = expected.digest("hex");

  test("200 MB come down unchanged to a slow reader, and memory stays flat", async () => {
    const half = await start(await tcpApp((socket) => void send(socket.on("error", () => undefined))));
    const client = await tlsClient(half.port, { leaf: hello });
    const before = process.memoryUsage().rss;
    expect(await slowDigest(client)).toBe(digest);
    expect(process.memoryUsage().rss - before).toBeLessThan(flatBytes);
  });

  test("200 MB go up unchanged to a slow app, and memory stays flat", async () => {
    const received = Promise.withResolvers<string>();
    const half = await start(await tcpApp((socket) => void slowDigest(socket).then(received.resolve)));
    const client = await tlsClient(half.port, { leaf: hello });
    const before = process.memoryUsage().rss;
    void send(client);
    expect(await received.promise).toBe(digest);
    expect(process.memoryUsage().rss - before).toBeLessThan(flatBytes);
  });

  test("many connections at once get each its own bytes, though they share a read buffer", async () => {
    const half = await start(await tcpApp((socket) => {
      socket.on("error", () => undefined).once("data", (first: Buffer) => {
        const letter = String(first);
        for (let count = 0; count < 64; count++) socket.write(letter.repeat(16 * 1024));
        socket.end();
      });
    }));
    const letters = [..."abcdefghijklmnop"];
    await Promise.all(letters.map(async (letter) => {
      const client = await tlsClient(half.port, { leaf: hello });
      client.write(letter);
      const { bytes } = await readAll(client);
      expect(bytes.length).toBe(64 * 16 * 1024);
      expect(bytes.every((byte) => byte === letter.charCodeAt(0))).toBe(true);
    }));
  });

  test("small pieces that pile up behind a reader who has stopped keep their order and content", async () => {
    const pieces = 4000;
    const piece = (index: number): Buffer => Buffer.alloc(4096, String(index).padStart(8, "0"));
    const { client, app } = await heldApp();
    // One at a time, so that the proxy reads each alone, and more than the kernel's buffers hold.
    for (let index = 0; index < pieces; index++) {
      app.write(piece(index));
      await new Promise(setImmediate);
    }
    app.end();
    const { bytes } = await readAll(client);
    expect(bytes.length).toBe(pieces * 4096);
    const wrong = Array.from({ length: pieces }, (_, index) => index).filter((index) => !piece(index).equals(bytes.subarray(index * 4096, (index + 1) * 4096)));
    expect(wrong).toEqual([]);
  });

  async function send(socket: Socket): Promise<void> {
    for (let count = 0; count < megabytes; count++) {
      if (!socket.write(block)) await once(socket, "drain");
    }
    socket.end();
  }
});

/** Reads in bursts with pauses between, so that everything before it must wait. */
async function slowDigest(socket: Socket): Promise<string> {
  const digest = createHash("sha256");
  let bytes = 0;
  socket.on("error", () => undefined).on("data", (chunk: Buffer) => {
    digest.update(chunk);
    bytes += chunk.length;
    if (bytes < 4 * 1024 * 1024) return;
    bytes = 0;
    socket.pause();
    setTimeout(() => socket.resume(), 2);
  });
  await once(socket, "end");
  socket.end();
  return digest.digest("hex");
}

test("a connection that is no HTTP is closed where a rule is about requests, and nothing of it reaches the app", async () => {
  const world = eastIdentity("world");
  const holder = holderOf(world);
  const from = ["spiffe://east/*"];
  holder.setPolicy(policyFor(world, [{
    name: "shop", workloads: from, rules: [{ action: "allow", from }, { name: "no-admin", action: "deny", from, paths: ["/admin/*"] }],
  }]));
  let reached = 0;
  const half = await start(await tcpApp((socket) => void (reached += 1, socket.on("error", () => undefined).end("from the app"))), { holder });
  expect(String((await readAll(await tlsClient(half.port, { leaf: hello }))).bytes)).toBe("");
  expect(reached).toBe(0);
  expect(metricValue(half.metrics, "inbound_policy_denied_total", 'rule="shop/no-admin"', 'protocol="tcp"')).toBe(1);
});
