import { once } from "node:events";
import { Agent, request } from "node:https";
import { connect, type TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { openListener, type Listener, type ListenerLimits } from "../../../ca/runtime/listener.ts";
import { manyAddresses } from "../../support/many-addresses.ts";
import { loopbacks } from "../../support/loopbacks.ts";
import { startTestCa, type TestCa } from "../../support/running-ca.ts";

let testCa: TestCa;
let root: string;
const open: Listener[] = [];
beforeAll(async () => {
  testCa = await startTestCa();
  root = testCa.ca.bundle().pem;
});
afterEach(() => Promise.all(open.splice(0).map((listener) => listener.drain(0))));
afterAll(() => testCa.close());

type Fetch = Parameters<Listener["serve"]>[0];
const answerOk: Fetch = () => new Response("ok");

async function listen(fetch: Fetch = answerOk, limits: Partial<ListenerLimits> = {}, host = "127.0.0.1"): Promise<Listener> {
  const listener = await openListener(host, 0, { requestTimeoutMs: 10_000, maxConnections: 100, ...limits });
  open.push(listener);
  listener.present(testCa.ca.apiCredentials());
  listener.serve(fetch);
  return listener;
}

/** A connection whose every byte is the test's. */
async function dial(
  { port }: Listener,
  options: object = {},
): Promise<TLSSocket & { received: string; ended: Promise<unknown> }> {
  const socket = Object.assign(connect({ host: "127.0.0.1", port, ca: root, ...options }), { received: "" });
  const ended = new Promise((resolve) => socket.on("close", resolve));
  socket
    .setEncoding("latin1")
    .on("data", (text: string) => (socket.received += text))
    .on("error", () => undefined);
  await Promise.race([once(socket, "secureConnect"), ended.then(() => Promise.reject(new Error("closed")))]);
  return Object.assign(socket, { ended });
}

function codeIn(received: string): readonly [status: number, code: string] {
  const [head = "", body = ""] = received.split("\r\n\r\n");
  expect(head).toContain("content-type: application/problem+json");
  return [Number(head.split(" ")[1]), (JSON.parse(body) as { code: string }).code];
}

describe("a request that Node's parser refuses is answered with a problem and the connection ends", () => {
  test.for([
    ["headers above 16 KiB", `GET / HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(17_000)}\r\n\r\n`, 431, "headers_too_large"],
    ["no HTTP at all", "\x00\x01\x02\r\n\r\n", 400, "invalid_request"],
    ["HTTP/2 spoken in the clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_request"],
    [
      "two lengths",
      "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
      400,
      "invalid_request",
    ],
    [
      "a length and chunks, as smugglers send",
      "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
      400,
      "invalid_request",
    ],
    ["a header with a bare line feed", "GET / HTTP/1.1\r\nhost: a\nx\r\n: y\r\n\r\n", 400, "invalid_request"],
  ] as const)("%s", async ([, bytes, status, code]) => {
    const socket = await dial(await listen());
    socket.write(bytes, "latin1");
    await socket.ended;
    expect(codeIn(socket.received)).toEqual([status, code]);
  });
});

describe("a request that does not arrive in time is answered 408 and dropped", () => {
  test("in its headers", async () => {
    const socket = await dial(await listen(answerOk, { requestTimeoutMs: 100 }));
    socket.write("GET / HTTP/1.1\r\nhost: a\r\n");
    await socket.ended;
    expect(codeIn(socket.received)).toEqual([408, "request_timeout"]);
  });

  test("in its body", async () => {
    const outcome: Promise<unknown>[] = [];
    const read: Fetch = (incoming) => {
      const text = incoming.text();
      outcome.push(
        text.then(
          () => "read",
          () => "broken",
        ),
      );
      return text.then(() => new Response("ok"));
    };
    const socket = await dial(await listen(read, { requestTimeoutMs: 2000 }));
    socket.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345");
    await socket.ended;
    expect(codeIn(socket.received)).toEqual([408, "request_timeout"]);
    expect(await outcome[0]).toBe("broken");
  });
});

test("connections beyond the most there may be are turned away, and those there are go on", async () => {
  const listener = await listen(answerOk, { maxConnections: 2 });
  const [first] = [await dial(listener), await dial(listener)];
  await expect(dial(listener)).rejects.toThrow();
  first.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
  await first.ended;
  expect(first.received).toMatch(/^HTTP\/1.1 200/);
});

describe("a client that holds all connections there may be", () => {
  const get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
  const answered = (socket: { readonly received: string }) => expect.poll(() => socket.received, { timeout: 20_000 }).toMatch(/^HTTP\/1.1 200/);
  const other = { localAddress: "127.0.0.2" };

  test("makes room for others: what stood still longest goes, and it gets no more than they have", async () => {
    const listener = await listen(answerOk, { maxConnections: 4 });
    const held = [await dial(listener), await dial(listener), await dial(listener), await dial(listener)] as const;
    // What was used last stays longest.
    held[0].write(get);
    await answered(held[0]);
    const newcomers = [await dial(listener, other), await dial(listener, other)] as const;
    await Promise.all([held[1].ended, held[2].ended]);
    await expect(dial(listener)).rejects.toThrow();
    await expect(dial(listener, other)).rejects.toThrow();
    for (const socket of [held[3], ...newcomers]) {
      socket.write(get);
      await answered(socket);
    }
  });

  test("keeps those that are being answered, and not those on which it sends slowly", async () => {
    let answer!: () => void;
    const done = new Promise<void>((resolve) => (answer = resolve));
    const asked: string[] = [];
    const listener = await listen(async (incoming) => {
      asked.push(incoming.method);
      if (incoming.method === "GET") await done;
      return new Response(await incoming.text());
    }, { maxConnections: 2 });
    const [waits, slow] = [await dial(listener), await dial(listener)];
    waits.write(get);
    slow.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1");
    await expect.poll(() => asked.length, { timeout: 20_000 }).toBe(2);
    await dial(listener, other);
    await slow.ended;
    await expect(dial(listener, other)).rejects.toThrow();
    answer();
    await answered(waits);
  });

  test("is the one network that it is, from however many addresses it comes", async () => {
    const listener = await listen(answerOk, { maxConnections: 2 });
    const restore = manyAddresses();
    const [first] = [await dial(listener), await dial(listener)];
    await expect(dial(listener)).rejects.toThrow();
    restore();
    await dial(listener);
    await first.ended;
  });
});

test("TLS 1.2 is refused", async () => {
  const listener = await listen();
  await expect(dial(listener, { maxVersion: "TLSv1.2", minVersion: "TLSv1.2" })).rejects.toThrow();
  expect((await dial(listener)).getProtocol()).toBe("TLSv1.3");
});

test("a handshake before there is a certificate fails, and the listener lives on", async () => {
  const listener = await openListener("127.0.0.1", 0, { requestTimeoutMs: 10_000, maxConnections: 10 });
  open.push(listener);
  await expect(dial(listener)).rejects.toThrow();
  listener.present(testCa.ca.apiCredentials());
  await dial(listener);
});

test("a new certificate is presented from the next handshake on, and open connections stay", async () => {
  const listener = await listen();
  const before = await dial(listener);
  const other = await startTestCa();
  listener.present(other.ca.apiCredentials());
  const after = await dial(listener, { ca: other.ca.bundle().pem });
  expect(after.authorized).toBe(true);
  await other.close();
  before.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
  await before.ended;
  expect(before.received).toMatch(/^HTTP\/1.1 200/);
});

test("`*` is every address", async () => {
  const listener = await listen(answerOk, {}, "*");
  for (const host of loopbacks) expect((await dial(listener, { host })).authorized).toBe(true);
});

test("an address that cannot be listened on is refused in words", async () => {
  const { port } = await listen();
  await expect(openListener("127.0.0.1", port, { requestTimeoutMs: 1, maxConnections: 1 })).rejects.toMatchObject({
    code: "listen_failed",
    message: expect.stringContaining("another process listens there") as string,
  });
  await expect(openListener("192.0.2.1", 0, { requestTimeoutMs: 1, maxConnections: 1 })).rejects.toMatchObject({
    code: "listen_failed",
  });
});

describe("draining", () => {
  test("lets a request under way finish, closes idle connections at once and takes no new one", async () => {
    let finish = (): void => undefined;
    const arrived = new Promise<void>((resolve) => (finish = resolve));
    let answer = (_: Response): void => undefined;
    const listener = await listen((incoming) => {
      if (!incoming.url.endsWith("/slow")) return new Response("ok");
      finish();
      return new Promise<Response>((resolve) => (answer = resolve));
    });
    const idle = await dial(listener);
    idle.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    await once(idle, "data");
    const busy = await dial(listener);
    busy.write("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    await arrived;

    const drained = listener.drain(60_000);
    await idle.ended;
    await expect(dial(listener)).rejects.toThrow();
    answer(new Response("late"));
    await drained;
    await busy.ended;
    expect(busy.received).toMatch(/^HTTP\/1.1 200[\s\S]*late$/);
  });

  test("cuts what is still open at the deadline", async () => {
    let reached = (): void => undefined;
    const arrived = new Promise<void>((resolve) => (reached = resolve));
    const listener = await listen(() => (reached(), new Promise<Response>(() => undefined)));
    const stuck = await dial(listener);
    stuck.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    await arrived;
    await listener.drain(20);
    await stuck.ended;
    expect(stuck.received).toBe("");
  });
});

test("a connection is kept for the next request", async () => {
  const { port } = await listen();
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: root });
  const ports = new Set<number | undefined>();
  for (let n = 0; n < 3; n++) {
    const outgoing = request({ host: "127.0.0.1", port, agent }).end();
    const [response] = (await once(outgoing, "response")) as [NodeJS.ReadableStream];
    ports.add(outgoing.socket?.localPort);
    response.resume();
    await once(response, "end");
  }
  expect(ports.size).toBe(1);
  agent.destroy();
});
