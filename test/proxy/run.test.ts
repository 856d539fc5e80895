import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { createConnection, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { encodeBootstrap } from "../../ca/pki/bootstrap.ts";
import { readConfig } from "../../proxy/config/config.ts";
import { KeystoreError } from "../../proxy/identity/keystore.ts";
import { ListenError, runProxy, type RunningProxy } from "../../proxy/run.ts";
import { fakeCa, type FakeCa } from "../support/fake-ca.ts";
import { until } from "../support/manual-clock.ts";
import { recordedLog } from "../support/recorded-log.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function startCa(): Promise<FakeCa> {
  const ca = await fakeCa();
  closing.push(() => ca.stop());
  return ca;
}

async function run(ca: FakeCa, ...args: readonly string[]): Promise<RunningProxy & { readonly log: ReturnType<typeof recordedLog> }> {
  const free = ["inbound", "outbound", "admin"].filter((name) => !args.includes(`--${name}`)).flatMap((name) => [`--${name}`, "127.0.0.1:0"]);
  const log = recordedLog();
  const config = readConfig({ args: [...free, ...args], env: { COUNTERSIGN_BOOTSTRAP: encodeBootstrap(ca.bootstrap) } });
  const proxy = await runProxy({ config, log });
  closing.push(() => proxy.close());
  return { ...proxy, log };
}

const logged = ({ log }: { readonly log: ReturnType<typeof recordedLog> }, message: string) =>
  until(`"${message}" in the log`, () => log.lines.some((line) => line.message === message));

/** Certificate, revocations and policy are there. */
async function ready(proxy: { readonly log: ReturnType<typeof recordedLog> }): Promise<void> {
  await logged(proxy, "revocations in force");
  await logged(proxy, "policy in force");
}

function ask(address: string | undefined, path: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    get(`http://${address}${path}`, { agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk)).on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    }).on("error", reject);
  });
}

/** An app that sends back what it gets. */
async function echo(): Promise<number> {
  const server = createServer((socket) => socket.on("error", () => undefined).pipe(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** A workload of the same trust domain, connected to the inbound side. */
async function connectAsPeer(
  ca: FakeCa, address: string | undefined, leaf = ca.core.issuer.leaf({ spiffeId: "spiffe://east/ns/shop/sa/peer" }),
): Promise<TLSSocket> {
  const [host, port] = (address ?? "").split(":");
  const socket = connect({ host, port: Number(port), cert: leaf.chainPem, key: leaf.privateKeyPem, rejectUnauthorized: false });
  closing.push(() => socket.destroy());
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket;
}

/** What an echo says to "hello"; nothing when the connection is closed instead. */
function answered(socket: TLSSocket): Promise<string> {
  socket.write("hello");
  return new Promise((resolve) => {
    socket.on("data", (chunk: Buffer) => resolve(String(chunk)));
    socket.on("close", () => resolve(""));
  });
}

describe("start", () => {
  test("a CA that is away keeps it unready, with the reason, and in the log; it recovers by itself", async () => {
    const ca = await startCa();
    await ca.stop();
    const proxy = await run(ca);
    await logged(proxy, "no certificate yet");
    const readiness = await ask(proxy.admin, "/readyz");
    expect(readiness.status).toBe(503);
    expect(readiness.body).toContain("cannot reach the CA");
    expect((await ask(proxy.admin, "/livez")).status).toBe(200);
    await ca.start();
    await ready(proxy);
    expect((await ask(proxy.admin, "/readyz")).status).toBe(200);
  });

  test("a restart without the CA goes on refusing whom it refused before, and serves everybody else", async () => {
    const ca = await startCa();
    const folder = mkdtempSync(join(tmpdir(), "countersign-run-"));
    closing.push(() => rmSync(folder, { recursive: true }));
    const mallory = ca.core.issuer.leaf({ spiffeId: "spiffe://east/ns/shop/sa/mallory" });
    ca.core.revocations.push({
      sequence: 1, serialNumber: mallory.serialNumber, reason: "keyCompromise", revokedAt: "2026-01-01T00:00:00Z", notAfter: "2046-01-01T00:00:00Z",
    });
    const args = ["--state-dir", folder, "--inbound-protocol", "tcp", "--app", `127.0.0.1:${await echo()}`];
    const before = await run(ca, ...args);
    await ready(before);
    before.close();
    await ca.stop();
    const proxy = await run(ca, ...args);
    expect((await ask(proxy.admin, "/readyz")).status).toBe(200);
    expect(await answered(await connectAsPeer(ca, proxy.inbound[0], mallory))).toBe("");
    expect(await answered(await connectAsPeer(ca, proxy.inbound[0]))).toBe("hello");

    rmSync(join(folder, "revocations.json"));
    const ignorant = await run(ca, ...args);
    expect(await ask(ignorant.admin, "/readyz")).toMatchObject({ status: 503, body: expect.stringContaining("not known in full") as string });
    await expect(connectAsPeer(ca, ignorant.inbound[0])).rejects.toThrow();
  });

  test("a port in use is named, and costs no token", async () => {
    const ca = await startCa();
    const port = await echo();
    for (const what of ["inbound", "outbound", "admin", "metrics"]) {
      const error = await run(ca, `--${what}`, `127.0.0.1:${port}`).then(() => undefined, (thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(ListenError);
      expect((error as Error).message).toContain(`cannot listen on 127.0.0.1:${port} (${what}): the port is in use`);
    }
    expect(ca.core.requests).toEqual([]);
  });

  test("a state directory that others may enter costs no token either", async () => {
    const ca = await startCa();
    const folder = mkdtempSync(join(tmpdir(), "countersign-run-"));
    closing.push(() => rmSync(folder, { recursive: true }));
    chmodSync(folder, 0o755);
    await expect(run(ca, "--state-dir", folder)).rejects.toThrow(KeystoreError);
    const file = join(folder, "file");
    writeFileSync(file, "");
    await expect(run(ca, "--state-dir", file)).rejects.toThrow(/cannot make the folder .*file \(a file is there\)/);
    expect(ca.core.requests).toEqual([]);
  });

  test("a listener of the app's beyond loopback is warned of", async () => {
    const ca = await startCa();
    const warned = async (...args: readonly string[]) => (await run(ca, ...args)).log.lines.filter(({ message }) => message.includes("keep it on loopback")).length;
    expect(await warned("--outbound", "0.0.0.0:0", "--tcp", "[::]:0=10.0.0.7:4143,spiffe://east/cart")).toBe(2);
    expect(await warned()).toBe(0);
  });

  test("sides that are off are not listened on", async () => {
    const ca = await startCa();
    const proxy = await run(ca, "--inbound", "off", "--outbound", "off", "--admin", "off");
    expect(proxy).toMatchObject({ inbound: [], outbound: [], admin: undefined, scraped: undefined });
  });

  test("what is open to scrapers has the proxy's metrics, nothing that the admin listener has beside them, and no secret", async () => {
    const ca = await startCa();
    const proxy = await run(ca, "--metrics", "0.0.0.0:0");
    await ready(proxy);
    const scraped = `127.0.0.1:${proxy.scraped!.split(":")[1]}`;
    const { body } = await ask(scraped, "/metrics");
    for (const name of ["identity_cert_refresh_failures", "identity_cert_expiration_timestamp_seconds", "revocation_poll_lag_seconds"]) expect(body).toMatch(new RegExp(`^${name} \\d`, "m"));
    expect(await ask(scraped, "/readyz")).toEqual({ status: 200, body: "ready\n" });
    const onAdmin = (await ask(proxy.admin, "/")).body.match(/\/\w+/g)!;
    const answers = await Promise.all(onAdmin.map(async (path) => [path, (await ask(scraped, path)).status]));
    expect(Object.fromEntries(answers)).toEqual({ "/livez": 200, "/readyz": 200, "/metrics": 200, "/identity": 404, "/edges": 404, "/tap": 404 });
    expect(body).not.toMatch(/-----BEGIN|PRIVATE|token="/);
    expect(body).not.toContain(ca.bootstrap.token);
    // Its place is not another way to the admin listener's.
    expect((await ask(proxy.admin, "/identity")).status).toBe(200);
    proxy.close();
    await expect(ask(scraped, "/livez")).rejects.toThrow(/ECONNREFUSED/);
  });
});

describe("an app that does TLS itself", () => {
  test("finds the identity in files and at the Workload API's socket, whose name is gone after the end", async () => {
    const ca = await startCa();
    const folder = mkdtempSync(join(tmpdir(), "countersign-run-"));
    closing.push(() => rmSync(folder, { recursive: true }));
    const socket = join(folder, "workload.sock");
    const proxy = await run(ca, "--write-dir", join(folder, "tls"), "--workload-socket", socket);
    await logged(proxy, "identity files written");
    expect(readFileSync(join(folder, "tls", "bundle.pem"), "utf8")).toBe(ca.core.root.pem);
    const client = connectHttp2("http://localhost", { createConnection: () => createConnection(socket) });
    closing.push(() => client.destroy());
    client.on("error", () => undefined);
    const stream = client.request({
      ":method": "POST", ":path": "/SpiffeWorkloadAPI/FetchX509SVID", "content-type": "application/grpc", "workload.spiffe.io": "true",
    });
    stream.on("error", () => undefined).end(Buffer.alloc(5));
    const [message] = (await once(stream, "data")) as [Buffer];
    expect(message.includes(new X509Certificate(readFileSync(join(folder, "tls", "cert.pem"))).raw)).toBe(true);
    await proxy.drain();
    expect(existsSync(socket)).toBe(false);
  });

  test("a socket that somebody listens on costs no token", async () => {
    const ca = await startCa();
    const folder = mkdtempSync(join(tmpdir(), "countersign-run-"));
    closing.push(() => rmSync(folder, { recursive: true }));
    const socket = join(folder, "workload.sock");
    await run(ca, "--workload-socket", socket);
    const other = await startCa();
    await expect(run(other, "--workload-socket", socket)).rejects.toThrow(/another process listens there/);
    expect(other.core.requests).toEqual([]);
  });
});

describe("drain", () => {
  test("lets an open connection finish: not ready, nothing new, the end only after it", async () => {
    const ca = await startCa();
    const proxy = await run(ca, "--inbound-protocol", "tcp", "--app", `127.0.0.1:${await echo()}`);
    await ready(proxy);
    const peer = await connectAsPeer(ca, proxy.inbound[0]);
    peer.write("one");
    expect(String((await once(peer, "data"))[0])).toBe("one");
    expect(JSON.parse((await ask(proxy.admin, "/edges")).body)).toMatchObject({ edges: [{ clientId: "spiffe://east/ns/shop/sa/peer", secured: true }] });

    let ended = false;
    const drained = proxy.drain().then(() => (ended = true));
    const readiness = await ask(proxy.admin, "/readyz");
    expect(readiness.status).toBe(503);
    expect(readiness.body).toContain("shutting down");
    await expect(connectAsPeer(ca, proxy.inbound[0])).rejects.toThrow(/ECONNREFUSED/);
    peer.write("two");
    expect(String((await once(peer, "data"))[0])).toBe("two");
    expect(ended).toBe(false);
    peer.end();
    await drained;
    await expect(ask(proxy.admin, "/livez")).rejects.toThrow(/ECONNREFUSED/);
  });

  test("cuts what is still open after the drain timeout", async () => {
    const ca = await startCa();
    const proxy = await run(ca, "--inbound-protocol", "tcp", "--app", `127.0.0.1:${await echo()}`, "--drain-timeout", "20ms");
    await ready(proxy);
    const peer = await connectAsPeer(ca, proxy.inbound[0]);
    peer.write("one");
    await once(peer, "data");
    const cut = new Promise((resolve) => peer.on("close", resolve));
    await Promise.all([cut, proxy.drain()]);
  });
});
