import { once } from "node:events";
import { constants, type ClientHttp2Session, type OutgoingHttpHeaders } from "node:http2";
import { afterEach, describe, expect, test } from "vitest";
import type { PolicyRule } from "../../../ca/contract/policies.ts";
import type { InboundDataPath } from "../../../proxy/inbound/server.ts";
import { eastIdentity, eastIssuer, holderOf, inboundHalf, metricValue, policyFor, type HalfOptions, type TestHalf } from "../../support/data-path.ts";
import { answerOf, http2App, http2Over, type Http2Answer } from "../../support/http2.ts";
import { tcpApp, tcpClient, tlsClient, type TestServer } from "../../support/tcp.ts";

const hello = eastIssuer.leaf({ spiffeId: "spiffe://east/hello" });
const soon = { timeout: 20_000 };
const apps: TestServer[] = [];
const halves: TestHalf<InboundDataPath>[] = [];
const sessions: ClientHttp2Session[] = [];

afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  for (const { path } of halves.splice(0)) path.close();
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

async function start(app: TestServer, options: HalfOptions = {}) {
  apps.push(app);
  const half = await inboundHalf({ app: { host: "127.0.0.1", port: app.port }, ...options });
  halves.push(half);
  const connect = async () => {
    const session = http2Over(await tlsClient(half.port, { leaf: hello }));
    sessions.push(session);
    return session;
  };
  return { half, session: await connect(), connect };
}

function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}, body = ""): Promise<Http2Answer> {
  const stream = session.request({ ":path": "/path?q", ...headers }, { endStream: false });
  stream.end(body);
  return answerOf(stream);
}

/** An app that answers with what it was asked, as JSON. */
const mirror = () => http2App((stream, _headers, rawHeaders) => {
  let body = "";
  let trailers: unknown;
  stream.on("trailers", (given) => (trailers = given));
  stream.setEncoding("latin1").on("data", (chunk: string) => (body += chunk)).on("end", () => {
    stream.respond({ ":status": 200, "x-app": "yes" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "42" }));
    stream.end(JSON.stringify({ rawHeaders, body, trailers }));
  });
});
const mirrored = ({ body }: Http2Answer) => JSON.parse(body) as { rawHeaders: string[]; body: string; trailers?: Record<string, string> };

test("a request, its response and the trailers of both are carried whole", async () => {
  const { half, session } = await start(await mirror());
  const answer = await ask(session, { ":method": "POST", ":authority": "world", "x-one": "1" }, "hello");
  expect(answer).toMatchObject({ status: 200, trailers: { "x-sum": "42" }, code: 0, headers: { "x-app": "yes" } });
  expect(mirrored(answer).body).toBe("hello");
  expect(mirrored(answer).rawHeaders).toEqual([
    ":method", "POST", ":scheme", "http", ":path", "/path?q", ":authority", "world", "x-one", "1", "countersign-client-id", "spiffe://east/hello",
  ]);
  expect(metricValue(half.metrics, "response_total", 'status_class="2xx"', 'client_id="spiffe://east/hello"')).toBe(1);
  expect(metricValue(half.metrics, "response_latency_ms_count", 'protocol="http2"')).toBe(1);
  expect(half.path.connections.edges()).toMatchObject([{ protocol: "http2", secured: true }]);
});

describe("the app learns who called, from us alone", () => {
  for (const [claim, headers] of [
    ["the plain spelling", { "countersign-client-id": "spiffe://east/admin" }],
    ["underscores", { countersign_client_id: "spiffe://east/admin" }],
    ["dots", { "countersign.client.id": "spiffe://east/admin" }],
    ["forbidden to compress", { "countersign-client-id": "spiffe://east/admin", "x": "y" }],
  ] as const) {
    test(claim, async () => {
      const { session } = await start(await mirror());
      for (let turn = 0; turn < 2; turn++) {
        const { rawHeaders } = mirrored(await ask(session, headers));
        expect(rawHeaders.filter((_, index) => rawHeaders[index - 1]?.replaceAll(/[^a-z]/g, "-") === "countersign-client-id")).toEqual(["spiffe://east/hello"]);
        expect(rawHeaders.join()).not.toContain("admin");
      }
    });
  }

  test("a forged one in the trailers is removed, as is what has no place there", async () => {
    const { session } = await start(await mirror());
    const stream = session.request({ ":method": "POST", ":path": "/" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "countersign-client-id": "spiffe://east/admin", authorization: "x", expect: "y", "x-sum": "1" })).end("a");
    expect(mirrored(await answerOf(stream)).trailers).toEqual({ "x-sum": "1" });
  });

  test("plain text, where it is taken, has none, and loses what it claims", async () => {
    const app = await mirror();
    const { half } = await start(app, { inboundMode: "permissive" });
    const session = http2Over(await tcpClient(half.port));
    sessions.push(session);
    expect(mirrored(await ask(session, { "countersign-client-id": "spiffe://east/admin" })).rawHeaders.join()).not.toContain("spiffe");
  });

  test("where the app is declared to speak HTTP, without detection", async () => {
    const { session } = await start(await mirror(), { inboundProtocol: "http" });
    expect(mirrored(await ask(session)).rawHeaders).toContain("spiffe://east/hello");
  });

  test("hop-by-hop fields stay here, those of gRPC go on", async () => {
    const { session } = await start(await mirror());
    const { rawHeaders } = mirrored(await ask(session, { te: "trailers", "proxy-authorization": "Basic x", cookie: ["a=1", "b=2"] }));
    expect(rawHeaders.join()).not.toContain("Basic");
    expect(rawHeaders).toContain("te");
    expect(rawHeaders.filter((name) => name === "cookie")).toHaveLength(2);
  });
});

describe("each request is asked about before anything of it reaches the app", () => {
  const world = eastIdentity("world");
  const allowAll: PolicyRule = { action: "allow", from: ["spiffe://east/*"] };
  const rules = (...list: readonly PolicyRule[]) => policyFor(world, [{ name: "shop", workloads: ["spiffe://east/*"], rules: list }]);
  const noSecrets = { name: "no-secrets", action: "deny", from: ["*"], paths: ["/secret/*"] } as const;

  test("a denied one is a 403 that names the rule, and the connection goes on", async () => {
    const holder = holderOf(world);
    holder.setPolicy(rules(allowAll, noSecrets));
    const seen: string[] = [];
    const { half, session } = await start(await http2App((stream, headers) => {
      seen.push(String(headers[":path"]));
      stream.respond({ ":status": 204 }, { endStream: true });
    }), { holder });
    const denied = await ask(session, { ":method": "POST", ":path": "/secret/1" }, "x".repeat(100_000));
    expect(denied).toMatchObject({ status: 403, code: 0 });
    expect(denied.headers["countersign-proxy-error"]).toMatch(/rule shop\/no-secrets does not let spiffe:\/\/east\/hello do this/);
    expect((await ask(session)).status).toBe(204);
    expect(seen).toEqual(["/path?q"]);
    expect(metricValue(half.metrics, "inbound_policy_denied_total", 'rule="shop/no-secrets"', 'protocol="http"')).toBe(1);
    expect(metricValue(half.metrics, "response_total", 'status_class="4xx"')).toBe(1);
  });

  test("what a client sends behind a denial costs it no window", async () => {
    const holder = holderOf(world);
    holder.setPolicy(rules(allowAll, noSecrets));
    const { session } = await start(await mirror(), { holder });
    for (let turn = 0; turn < 4; turn++) await ask(session, { ":method": "POST", ":path": "/secret/1" }, "x".repeat(30_000));
    expect(mirrored(await ask(session, { ":method": "POST" }, "y".repeat(60_000))).body).toHaveLength(60_000);
  });

  test("a denied call of gRPC is PERMISSION_DENIED, with the rule's name", async () => {
    const holder = holderOf(world);
    holder.setPolicy(rules({ ...allowAll, grpc: ["shop.Cart/Add"] }));
    const { session } = await start(await mirror(), { holder });
    const call = { ":method": "POST", "content-type": "application/grpc+proto", te: "trailers" };
    const denied = await ask(session, { ...call, ":path": "/shop.Cart/Clear" });
    expect(denied).toMatchObject({ status: 200, headers: { "grpc-status": "7", "content-type": "application/grpc" } });
    expect(denied.headers["grpc-message"]).toContain("none of their rules allows this");
    expect((await ask(session, { ...call, ":path": "/shop.Cart/Add" })).status).toBe(200);
  });

  test("a change ends the streams it no longer allows, and only those", async () => {
    const holder = holderOf(world);
    holder.setPolicy(rules(allowAll));
    const closed: string[] = [];
    const { half, session } = await start(await http2App((stream, headers) => {
      const path = String(headers[":path"]);
      stream.on("close", () => closed.push(path));
      if (path !== "/secret/unanswered") stream.respond({ ":status": 200 });
      if (path === "/open") stream.on("data", () => stream.end("done"));
    }), { holder });
    const open = session.request({ ":method": "POST", ":path": "/open" });
    const begun = session.request({ ":path": "/secret/begun" });
    const [unanswered, ofOpen, ofBegun] = [ask(session, { ":path": "/secret/unanswered" }), answerOf(open), answerOf(begun)];
    await Promise.all([once(begun, "response"), once(open, "response")]);
    await expect.poll(() => metricValue(half.metrics, "request_total", 'protocol="http2"'), soon).toBe(3);
    holder.setPolicy(rules(allowAll, noSecrets));
    expect((await ofBegun).code).toBe(constants.NGHTTP2_INADEQUATE_SECURITY);
    expect(await unanswered).toMatchObject({ status: 403, code: 0 });
    await expect.poll(() => closed.sort(), soon).toEqual(["/secret/begun", "/secret/unanswered"]);
    open.end("go on");
    expect(await ofOpen).toMatchObject({ status: 200, body: "done", code: 0 });
  });

  test("a change that keeps the client out altogether cuts its connection", async () => {
    const holder = holderOf(world);
    holder.setPolicy(rules(allowAll));
    const { session } = await start(await http2App((stream) => stream.respond({ ":status": 200 })), { holder });
    const stream = session.request({ ":path": "/" });
    const answer = answerOf(stream);
    await once(stream, "response");
    holder.setPolicy(rules({ action: "deny", from: ["spiffe://east/hello"] }));
    expect((await answer).code).not.toBe(0);
    await expect.poll(() => session.destroyed, soon).toBe(true);
  });
});

describe("streams are between the client and the app", () => {
  test("each side waits for the other's window, and megabytes come through whole", async () => {
    const { session } = await start(await http2App((stream) => {
      stream.respond({ ":status": 200 });
      stream.pipe(stream);
    }));
    const body = Buffer.alloc(2_000_000, "0123456789abcdef");
    const answers = await Promise.all([1, 2, 3].map(() => ask(session, { ":method": "POST" }, body.toString("latin1"))));
    for (const answer of answers) expect(answer.body === body.toString("latin1")).toBe(true);
  });

  test("who does not read is not read for: nothing is held in between", async () => {
    let sent = 0;
    const { session, half } = await start(await http2App((stream) => {
      stream.respond({ ":status": 200 });
      const more = (): void => {
        while (stream.write(Buffer.alloc(16_384))) sent += 16_384;
        sent += 16_384;
      };
      stream.on("drain", more);
      more();
    }));
    const stalled = session.request({ ":path": "/" });
    await once(stalled, "response");
    stalled.pause();
    await new Promise((resolve) => session.ping(resolve));
    // The window of the stream, and what Node itself gathers.
    expect(sent).toBeLessThan(300_000);
    expect(half.path.connections.edges()[0]!.bytesWritten).toBeLessThan(100_000);
    stalled.close();
  });

  test("a client that cancels cancels at the app, and an app that resets resets at the client, by its code", async () => {
    const codes: (number | undefined)[] = [];
    const { session } = await start(await http2App((stream, headers) => {
      stream.on("close", () => codes.push(stream.rstCode));
      if (headers[":path"] === "/reset") stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      else stream.respond({ ":status": 200 });
    }));
    const cancelled = session.request({ ":path": "/" });
    await once(cancelled, "response");
    cancelled.close(constants.NGHTTP2_CANCEL);
    await expect.poll(() => codes, soon).toEqual([constants.NGHTTP2_CANCEL]);
    expect((await ask(session, { ":path": "/reset" })).code).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });

  test("interim responses, PING and GOAWAY pass", async () => {
    const app = await http2App((stream) => {
      stream.additionalHeaders({ ":status": 103, link: "</a>" });
      stream.respond({ ":status": 204 }, { endStream: true });
      stream.session!.goaway(constants.NGHTTP2_NO_ERROR, stream.id, Buffer.from("bye"));
    });
    const { session } = await start(app);
    const told = once(session, "goaway");
    const stream = session.request({ ":path": "/" });
    const early = once(stream, "headers");
    expect((await answerOf(stream)).status).toBe(204);
    expect((await early)[0]).toMatchObject({ ":status": 103, link: "</a>" });
    expect(String((await told)[2])).toBe("bye");
  });

  test("a hundred at once", async () => {
    const { session } = await start(await mirror());
    const answers = await Promise.all(Array.from({ length: 100 }, (_, index) => ask(session, { ":method": "POST" }, `body ${index}`)));
    expect(answers.map((answer) => mirrored(answer).body)).toEqual(Array.from({ length: 100 }, (_, index) => `body ${index}`));
  });
});

describe("the app fails", () => {
  test("nothing listens: 502 that says so, UNAVAILABLE for gRPC, and the client is sent away to try again", async () => {
    const app = await mirror();
    const { half, session, connect } = await start(app);
    await app.close();
    apps.length = 0;
    const answer = await ask(session);
    expect(answer).toMatchObject({ status: 502 });
    expect(answer.headers["countersign-proxy-error"]).toContain("nothing listens there");
    await expect.poll(() => session.closed || session.destroyed, soon).toBe(true);
    const call = await ask(await connect(), { ":method": "POST", "content-type": "application/grpc" });
    expect(call).toMatchObject({ status: 200, headers: { "grpc-status": "14" } });
    expect(half.logged.join()).toContain("cannot be reached");
  });

  test("it speaks HTTP/1 only: 502 that says so", async () => {
    const { session } = await start(await tcpApp((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));
    const answer = await ask(session);
    expect(answer.status).toBe(502);
    expect(answer.headers["countersign-proxy-error"]).toContain("does not speak HTTP/2");
  });

  test("it dies in the middle: what has begun does not look whole", async () => {
    const app = await http2App((stream) => {
      stream.respond({ ":status": 200 });
      stream.write("half", () => stream.session!.socket.destroy());
    });
    const { session } = await start(app);
    expect((await ask(session)).code).not.toBe(0);
  });
});

describe("a connection ends when its time has come", () => {
  test("retired, it takes no more requests, lets those under way end, and closes", async () => {
    const { half, session } = await start(await http2App((stream) => {
      stream.respond({ ":status": 200 });
      stream.on("data", () => stream.end("done"));
    }));
    const stream = session.request({ ":method": "POST", ":path": "/" });
    const answer = answerOf(stream);
    await once(stream, "response");
    const told = once(session, "goaway");
    half.path.connections.retireAll();
    await told;
    expect(half.path.connections.count()).toBe(1);
    stream.end("last");
    expect(await answer).toMatchObject({ body: "done", code: 0 });
    await expect.poll(() => half.path.connections.count(), soon).toBe(0);
  });

  test("a revoked client is cut, and its streams at the app with it", async () => {
    let closed = 0;
    const { half, session } = await start(await http2App((stream) => {
      stream.on("close", () => closed++);
      stream.respond({ ":status": 200 });
    }));
    const stream = session.request({ ":path": "/" });
    const answer = answerOf(stream);
    await once(stream, "response");
    half.holder.setRevoked(new Set([hello.serialNumber]));
    expect((await answer).code).not.toBe(0);
    await expect.poll(() => closed, soon).toBe(1);
  });
});
