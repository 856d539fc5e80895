import { createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect as connectHttp2, type ClientHttp2Session, type ClientHttp2Stream, type OutgoingHttpHeaders } from "node:http2";
import { chmodSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import { join } from "node:path";
import { Metadata, status, type ClientReadableStream, type ServiceError } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { verifySvid } from "../../../ca/pki/svid.ts";
import type { IdentityHolder } from "../../../proxy/identity/source.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { systemClock } from "../../../proxy/clock.ts";
import { startWorkload } from "../../../proxy/workload/start.ts";
import { east, eastIdentity, holderOf, metricValue } from "../../support/data-path.ts";
import { recordedLog } from "../../support/recorded-log.ts";
import { testAuthority, testNowMs } from "../../support/test-ca.ts";
import { workloadClient, type WorkloadClient } from "../../support/workload-client.ts";

interface Svids { readonly svids: readonly { readonly spiffe_id: string; readonly x509_svid: Buffer; readonly x509_svid_key: Buffer; readonly bundle: Buffer }[]; readonly federated_bundles: Readonly<Record<string, Buffer>> }
interface Bundles { readonly bundles: Readonly<Record<string, Buffer>> }
type Call<Message> = ClientReadableStream<Message>;

const west = testAuthority({ trustDomain: "west" });
let folder: string;
let path: string;
const closing: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "countersign-workload-"));
  path = join(folder, "w.sock");
});
afterEach(() => {
  for (const close of closing.splice(0).reverse()) close();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(holder: IdentityHolder = holderOf(eastIdentity("web"), [east, west]), mode = 0o600) {
  const metrics = createMetrics();
  const stop = await startWorkload({ config: { files: undefined, workloadApi: { path, mode } }, source: holder, clock: systemClock, log: recordedLog(), metrics, issueJwtSvid: () => Promise.reject(new Error("nobody asks")) });
  closing.push(stop);
  return { holder, metrics, stop };
}

function client(): WorkloadClient {
  const made = workloadClient(path);
  closing.push(() => made.close());
  return made;
}

function call<Message>(method: "FetchX509SVID" | "FetchX509Bundles", header: Readonly<Record<string, string>> = securityHeader): Call<Message> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(header)) metadata.set(name, value);
  const stream = client()[method]!({}, metadata) as Call<Message>;
  stream.on("error", () => undefined);
  return stream;
}

const nextOf = async <Message>(stream: Call<Message>): Promise<Message> => (await once(stream, "data"))[0] as Message;
const errorOf = async (stream: Call<unknown>): Promise<ServiceError> => {
  stream.resume();
  return (await once(stream, "error"))[0] as ServiceError;
};
const securityHeader = { "workload.spiffe.io": "true" };

describe("FetchX509SVID", () => {
  test("gives a gRPC client the chain, its key and its bundle in DER, with other trust domains apart", async () => {
    const { holder, metrics } = await serve();
    const stream = call<Svids>("FetchX509SVID");
    const { svids: [svid, ...more], federated_bundles } = await nextOf(stream);
    expect(more).toEqual([]);
    expect(svid?.spiffe_id).toBe("spiffe://east/web");
    expect(svid?.x509_svid).toEqual(Buffer.concat(holder.identity()!.chain));
    const leaf = new X509Certificate(svid!.x509_svid);
    expect(leaf.checkPrivateKey(createPrivateKey({ key: svid!.x509_svid_key, format: "der", type: "pkcs8" }))).toBe(true);
    expect(svid?.bundle).toEqual(Buffer.from(east.der));
    expect(federated_bundles).toEqual({ "spiffe://west": Buffer.from(west.der) });
    expect(verifySvid({ chain: holder.identity()!.chain, bundles: east.bundles(), nowMs: testNowMs, purpose: "client" }).id.uri).toBe(svid?.spiffe_id);
    const cancelled = errorOf(stream);
    stream.cancel();
    expect((await cancelled).code).toBe(status.CANCELLED);
    expect(metrics.text()).not.toContain("BEGIN");
  });

  test("tells of a renewal and of a changed bundle on the open stream, each with the whole state, and of nothing else", async () => {
    const { holder } = await serve();
    const stream = call<Svids>("FetchX509SVID");
    const first = await nextOf(stream);
    const renewed = eastIdentity("web");
    let told = nextOf(stream);
    holder.setBundles("east", new Map([["east", east.bundle()], ["west", west.bundle()]]));
    holder.setIdentity(renewed);
    const second = await told;
    expect(second.svids[0]?.x509_svid).toEqual(Buffer.concat(renewed.chain));
    expect(second.federated_bundles).toEqual(first.federated_bundles);
    told = nextOf(stream);
    holder.setRevoked(new Set(["0a"])); // no part of the message
    await nextTurn();
    holder.setBundles("east", east.bundles());
    const third = await told;
    expect(third.svids).toEqual(second.svids);
    expect(third.federated_bundles ?? {}).toEqual({});
  });

  test("keeps no queue for a client that does not read: when it does, it gets the newest state", async () => {
    const { holder } = await serve();
    const stream = call<Svids>("FetchX509SVID");
    await once(stream, "metadata");
    const [authority] = west.bundle().x509Authorities;
    const swaps = 50;
    for (let swap = 1; swap <= swaps; swap++) {
      holder.setBundles("east", new Map([["east", east.bundle()], ["west", { ...west.bundle(), x509Authorities: Array.from({ length: 100 + swap }, () => authority!) }]]));
      await nextTurn();
    }
    const newest = (100 + swaps) * west.der.length;
    let messages = 0;
    for await (const message of stream as AsyncIterable<Svids>) {
      messages++;
      if (message.federated_bundles["spiffe://west"]?.length === newest) break;
    }
    expect(messages).toBeLessThan(swaps / 2);
  });

  test("is unavailable while there is no identity, or while it is not known what is revoked", async () => {
    const { holder } = await serve(holderOf(undefined));
    expect(await errorOf(call("FetchX509SVID"))).toMatchObject({ code: status.UNAVAILABLE, details: "there is no identity yet; try again" });
    holder.setIdentity(eastIdentity("web"));
    holder.setRevoked(undefined);
    expect(await errorOf(call("FetchX509SVID"))).toMatchObject({ code: status.UNAVAILABLE });
  });

  test.each([
    ["has expired", (holder: IdentityHolder) => holder.setIdentity(undefined)],
    ["is revoked", (holder: IdentityHolder) => holder.setRevoked(new Set([holder.identity()!.serialNumber]))],
  ])("is denied once the identity %s: on open streams, so that the app stops using it, and on new ones", async (_why, lose) => {
    const { holder } = await serve();
    const stream = call<Svids>("FetchX509SVID");
    await nextOf(stream);
    const error = errorOf(stream);
    lose(holder);
    expect((await error).code).toBe(status.PERMISSION_DENIED);
    expect((await errorOf(call("FetchX509SVID"))).code).toBe(status.PERMISSION_DENIED);
  });
});

describe("FetchX509Bundles", () => {
  test("gives the own bundle and each other one under the ID of its trust domain, and their changes", async () => {
    const { holder } = await serve();
    const stream = call<Bundles>("FetchX509Bundles");
    expect((await nextOf(stream)).bundles).toEqual({ "spiffe://east": Buffer.from(east.der), "spiffe://west": Buffer.from(west.der) });
    const told = nextOf(stream);
    holder.setIdentity(undefined); // whoever only verifies needs none
    holder.setBundles("east", east.bundles());
    expect((await told).bundles).toEqual({ "spiffe://east": Buffer.from(east.der) });
  });
});

describe("a call is refused", () => {
  test.each([["without", {}], ["with another value of", { "workload.spiffe.io": "True" }]])("%s the security header, and gets no key", async (_how, header) => {
    const { metrics } = await serve();
    for (const method of ["FetchX509SVID", "FetchX509Bundles"] as const) {
      expect((await errorOf(call(method, header))).code).toBe(status.INVALID_ARGUMENT);
      expect(metricValue(metrics, "workload_api_calls_total", method, 'status="3"')).toBe(1);
    }
  });

  test("of a method that this API has and we do not, as unimplemented", async () => {
    await serve();
    const metadata = new Metadata();
    metadata.set("workload.spiffe.io", "true");
    const error = await new Promise<ServiceError | null>((resolve) => void client()["FetchWITSVID"]!({}, metadata, resolve));
    expect(error).toMatchObject({ code: status.UNIMPLEMENTED });
  });

  test.each([
    ["that has no message", Buffer.alloc(0), status.INVALID_ARGUMENT],
    ["that has two messages", Buffer.alloc(10), status.INVALID_ARGUMENT],
    ["that is cut off", Buffer.from([0, 0, 0, 0, 9, 1]), status.INVALID_ARGUMENT],
    ["that is compressed", Buffer.from([1, 0, 0, 0, 0]), status.UNIMPLEMENTED],
    ["that is larger than any may be", Buffer.alloc(21_000), status.RESOURCE_EXHAUSTED],
  ])("%s", async (_what, body, code) => {
    await serve();
    expect(await rawCall(body)).toBe(String(code));
  });

  test("that is not gRPC", async () => {
    await serve();
    expect(await rawCall(Buffer.alloc(5), { ":method": "PUT" })).toBe(String(status.INVALID_ARGUMENT));
    expect(await rawCall(Buffer.alloc(5), { "content-type": "application/json" })).toBe(String(status.INVALID_ARGUMENT));
    expect(await rawCall(Buffer.alloc(5))).toBe(undefined); // as it should be: answered with a message, not with a status
  });
});

describe("the socket", () => {
  test("has its mode, and its name is gone when the proxy is", async () => {
    const { stop } = await serve(undefined, 0o660);
    expect(statSync(path).mode & 0o777).toBe(0o660);
    expect(readdirSync(folder)).toEqual(["w.sock"]);
    stop();
    expect(existsSync(path)).toBe(false);
  });

  test("takes the place of one that a dead process left, and of nothing else", async () => {
    const dead = createServer().listen(`${path}.other`);
    await once(dead, "listening");
    renameSync(`${path}.other`, path); // so that closing does not remove it
    await expect(serve()).rejects.toThrow(/another process listens there/);
    dead.close();
    await once(dead, "close");
    expect(existsSync(path)).toBe(true);
    await serve();
    await nextOf(call<Svids>("FetchX509SVID"));
  });

  test("is refused where a file has its name, which stays", async () => {
    writeFileSync(path, "a file");
    chmodSync(path, 0o600);
    await expect(serve()).rejects.toThrow(/not a socket/);
    expect(statSync(path).isFile()).toBe(true);
  });

  test("ends open streams as unavailable when the proxy stops, so that clients come back", async () => {
    const { stop } = await serve();
    const stream = call<Svids>("FetchX509SVID");
    await nextOf(stream);
    const error = errorOf(stream);
    stop();
    expect((await error).code).toBe(status.UNAVAILABLE);
  });

  test("survives what is not HTTP/2", async () => {
    await serve();
    const socket: Socket = connect(path);
    socket.on("error", () => undefined);
    socket.resume().write("GET / HTTP/1.1\r\n\r\n");
    await once(socket, "close");
    await nextOf(call<Svids>("FetchX509SVID"));
  });
});

describe("bounds", () => {
  const request = Buffer.alloc(5);
  const openOn = (session: ClientHttp2Session): ClientHttp2Stream => {
    const stream = session.request({ ":method": "POST", ":path": "/SpiffeWorkloadAPI/FetchX509Bundles", "content-type": "application/grpc", te: "trailers", ...securityHeader });
    stream.on("error", () => undefined);
    stream.end(request);
    return stream;
  };
  const statusOf = async (stream: ClientHttp2Stream): Promise<string | undefined> => ((await once(stream, "response")) as [Record<string, string>])[0]["grpc-status"];

  test("a connection has 32 streams, all together have 1024, and further ones are told to come later", async () => {
    await serve();
    const sessions = Array.from({ length: 32 }, newSession);
    const streams = sessions.flatMap((session) => Array.from({ length: 32 }, () => openOn(session)));
    expect(await Promise.all(streams.map(statusOf))).toEqual(streams.map(() => undefined));
    expect(await statusOf(openOn(newSession()))).toBe(String(status.UNAVAILABLE));
    expect(sessions[0]!.remoteSettings.maxConcurrentStreams).toBe(32);
    streams[0]!.close();
    await expect.poll(() => statusOf(openOn(newSession())), { timeout: 20_000 }).toBe(undefined);
  });

  test("256 connections are open at once", async () => {
    await serve();
    const open = await Promise.all(Array.from({ length: 256 }, async () => {
      const socket = connect(path);
      closing.push(() => socket.destroy());
      socket.on("error", () => undefined);
      await once(socket, "data"); // the settings of HTTP/2
      return socket;
    }));
    const further = connect(path);
    further.on("error", () => undefined);
    await once(further.resume(), "close");
    open[0]!.destroy();
    await expect.poll(async () => {
      const again = connect(path);
      closing.push(() => again.destroy());
      again.on("error", () => undefined);
      return Promise.race([once(again, "data").then(() => "served"), once(again, "close").then(() => "closed")]);
    }, { timeout: 20_000 }).toBe("served");
  });

  test.each([
    ["in number", Object.fromEntries(Array.from({ length: 80 }, (_, index) => [`x-${index}`, "1"]))],
    ["in bytes", Object.fromEntries(Array.from({ length: 5 }, (_, index) => [`x-${index}`, "x".repeat(3900)]))],
  ])("headers are bounded %s", async (_how, headers) => {
    await serve();
    const session = newSession();
    // Before the client has heard of it HTTP/2 has a bound of its own, 64 KiB.
    await once(session, "remoteSettings");
    const stream = session.request({ ":method": "POST", ":path": "/SpiffeWorkloadAPI/FetchX509Bundles", "content-type": "application/grpc", ...securityHeader, ...headers });
    const ended = new Promise<unknown>((resolve) => void stream.on("response", resolve).on("error", ({ code }: NodeJS.ErrnoException) => resolve(code)).on("close", () => resolve("closed")));
    stream.end(request);
    expect(["ERR_HTTP2_STREAM_ERROR", "ERR_HTTP2_SESSION_ERROR", "closed"]).toContain(await ended);
    await nextOf(call<Bundles>("FetchX509Bundles"));
  });
});

function newSession(): ClientHttp2Session {
  const session = connectHttp2("http://localhost", { createConnection: () => connect(path) });
  session.on("error", () => undefined);
  closing.push(() => session.destroy());
  return session;
}

/** Sends these bytes as the request. @returns grpc-status of an answer without a message */
async function rawCall(body: Buffer, headers: OutgoingHttpHeaders = {}): Promise<string | undefined> {
  const session = newSession();
  const stream = session.request({
    ":method": "POST", ":path": "/SpiffeWorkloadAPI/FetchX509SVID", "content-type": "application/grpc", te: "trailers", ...securityHeader, ...headers,
  });
  stream.on("error", () => undefined);
  stream.end(body);
  const [answer] = (await once(stream, "response")) as [Record<string, string>];
  return answer["grpc-status"];
}
