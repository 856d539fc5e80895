import type { Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectApp } from "../../../proxy/inbound/tcp.ts";
import { serveClient } from "../../../proxy/http/client.ts";
import { upstreamPool } from "../../../proxy/http/pool.ts";
import { parseRequestTarget } from "../../../proxy/http/target.ts";
import { upstreamConnection } from "../../../proxy/http/upstream.ts";
import { idleWatch } from "../../../proxy/http/watch.ts";
import { cut, readRequest, readResponse, summary } from "../../support/http-messages.ts";
import { knock, tcpApp, type TestServer } from "../../support/tcp.ts";
import { acceptedRequests, followedResponses, refusedBodies, refusedHeads, refusedResponses } from "../../vectors/http-smuggling.ts";

const watch = idleWatch(1000);
const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const closing = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
let app: TestServer;
let front: TestServer;
/** What the app got, by connection, and what it says to a connection that speaks. */
let received: string[] = [];
let reply = "";
/** The connection the app was last spoken to on. */
let spoke: Socket | undefined;

beforeAll(async () => {
  app = await tcpApp((socket: Socket) => {
    const mine = received.push("") - 1;
    socket.on("error", () => undefined).on("data", (bytes: Buffer) => {
      spoke = socket;
      if (/^(?:GET|POST) /.test(bytes.toString("latin1"))) socket.write(reply, "latin1");
      received[mine] += bytes.toString("latin1");
    });
  });
  const settings = { app: { host: "127.0.0.1", port: app.port }, connectTimeoutMs: 5000, idleTimeoutMs: 5000 };
  const pool = upstreamPool({
    maxIdle: 8, idleMs: 60_000, watch,
    open: (keeper) => {
      const upstream = upstreamConnection(connectApp(settings.app, settings, () => undefined, true), keeper);
      return upstream;
    },
  });
  front = await tcpApp((socket) => void serveClient({ socket, reset: () => void socket.resetAndDestroy() }, undefined, {
    route({ target }) {
      const parsed = parseRequestTarget(target);
      return parsed === undefined ? { status: 400, text: "no target" } : { pool, path: parsed.path, host: parsed.authority, addedLines: Buffer.alloc(0) };
    },
    connect: () => ({ status: 405, text: "no" }),
    failed: () => ({ status: 502, text: "failed" }),
    answered: () => undefined,
    ended: () => undefined,
    bug: (error) => { throw error; },
  }, settings, watch));
});

afterAll(async () => {
  watch.stop();
  await Promise.all([front.close(), app.close()]);
});

/** Sends this and reads to the end of the connection. */
async function answers(bytes: string, answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"): Promise<string> {
  received = [];
  reply = answer;
  return knock(front.port, bytes);
}
const statuses = (answer: string): number[] => [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status));

describe("a head that two servers might read differently is refused, the connection closed, and nothing reaches the app", () => {
  for (const { claim, bytes, verdict, status } of refusedHeads) {
    test(claim, async () => {
      expect(verdictOf(readRequest([Buffer.from(bytes, "latin1")]))).toBe(verdict);
      // What follows would be a whole request; nobody may serve it.
      expect(statuses(await answers(bytes + get))).toEqual([status]);
      expect(received.join("")).toBe("");
    });
  }
});

describe("a body that two servers might read differently never ends at the app", () => {
  for (const { claim, bytes, verdict, status } of refusedBodies) {
    test(claim, async () => {
      expect(verdictOf(readRequest([Buffer.from(bytes, "latin1")]))).toBe(verdict);
      if (verdict === "incomplete") return;
      expect(statuses(await answers(bytes + get, ""))).toEqual([status]);
      expect(received.join("")).not.toContain("\r\n0\r\n");
    });
  }
});

describe("what has one meaning passes", () => {
  for (const { claim, bytes } of acceptedRequests) {
    test(claim, async () => {
      expect(verdictOf(readRequest([Buffer.from(bytes.replace(/^\r\n/, ""), "latin1")]))).toBe("accepted");
      expect(statuses(await answers(bytes + closing))).toEqual(bytes.includes("HTTP/1.0") ? [200] : [200, 200]);
    });
  }
});

describe("a response that two clients might read differently is a 502", () => {
  for (const { claim, bytes, verdict, status } of refusedResponses) {
    test(claim, async () => {
      expect(verdictOf(readResponse([Buffer.from(bytes, "latin1")]))).toBe(verdict);
      const answer = await answers(closing, bytes);
      expect(statuses(answer)).toEqual([status]);
      expect(answer).toContain("is refused");
    });
  }
});

describe("bytes behind a response are nobody's answer", () => {
  for (const { claim, bytes, status } of followedResponses) {
    test(claim, async () => {
      const answer = await answers(get + closing, bytes);
      expect(statuses(answer)).toEqual([status, status]);
      expect(answer).not.toContain("poison");
      expect(received).toHaveLength(2);
    });
  }

  test("nor are bytes on a connection that waits", async () => {
    await answers(closing);
    const closed = new Promise((resolve) => spoke?.once("end", resolve));
    spoke?.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
    await closed;
    expect(await knock(front.port, closing)).not.toContain("poison");
  });
});

describe("where the bytes are cut makes no difference", () => {
  const all = [...refusedHeads, ...refusedBodies, ...acceptedRequests].filter(({ bytes }) => bytes.length < 500);
  test("to a request, byte by byte and in two at each place", () => {
    for (const { claim, bytes } of all) {
      const whole = Buffer.from(bytes, "latin1");
      const expected = [claim, summary(readRequest([whole]))];
      expect([claim, summary(readRequest([...whole].map((byte) => Buffer.of(byte))))]).toEqual(expected);
      for (let at = 1; at < whole.length; at++) expect([claim, summary(readRequest(cut(whole, at)))]).toEqual(expected);
    }
  });
  test("to one that is too large", () => {
    for (const { bytes } of refusedHeads.filter((row) => row.bytes.length > 500)) {
      const whole = Buffer.from(bytes, "latin1");
      for (const at of [1, 100, 8191, 16_383, 16_384, 16_385]) expect(readRequest(cut(whole, at))).toEqual(readRequest([whole]));
    }
  });
  test("to a response", () => {
    for (const { claim, bytes } of [...refusedResponses, ...followedResponses].filter((row) => row.bytes.length < 500)) {
      const whole = Buffer.from(bytes, "latin1");
      const expected = [claim, summary(readResponse([whole]))];
      expect([claim, summary(readResponse([...whole].map((byte) => Buffer.of(byte))))]).toEqual(expected);
    }
  });
});

function verdictOf(understood: ReturnType<typeof readRequest> | ReturnType<typeof readResponse>): string {
  return typeof understood === "string" ? understood : "accepted";
}
