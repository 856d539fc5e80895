import { once } from "node:events";
import type { ClientHttp2Session, OutgoingHttpHeaders } from "node:http2";
import { afterEach, expect, test } from "vitest";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import { eastIdentity, eastIssuer, inboundHalf, metricValue, outboundHalf, type HalfOptions } from "../../support/data-path.ts";
import { answerOf, http2App, http2Over, type Http2Answer } from "../../support/http2.ts";
import { data, headers, hello, post, readFrames } from "../../support/http2-frames.ts";
import { tcpClient, tlsServer, type TestServer } from "../../support/tcp.ts";

const soon = { timeout: 20_000 };
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** hello's outbound side with routes to world's and other's inbound sides, before one app. */
async function pair(app: TestServer, options: HalfOptions = {}) {
  const inbound = await inboundHalf({ app: { host: "127.0.0.1", port: app.port } });
  const address = { host: "127.0.0.1", port: inbound.port };
  const routes = ["world", "elsewhere"].map((host) => ({ host, port: undefined, address, serverId: parseSpiffeId("spiffe://east/world") }));
  const outbound = await outboundHalf({ routes, ...options });
  closers.push(() => app.close(), () => inbound.path.close(), () => outbound.path.close());
  return { inbound, outbound, session: await sessionTo(outbound.port) };
}

async function sessionTo(port: number): Promise<ClientHttp2Session> {
  const session = http2Over(await tcpClient(port));
  closers.push(() => session.destroy());
  return session;
}

function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}, body = ""): Promise<Http2Answer> {
  const stream = session.request({ ":method": "POST", ":path": "/", ":authority": "world", ...headers }, { endStream: false });
  stream.end(body);
  return answerOf(stream);
}

const echo = () => http2App((stream, headers) => {
  stream.respond({ ":status": 200, caller: String(headers["countersign-client-id"]), to: String(headers[":authority"]) });
  stream.pipe(stream);
});

test("what the app speaks to the forward proxy goes to the identity that the authority's route names, with the caller's own", async () => {
  const { inbound, outbound, session } = await pair(await echo());
  const body = "0123456789".repeat(100_000);
  const answers = await Promise.all([ask(session, {}, body), ask(session, { "countersign-client-id": "spiffe://east/admin" }, "short")]);
  expect(answers.map(({ status, headers: { caller, to }, body: { length } }) => [status, caller, to, length])).toEqual([
    [200, "spiffe://east/hello", "world", body.length], [200, "spiffe://east/hello", "world", 5],
  ]);
  expect(metricValue(outbound.metrics, "response_total", 'direction="outbound"', 'protocol="http2"', 'server_id="spiffe://east/world"', 'status_class="2xx"')).toBe(2);
  expect(outbound.path.connections.edges()).toMatchObject([{ protocol: "http2", secured: true, connections: 1 }]);
  expect(inbound.path.connections.count()).toBe(1);
});

test("what several connections send while their server is dialed arrives as each of them sent it", async () => {
  const bodies: string[] = [];
  const { outbound } = await pair(await http2App((stream) => {
    let body = "";
    stream.setEncoding("latin1").on("data", (chunk: string) => (body += chunk)).on("end", () => bodies.push(body));
  }));
  const sent = ["a", "b", "c", "d"].map((letter) => letter.repeat(10_000));
  const clients = await Promise.all(sent.map(async () => {
    const client = await tcpClient(outbound.port);
    client.write(hello);
    await readFrames(client, ({ type }) => type === 4);
    return client;
  }));
  clients.forEach((client, index) => client.write(Buffer.concat([headers(1, post, false), data(1, sent[index]!, true)])));
  await expect.poll(() => bodies.sort(), soon).toEqual(sent);
});

test("no route is a 403 that says what to add, CONNECT a 405, and the connection goes on", async () => {
  const { session } = await pair(await echo());
  const refused = await ask(session, { ":authority": "nowhere:81" });
  expect(refused.status).toBe(403);
  expect(refused.headers["countersign-proxy-error"]).toContain("no route for nowhere:81");
  expect((await answerOf(session.request({ ":method": "CONNECT", ":authority": "world:80" }))).status).toBe(405);
  expect((await ask(session)).status).toBe(200);
});

test("a connection leads to one server: another authority is 421, and goes over a connection of its own", async () => {
  const { outbound, session } = await pair(await echo());
  expect((await ask(session)).status).toBe(200);
  expect((await ask(session, { ":authority": "elsewhere" })).status).toBe(421);
  expect((await ask(await sessionTo(outbound.port), { ":authority": "elsewhere" })).status).toBe(200);
});

test("PING is answered before there is a server", async () => {
  const { session } = await pair(await echo());
  await new Promise((resolve) => session.ping(resolve));
});

test("a server that is somebody else gets nothing, and gRPC is told UNAVAILABLE", async () => {
  const impostor = await tlsServer(eastIssuer.leaf({ spiffeId: "spiffe://east/impostor" }), (socket) => socket.on("data", () => expect.fail("a byte reached the impostor")));
  const address = { host: "127.0.0.1", port: impostor.port };
  const { session } = await pair(await echo(), { routes: [{ host: "world", port: undefined, address, serverId: eastIdentity("world").id }] });
  closers.push(() => impostor.close());
  const answer = await ask(session, { "content-type": "application/grpc" });
  expect(answer).toMatchObject({ status: 200, headers: { "grpc-status": "14" } });
  expect(answer.headers["grpc-message"]).toContain("spiffe://east/impostor answered where spiffe://east/world must");
});

test("draining tells the app, lets what is under way end, and closes both connections", async () => {
  const { inbound, outbound, session } = await pair(await echo());
  const stream = session.request({ ":method": "POST", ":path": "/", ":authority": "world" }, { endStream: false });
  const answer = answerOf(stream);
  await once(stream, "response");
  const told = once(session, "goaway");
  outbound.path.stopAccepting();
  const drained = outbound.path.drained(20_000);
  await told;
  stream.end("last");
  expect(await answer).toMatchObject({ body: "last", code: 0 });
  await drained;
  expect(outbound.path.connections.count()).toBe(0);
  await expect.poll(() => inbound.path.connections.count(), soon).toBe(0);
});
