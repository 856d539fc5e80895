import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../../infra/demo/place.ts";
import type { Caller } from "../../ca/http/services.ts";
import { startMesh, type Mesh, type MeshProxy } from "../support/mesh.ts";
import { startNginx } from "../support/nginx.ts";
import { programAvailable } from "../support/programs.ts";

const run = promisify(execFile);
const admin: Caller = { actor: "token:test", name: "test", role: "admin", scope: ["spiffe://east/*"] };
const hasNginx = programAvailable("nginx") && programAvailable("curl");
const [hasH2load, hasNghttp] = [programAvailable("h2load"), programAvailable("nghttp")];
const large = Buffer.alloc(3_000_000, "0123456789abcdef");

let mesh: Mesh;
let client: MeshProxy;
/** Fixed listeners that lead to nginx and to the gRPC server. */
let [web, shop]: string[] = [];

beforeAll(async () => {
  mesh = await startMesh();
  const nginx = await freePort();
  if (hasNginx) await serveNginx(nginx);
  const world = await mesh.proxy("world", "--outbound", "off", "--app", `127.0.0.1:${nginx}`);
  const cart = await mesh.proxy("cart", "--outbound", "off", "--app", `127.0.0.1:${await serveGrpc()}`);
  client = await mesh.proxy(
    "client", "--inbound", "off", "--route", `world=${world.inbound[0]},${world.spiffeId}`, "--route", `cart=${cart.inbound[0]},${cart.spiffeId}`,
    "--tcp", `127.0.0.1:0=${world.inbound[0]},${world.spiffeId}`, "--tcp", `127.0.0.1:0=${cart.inbound[0]},${cart.spiffeId}`,
  );
  [, web, shop] = client.outbound;
});
afterAll(() => mesh.close());

/** As Debian ships it, in a folder of ours; the port speaks HTTP/2 by prior knowledge. */
async function serveNginx(port: number): Promise<void> {
  const folder = join(mesh.folder, "nginx");
  mkdirSync(folder, { mode: 0o755 });
  writeFileSync(join(folder, "large"), large);
  mesh.atEnd(await startNginx(folder, port, `listen 127.0.0.1:${port} http2; location /who { return 200 "$http_countersign_client_id over $server_protocol"; }`));
}

describe.skipIf(!hasNginx)("nginx as the app", () => {
  const curl = async (...args: readonly string[]): Promise<Buffer> => {
    const { stdout } = await run("curl", ["-sSf", "--max-time", "20", "--http2-prior-knowledge", ...args], { encoding: "buffer", maxBuffer: 2 ** 24 });
    return stdout;
  };

  test("curl speaks HTTP/2 through a fixed listener; nginx is told who asks, whatever is claimed", async () => {
    const claim = ["-H", "countersign-client-id: spiffe://east/admin", "-H", "countersign_client_id: spiffe://east/admin"];
    expect(String(await curl(...claim, `http://${web}/who`))).toBe(`${client.spiffeId} over HTTP/2.0`);
    const [one, two] = [await curl(`http://${web}/large`), await curl("-r", "1000-1999", `http://${web}/large`)];
    expect(one.equals(large) && two.equals(large.subarray(1000, 2000))).toBe(true);
  });

  test("and straight to the forward proxy, which the authority tells where to", async () => {
    expect(String(await curl("--connect-to", `world:80:${client.outbound[0]}`, "http://world/who"))).toBe(`${client.spiffeId} over HTTP/2.0`);
    await expect(curl("--connect-to", `nowhere:80:${client.outbound[0]}`, "http://nowhere/")).rejects.toThrow(/403/);
  });

  test("and through a tunnel of it", async () => {
    expect(String(await curl("--proxytunnel", "--proxy", `http://${client.outbound[0]}`, "http://world:80/who"))).toBe(`${client.spiffeId} over HTTP/2.0`);
  });

  test.skipIf(!hasH2load)("h2load, over both ways and many streams, fails no request", async () => {
    for (const [target, ...how] of [[`http://${web}/who`], ["http://world/who", `--connect-to=${client.outbound[0]}`]] as const) {
      const { stdout } = await run("h2load", ["-n", "600", "-c", "3", "-m", "50", ...how, target]);
      expect(stdout).toMatch(/600 succeeded, 0 failed, 0 errored, 0 timeout/);
      expect(stdout).toMatch(/status codes: 600 2xx/);
    }
  });

  test.skipIf(!hasNghttp)("nghttp takes three large ones at once", async () => {
    const { stdout } = await run("nghttp", ["-ns", ...Array.from({ length: 3 }, (_, index) => `http://${web}/large?${index}`)]);
    expect(stdout.match(/ 200 +2M /g)).toHaveLength(3);
  });
});

describe("gRPC", () => {
  let call: grpc.Client;
  const meta = (entries: Readonly<Record<string, string>> = {}): grpc.Metadata => {
    const metadata = new grpc.Metadata();
    for (const [key, value] of Object.entries(entries)) metadata.set(key, value);
    return metadata;
  };

  beforeAll(() => {
    call = new grpc.Client(shop!, grpc.credentials.createInsecure(), { "grpc.max_receive_message_length": -1 });
  });
  afterAll(() => call.close());

  const unary = (to: grpc.Client, method: string, message: string, metadata = meta(), options: grpc.CallOptions = {}) => (
    new Promise<{ readonly error: grpc.ServiceError | null; readonly answer: string | undefined; readonly trailers: grpc.Metadata }>((resolve) => {
      let trailers = meta();
      to.makeUnaryRequest(`/shop.Cart/${method}`, encode, decode, message, metadata, options, (error, answer) => setImmediate(() => resolve({ error, answer, trailers })))
        .on("status", (status) => (trailers = status.metadata));
    })
  );

  test("unary: metadata and trailers pass, the server is told who calls, whatever is claimed", async () => {
    const { answer, trailers } = await unary(call, "Echo", "hello", meta({ "x-one": "1", "countersign-client-id": "spiffe://east/admin" }));
    expect(JSON.parse(answer!)).toEqual({ message: "hello", one: ["1"], client: [client.spiffeId] });
    expect(trailers.get("x-trailer")).toEqual(["at the end"]);
  });

  test("a status with details comes as it was given", async () => {
    const { error } = await unary(call, "Fail", "x");
    expect([error?.code, error?.details, error?.metadata.get("x-detail-bin")]).toEqual([grpc.status.ALREADY_EXISTS, "it is there: 100 %", [Buffer.from([0, 1, 255])]]);
  });

  test("messages of megabytes wait for windows, and arrive whole", async () => {
    const { answer } = await unary(call, "Whole", large.toString("latin1"));
    expect(answer === large.toString("latin1")).toBe(true);
  });

  test("streams of the server, of the client, and of both", async () => {
    const numbers: string[] = [];
    for await (const one of call.makeServerStreamRequest("/shop.Cart/Count", encode, decode, "500")) numbers.push(one as string);
    expect(numbers).toEqual(Array.from({ length: 500 }, (_, index) => String(index)));

    const sum = await new Promise((resolve) => {
      const stream = call.makeClientStreamRequest("/shop.Cart/Sum", encode, decode, (_error, answer) => resolve(answer));
      for (let index = 0; index < 500; index++) stream.write(String(index));
      stream.end();
    });
    expect(sum).toBe(String((499 * 500) / 2));

    const both = call.makeBidiStreamRequest("/shop.Cart/Chat", encode, decode);
    for (const word of ["one", "two", "three"]) {
      both.write(word);
      expect(await once(both, "data")).toEqual([`you said ${word}`]);
    }
    both.end();
    expect((await once(both, "status"))[0]).toMatchObject({ code: grpc.status.OK });
  });

  test("a deadline and a cancellation reach the server", async () => {
    const ended = cancelled.length;
    // Long enough to come to the server before.
    const waiting = unary(call, "Wait", "x", meta(), { deadline: Date.now() + 3000 });
    const stream = call.makeServerStreamRequest("/shop.Cart/Forever", encode, decode, "x").on("error", () => undefined);
    await once(stream, "data");
    stream.cancel();
    expect((await waiting).error?.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    await expect.poll(() => cancelled.slice(ended).sort(), { timeout: 20_000 }).toEqual(["Forever", "Wait"]);
  });

  test("by http_proxy, and by the authority at the forward proxy", async () => {
    process.env["grpc_proxy"] = `http://${client.outbound[0]}`;
    const proxied = new grpc.Client("cart:80", grpc.credentials.createInsecure());
    delete process.env["grpc_proxy"];
    const direct = new grpc.Client(client.outbound[0]!, grpc.credentials.createInsecure(), { "grpc.default_authority": "cart" });
    for (const one of [proxied, direct]) {
      expect(JSON.parse((await unary(one, "Echo", "hello")).answer!)).toMatchObject({ client: [client.spiffeId] });
      one.close();
    }
  });

  test("a rule about methods denies one, and ends its streams that are open", async () => {
    const open = call.makeBidiStreamRequest("/shop.Cart/Chat", encode, decode);
    open.write("one");
    await once(open, "data");
    const ending = new Promise((resolve) => void open.on("status", resolve).on("error", () => undefined));
    await mesh.served.ca.policies.apply({
      policies: [{ name: "shop", workloads: ["spiffe://east/cart"], rules: [{ name: "echo", action: "allow", from: ["spiffe://east/*"], grpc: ["shop.Cart/Echo"] }] }],
    }, admin);
    expect(await ending).toMatchObject({ code: grpc.status.PERMISSION_DENIED, details: expect.stringContaining("policy changed") });
    const { error } = await unary(call, "Fail", "x");
    expect([error?.code, error?.details]).toEqual([grpc.status.PERMISSION_DENIED, expect.stringContaining("none of their rules allows this")]);
    expect((await unary(call, "Echo", "hello")).error).toBeNull();
  });
});

const encode = (message: string): Buffer => Buffer.from(message, "latin1");
const decode = (bytes: Buffer): string => bytes.toString("latin1");
/** Methods of calls that ended before they were answered. */
const cancelled: string[] = [];

async function serveGrpc(): Promise<number> {
  const server = new grpc.Server({ "grpc.max_receive_message_length": -1 });
  const method = (name: string, requestStream: boolean, responseStream: boolean) => (
    { path: `/shop.Cart/${name}`, requestStream, responseStream, requestSerialize: encode, requestDeserialize: decode, responseSerialize: encode, responseDeserialize: decode }
  );
  const one = (name: string, handle: grpc.handleUnaryCall<string, string>) => [method(name, false, false), handle] as const;
  const handlers = [
    one("Echo", ({ request, metadata }, answer) => {
      const trailers = new grpc.Metadata();
      trailers.set("x-trailer", "at the end");
      answer(null, JSON.stringify({ message: request, one: metadata.get("x-one"), client: metadata.get("countersign-client-id") }), trailers);
    }),
    one("Whole", ({ request }, answer) => answer(null, request)),
    one("Fail", (_call, answer) => {
      const metadata = new grpc.Metadata();
      metadata.set("x-detail-bin", Buffer.from([0, 1, 255]));
      answer({ code: grpc.status.ALREADY_EXISTS, details: "it is there: 100 %", metadata });
    }),
    one("Wait", (call) => void call.on("cancelled", () => cancelled.push("Wait"))),
    [method("Count", false, true), (call: grpc.ServerWritableStream<string, string>) => {
      for (let index = 0; index < Number(call.request); index++) call.write(String(index));
      call.end();
    }],
    [method("Forever", false, true), (call: grpc.ServerWritableStream<string, string>) => {
      call.on("cancelled", () => cancelled.push("Forever"));
      call.write("first");
    }],
    [method("Sum", true, false), (call: grpc.ServerReadableStream<string, string>, answer: grpc.sendUnaryData<string>) => {
      let sum = 0;
      call.on("data", (word: string) => (sum += Number(word))).on("end", () => answer(null, String(sum)));
    }],
    [method("Chat", true, true), (call: grpc.ServerDuplexStream<string, string>) => {
      call.on("data", (word: string) => call.write(`you said ${word}`)).on("end", () => call.end()).on("error", () => undefined);
    }],
  ] as const;
  server.addService(
    Object.fromEntries(handlers.map(([{ path, ...given }]) => [path.split("/")[2]!, { path, ...given }])),
    Object.fromEntries(handlers.map(([{ path }, handle]) => [path.split("/")[2]!, handle as grpc.UntypedHandleCall])),
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  mesh.atEnd(() => server.forceShutdown());
  return port;
}
