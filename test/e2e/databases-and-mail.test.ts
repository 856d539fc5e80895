import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { connect as connectTls } from "node:tls";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { freePort } from "../../infra/demo/place.ts";
import { startMesh, type Mesh, type MeshProxy } from "../support/mesh.ts";
import { startPostgres } from "../support/postgres-server.ts";
import { programAvailable } from "../support/programs.ts";
import { readAll, readUntil } from "../support/tcp.ts";
import { testAuthority } from "../support/test-ca.ts";

const run = promisify(execFile);
const hasPsql = programAvailable("psql");
const hasRedis = programAvailable("redis-server") && programAvailable("redis-cli");
const hasSmtp = programAvailable("curl") && programAvailable("aiosmtpd");

/** A server without an identity of its own, the proxy before it, and the local port by which the proxy of the client leads there. */
interface Service {
  readonly port: number;
  readonly proxy: MeshProxy;
  entry: number;
}

let mesh: Mesh;
let client: MeshProxy;
const services: Record<string, Service> = {};
let mails = "";

beforeAll(async () => {
  mesh = await startMesh();
  const apps = { postgres: await freePort(), redis: await freePort(), mail: await freePort(), polite: await politeServer() };
  await Promise.all([hasPsql && servePostgres(apps.postgres), hasRedis && serveRedis(apps.redis), hasSmtp && serveMail(apps.mail)]);
  for (const [name, port] of Object.entries(apps)) {
    // The ports of a test are not those that are known to belong to servers which speak first.
    services[name] = { port, entry: 0, proxy: await mesh.proxy(name, "--outbound", "off", "--app", `127.0.0.1:${port}`, "--opaque-ports", String(port)) };
  }
  const listeners = Object.values(services).flatMap(({ proxy }) => ["--tcp", `127.0.0.1:0=${proxy.inbound[0]},${proxy.spiffeId}`]);
  client = await mesh.proxy("client", "--inbound", "off", "--outbound", "off", ...listeners);
  Object.values(services).forEach((service, index) => (service.entry = Number(client.outbound[index]!.split(":").at(-1))));
});
afterAll(() => mesh.close());

async function servePostgres(port: number): Promise<void> {
  const leaf = testAuthority({ trustDomain: "elsewhere" }).leaf();
  const server = await startPostgres({ port, chainPem: leaf.chainPem, privateKeyPem: leaf.privateKeyPem });
  mesh.atEnd(() => server.stop());
}

async function serveRedis(port: number): Promise<void> {
  const server = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", mesh.folder], { stdio: ["ignore", "pipe", "ignore"] });
  mesh.atEnd(() => ended(server));
  for await (const line of createInterface({ input: server.stdout })) if (line.includes("Ready to accept connections")) break;
  server.stdout.resume();
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await once(child, "exit");
}

/** Python's mail server, which prints what it gets. */
async function serveMail(port: number): Promise<void> {
  const server = spawn("aiosmtpd", ["-n", "-l", `127.0.0.1:${port}`, "-c", "aiosmtpd.handlers.Debugging", "stdout"], {
    stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, PYTHONUNBUFFERED: "1" },
  });
  mesh.atEnd(() => ended(server));
  server.stdout.setEncoding("utf8").on("data", (text: string) => (mails += text));
  await vi.waitUntil(() => opened(port).then((socket) => socket.destroy().destroyed, () => false), { timeout: 30_000 });
}

/** Speaks first, and last. */
async function politeServer(): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined).write("welcome\n");
    createInterface({ input: socket }).on("line", (line) => socket.write(`heard ${line}\n`)).on("close", () => socket.end("farewell\n"));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  mesh.atEnd(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function opened(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true }).on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

describe.skipIf(!hasPsql)("PostgreSQL", () => {
  const psql = async (parameters: string, sql: string): Promise<string> => {
    const { stdout } = await run("psql", ["-X", "-A", "-t", "-c", sql, `host=127.0.0.1 port=${services["postgres"]!.entry} user=postgres dbname=postgres ${parameters}`], { maxBuffer: 2 ** 24 });
    return stdout.trim();
  };

  test("psql reaches the server through the pair, a result of some megabytes included", async () => {
    expect(await psql("sslmode=disable", "select 6 * 7")).toBe("42");
    expect((await psql("sslmode=disable", "select repeat('x', 5000000)")).length).toBe(5_000_000);
    expect(await services["postgres"]!.proxy.metrics()).toContain(`tcp_open_total{direction="inbound",tls="true",client_id="${client.spiffeId}"`);
  });

  test("TLS that psql begins within the protocol goes through inside of ours", async () => {
    expect(await psql("sslmode=require", "select ssl::text || ' ' || version from pg_stat_ssl where pid = pg_backend_pid()")).toBe("true TLSv1.3");
  });

  test("TLS from the first byte is shown as what it is, on both sides", async () => {
    const socket = connectTls({ host: "127.0.0.1", port: services["postgres"]!.entry, ALPNProtocols: ["postgresql"], rejectUnauthorized: false });
    await once(socket, "secureConnect");
    expect(socket.alpnProtocol).toBe("postgresql");
    for (const proxy of [client, services["postgres"]!.proxy]) {
      expect(await proxy.edges()).toContainEqual(expect.objectContaining({ clientId: client.spiffeId, serverId: "spiffe://east/postgres", protocol: "tls", secured: true }));
      expect(await proxy.metrics()).toMatch(/^tcp_app_tls_total\{.*server_id="spiffe:\/\/east\/postgres".*\} [1-9]/m);
    }
    socket.destroy();
  });
});

describe.skipIf(!hasRedis)("Redis", () => {
  const args = (...command: readonly string[]): string[] => ["-p", String(services["redis"]!.entry), ...command];

  test("redis-cli sets and gets, and a thousand commands in one pipeline are answered", async () => {
    expect((await run("redis-cli", args("set", "greeting", "hello"))).stdout).toBe("OK\n");
    expect((await run("redis-cli", args("get", "greeting"))).stdout).toBe("hello\n");
    const piped = run("redis-cli", args("--pipe"));
    piped.child.stdin!.end("INCR counted\r\n".repeat(1000));
    expect((await piped).stdout).toContain("errors: 0, replies: 1000");
  });

  test("what is published reaches who is subscribed", async () => {
    const subscriber = spawn("redis-cli", args("subscribe", "news"), { stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface({ input: subscriber.stdout })[Symbol.asyncIterator]();
    const next = async (count: number): Promise<unknown[]> => Promise.all(Array.from({ length: count }, async () => (await lines.next()).value as unknown));
    try {
      expect(await next(3)).toEqual(["subscribe", "news", "1"]);
      expect((await run("redis-cli", args("publish", "news", "first light"))).stdout).toBe("1\n");
      expect(await next(3)).toEqual(["message", "news", "first light"]);
    } finally {
      await ended(subscriber);
    }
  });
});

describe("a server that speaks first", () => {
  test.skipIf(!hasSmtp)("takes a mail from curl, as aiosmtpd does", async () => {
    const sent = run("curl", ["-sS", "--max-time", "20", `smtp://127.0.0.1:${services["mail"]!.entry}`, "--mail-from", "a@east", "--mail-rcpt", "b@east", "--upload-file", "-"]);
    sent.child.stdin!.end("Subject: first light\r\n\r\nIt works.\r\n");
    await sent;
    await expect.poll(() => mails, { timeout: 20_000 }).toMatch(/Subject: first light\n(?:X-Peer: .*\n)?\nIt works\.\n/);
  });

  test("answers all that a client said who has ended its side since", async () => {
    const socket = await opened(services["polite"]!.entry);
    await readUntil(socket, "welcome\n");
    socket.end("one\ntwo\n");
    expect(await readAll(socket)).toEqual({ bytes: Buffer.from("heard one\nheard two\nfarewell\n"), ending: "end" });
  });
});
