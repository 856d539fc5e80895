import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { parseSpiffeIdPattern } from "../../../ca/pki/spiffe-id.ts";
import { east, eastIdentity, eastIssuer, holderOf, inboundHalf, metricValue, type HalfOptions, type TestHalf } from "../../support/data-path.ts";
import type { InboundDataPath } from "../../../proxy/inbound/server.ts";
import { manyAddresses } from "../../support/many-addresses.ts";
import { httpApp, knock, readAll, readUntil, tcpApp, tcpClient, tlsClient, tlsOver, type TestServer } from "../../support/tcp.ts";
import { testAuthority, type TestAuthority, type TestLeaf } from "../../support/test-ca.ts";

const west = testAuthority({ trustDomain: "west" });
const westIssuer = west.issuer();
/** Says it is east, and nobody in east knows it. */
const eastImpostor = testAuthority({ trustDomain: "east" });
const hello = eastIssuer.leaf({ spiffeId: "spiffe://east/hello" });

let app: TestServer;
let reachedApp = 0;
const running: TestHalf<InboundDataPath>[] = [];

beforeAll(async () => {
  app = await tcpApp((socket) => {
    reachedApp += 1;
    socket.on("error", () => undefined).end("from the app");
  });
});
afterEach(() => {
  for (const half of running.splice(0)) half.path.close();
  reachedApp = 0;
});
afterAll(() => app.close());

async function start(options: HalfOptions = {}): Promise<TestHalf<InboundDataPath>> {
  const half = await inboundHalf({ app: { host: "127.0.0.1", port: app.port }, inboundProtocol: "tcp", ...options });
  running.push(half);
  return half;
}

async function refusedBy(half: TestHalf<InboundDataPath>, reason: string, leaf: TestLeaf | undefined): Promise<void> {
  const client = await tlsClient(half.port, { leaf });
  client.write("anything");
  expect(String((await readAll(client)).bytes)).toBe("");
  expect(reachedApp).toBe(0);
  expect(refusals(half)).toEqual([`inbound_refused_total{reason="${reason}"} 1`]);
  expect(half.path.connections.count()).toBe(0);
}

test("a client of the own trust domain reaches the app", async () => {
  const half = await start();
  const client = await tlsClient(half.port, { leaf: hello });
  expect(String((await readAll(client)).bytes)).toBe("from the app");
  expect(client.getProtocol()).toBe("TLSv1.3");
});

test("the key exchange is with ML-KEM where the client has it, unless that is set off", async () => {
  const client = await tlsClient((await start()).port, { leaf: hello, ecdhCurve: "X25519MLKEM768" });
  expect(String((await readAll(client)).bytes)).toBe("from the app");
  const { port } = await start({ keyExchange: "x25519" });
  await expect(tlsClient(port, { leaf: hello, ecdhCurve: "X25519MLKEM768" })).rejects.toThrow();
  expect(String((await readAll(await tlsClient(port, { leaf: hello }))).bytes)).toBe("from the app");
});

describe("a client that completes the handshake is refused before a byte passes", () => {
  const both = (): readonly TestAuthority[] => [east, west];
  const table: readonly { claim: string; reason: string; leaf: TestLeaf | undefined; authorities?: readonly TestAuthority[] }[] = [
    { claim: "without a certificate", reason: "certificate_missing", leaf: undefined },
    { claim: "whose certificate has expired", reason: "path_expired", leaf: eastIssuer.leaf({ notAfterMs: Date.now() - 2000 }) },
    { claim: "whose certificate is not valid yet", reason: "path_not_yet_valid", leaf: eastIssuer.leaf({ notBeforeMs: Date.now() + 3_600_000 }) },
    { claim: "of our trust domain by another root", reason: "path_key_identifier_mismatch", leaf: eastImpostor.issuer().leaf() },
    { claim: "of a trust domain nobody told us of", reason: "svid_trust_domain_unknown", leaf: westIssuer.leaf() },
    { claim: "of our trust domain by the root of another one we know", reason: "path_not_found", leaf: westIssuer.leaf({ spiffeId: "spiffe://east/web" }), authorities: both() },
    { claim: "of another trust domain we know by our own root", reason: "path_not_found", leaf: eastIssuer.leaf({ spiffeId: "spiffe://west/web" }), authorities: both() },
    { claim: "of another trust domain, properly, while only our own is allowed", reason: "not_allowed", leaf: westIssuer.leaf(), authorities: both() },
    { claim: "that presents a CA certificate as its own", reason: "svid_leaf_is_ca", leaf: { ...hello, ...caAsLeaf() } },
  ];
  for (const { claim, reason, leaf, authorities } of table) {
    test(claim, async () => {
      const half = await start({ holder: holderOf(eastIdentity("world"), authorities) });
      await refusedBy(half, reason, leaf);
    });
  }
});

describe("the policy", () => {
  const allow = (...patterns: string[]) => ({ allow: patterns.map(parseSpiffeIdPattern) });

  test("an empty list lets nobody in", async () => {
    await refusedBy(await start({ allow: [] }), "not_allowed", hello);
  });

  test("a list without the client keeps it out", async () => {
    await refusedBy(await start(allow("spiffe://east/cart", "spiffe://east/hell/*")), "not_allowed", hello);
  });

  test("a foreign client that is on the list comes in", async () => {
    const half = await start({ holder: holderOf(eastIdentity("world"), [east, west]), ...allow("spiffe://west/*") });
    const client = await tlsClient(half.port, { leaf: westIssuer.leaf() });
    expect(String((await readAll(client)).bytes)).toBe("from the app");
  });
});

describe("revocation", () => {
  test("a revoked client is refused", async () => {
    const half = await start();
    half.holder.setRevoked(new Set([hello.serialNumber]));
    await refusedBy(half, "certificate_revoked", hello);
  });

  test("a client is refused that was known good a moment ago", async () => {
    const half = await start();
    await readAll(await tlsClient(half.port, { leaf: hello }));
    reachedApp = 0;
    half.holder.setRevoked(new Set([hello.serialNumber]));
    await refusedBy(half, "certificate_revoked", hello);
  });

  test("a client whose issuer is revoked is refused", async () => {
    const issuer = east.issuer();
    const half = await start();
    const { serialNumber } = new X509Certificate(issuer.der);
    half.holder.setRevoked(new Set([serialNumber.toLowerCase()]));
    await refusedBy(half, "certificate_revoked", issuer.leaf());
  });
});

describe("trust that changes", () => {
  test("a client whose root was removed is refused, though it was known good", async () => {
    const half = await start();
    await readAll(await tlsClient(half.port, { leaf: hello }));
    reachedApp = 0;
    half.holder.setBundles("east", new Map([["east", eastImpostor.bundle()]]));
    await refusedBy(half, "path_key_identifier_mismatch", hello);
  });
});

describe("without an identity", () => {
  test("a connection is refused before the handshake", async () => {
    const half = await start({ holder: holderOf(undefined) });
    await knock(half.port);
    expect(metricValue(half.metrics, "inbound_refused_total", 'reason="identity_unavailable"')).toBe(1);
  });

  test("an identity that expires stops new connections, and one that comes lets them in again", async () => {
    let nowMs = Date.now();
    const identity = eastIdentity("world");
    const half = await start({ holder: holderOf({ ...identity, notAfterMs: nowMs + 5000 }, [east], () => nowMs) });
    expect(String((await readAll(await tlsClient(half.port, { leaf: hello }))).bytes)).toBe("from the app");
    nowMs += 10_000;
    await knock(half.port);
    expect(metricValue(half.metrics, "inbound_refused_total", 'reason="identity_unavailable"')).toBe(1);
    half.holder.setIdentity(eastIdentity("world"));
    expect(String((await readAll(await tlsClient(half.port, { leaf: hello }))).bytes)).toBe("from the app");
  });
});

describe("what is not mutual TLS 1.3", () => {
  test("plain TCP is refused", async () => {
    const half = await start();
    const client = await tcpClient(half.port);
    client.write("\0\0\0\0hello, this is a database\n");
    await readAll(client);
    expect(reachedApp).toBe(0);
    expect(metricValue(half.metrics, "inbound_refused_total", 'reason="not_tls"')).toBe(1);
  });

  test("plain HTTP is refused", async () => {
    const half = await start({ inboundProtocol: "http" });
    const client = await tcpClient(half.port);
    client.write("GET / HTTP/1.1\r\nHost: world\r\n\r\n");
    expect(String((await readAll(client)).bytes)).not.toContain("from the app");
    expect(reachedApp).toBe(0);
    expect(metricValue(half.metrics, "inbound_refused_total", 'reason="not_tls"')).toBe(1);
  });

  test("TLS 1.2 is refused", async () => {
    const half = await start();
    await expect(tlsClient(half.port, { leaf: hello, minVersion: "TLSv1.2", maxVersion: "TLSv1.2" })).rejects.toThrow();
    expect(reachedApp).toBe(0);
    await expect.poll(() => metricValue(half.metrics, "inbound_refused_total", 'reason="tls_version"')).toBe(1);
  });
});

describe("resumption", () => {
  test("a client that offers the session of an earlier connection is verified in full, and refused once it is revoked", async () => {
    const half = await start();
    const first = await tlsClient(half.port, { leaf: hello, secureOptions: 0 });
    let session: Buffer | undefined;
    first.on("session", (ticket: Buffer) => (session = ticket));
    await readAll(first);
    expect(session).toBeDefined();

    const second = await tlsClient(half.port, { leaf: hello, secureOptions: 0, session });
    expect(second.isSessionReused()).toBe(false);
    await readAll(second);
    reachedApp = 0;
    half.holder.setRevoked(new Set([hello.serialNumber]));
    const third = await tlsClient(half.port, { leaf: hello, secureOptions: 0, session });
    expect(String((await readAll(third)).bytes)).toBe("");
    expect(reachedApp).toBe(0);
  });
});

describe("bounds", () => {
  test("a client that does not finish the handshake in time is dropped, however busily it trickles", async () => {
    const half = await start({ handshakeTimeoutMs: 80 });
    const client = await tcpClient(half.port);
    // A record of 1000 bytes announced, one byte every 10 ms.
    client.write(Buffer.from([0x16, 3, 1, 3, 0xe8]));
    const trickle = setInterval(() => client.write("\0"), 10);
    await readAll(client);
    clearInterval(trickle);
    await expect.poll(() => metricValue(half.metrics, "inbound_refused_total", 'reason="handshake_timeout"')).toBe(1);
  });

  test("connections beyond the maximum are turned away, and let in again when one has ended", async () => {
    const silent = await tcpApp((socket) => socket.on("error", () => undefined).write("hi"));
    const half = await start({ maxConnections: 1, app: { host: "127.0.0.1", port: silent.port } });
    const first = await tlsClient(half.port, { leaf: hello });
    await readUntil(first, "hi");
    expect((await readAll(await tlsClient(half.port, { leaf: hello }))).bytes.length).toBe(0);
    expect(metricValue(half.metrics, "inbound_refused_total", 'reason="too_many_connections"')).toBe(1);
    first.raw.resetAndDestroy();
    await expect.poll(() => half.path.connections.count()).toBe(0);
    await readUntil(await tlsClient(half.port, { leaf: hello }), "hi");
    await silent.close();
  });

  test("a client that takes every connection keeps no other client out, whose own are left alone", async () => {
    const echo = await tcpApp((socket) => socket.on("error", () => undefined).pipe(socket));
    const half = await start({ maxConnections: 4, app: { host: "127.0.0.1", port: echo.port } });
    const open = async (leaf: TestLeaf) => {
      const client = await tlsClient(half.port, { leaf });
      client.write("hello");
      await readUntil(client, "hello");
      return client;
    };
    const web = eastIssuer.leaf({ spiffeId: "spiffe://east/web" });
    const greedy = [await open(hello), await open(hello), await open(hello), await open(hello)];
    const lost = Promise.race(greedy.map((client) => readAll(client)));
    const first = await open(web);
    expect((await lost).ending).toBe("reset");
    expect(metricValue(half.metrics, "connections_cut_total", 'reason="displaced"')).toBe(1);
    const second = await open(web);
    // Half of them: now nobody holds too many.
    expect((await readAll(await tlsClient(half.port, { leaf: eastIssuer.leaf({ spiffeId: "spiffe://east/cart" }) }))).bytes.length).toBe(0);
    expect(half.path.connections.count()).toBe(4);
    for (const client of [first, second, ...greedy]) client.destroy();
    await echo.close();
  });

  const displaced = (half: TestHalf<InboundDataPath>) => metricValue(half.metrics, "inbound_refused_total", 'reason="handshake_displaced"');

  test("connections that never begin their handshake keep nobody out: the oldest makes room", async () => {
    const half = await start({ maxConnections: 2, handshakeTimeoutMs: 60_000 });
    const oldest = readAll(await tcpClient(half.port));
    const younger = await tcpClient(half.port);
    expect(String((await readAll(await tlsClient(half.port, { leaf: hello }))).bytes)).toBe("from the app");
    expect((await oldest).ending).toBe("reset");
    expect(younger.destroyed).toBe(false);
    expect(displaced(half)).toBe(1);
    younger.destroy();
  });

  test.skipIf(process.platform !== "linux")("two connections from the same port to two of our addresses are not mistaken for each other", async () => {
    const echo = await tcpApp((socket) => socket.on("error", () => undefined).pipe(socket));
    const half = await start({ inbound: { host: "0.0.0.0", port: 0 }, app: { host: "127.0.0.1", port: echo.port }, handshakeTimeoutMs: 2000 });
    const open = async (host: string, localPort?: number) => {
      const socket = connect({ port: half.port, host, localAddress: "127.0.0.1", ...(localPort !== undefined && { localPort }) });
      await once(socket, "connect");
      return socket.on("error", () => undefined);
    };
    const one = await open("127.0.0.1");
    const two = readAll(await open("127.0.0.2", one.localPort));
    const client = await tlsOver(one, { leaf: hello });
    client.write("ping");
    expect(await readUntil(client, "ping")).toBe("ping");
    expect((await two).ending).toBe("reset");
    await expect.poll(() => metricValue(half.metrics, "inbound_refused_total", 'reason="handshake_timeout"')).toBe(1);
    half.holder.setRevoked(new Set([hello.serialNumber]));
    expect((await readAll(client)).ending).not.toBe("end");
    await echo.close();
  });

  test("the addresses of an IPv6 network have one share of the handshakes", async () => {
    const half = await start({ handshakeTimeoutMs: 60_000 });
    const restore = manyAddresses();
    const idle: Socket[] = [];
    try {
      for (let opened = 0; opened < 256; opened++) idle.push(await tcpClient(half.port));
      expect(displaced(half)).toBe(0);
      idle.push(await tcpClient(half.port));
      await expect.poll(() => idle[0]!.destroyed).toBe(true);
      expect(displaced(half)).toBe(1);
    } finally {
      restore();
      for (const socket of idle) socket.destroy();
    }
  });

  // Other systems have one loopback address.
  test.skipIf(process.platform !== "linux")("handshakes are bounded for each address, so that one displaces its own first, and in all", async () => {
    const half = await start({ handshakeTimeoutMs: 60_000 });
    const from = async (localAddress: string, count: number) => {
      for (let opened = 0; opened < count; opened++) {
        const socket = connect({ port: half.port, host: "127.0.0.1", localAddress }).on("error", () => undefined);
        await once(socket, "connect");
        idle.push(socket);
      }
    };
    const idle: Socket[] = [];
    await from("127.0.0.1", 1);
    await from("127.0.0.2", 256);
    expect(displaced(half)).toBe(0);
    await from("127.0.0.2", 1);
    await expect.poll(() => displaced(half)).toBe(1);
    await expect.poll(() => idle[1]!.destroyed).toBe(true);
    await from("127.0.0.3", 255);
    expect(displaced(half)).toBe(1);
    expect(idle[0]!.destroyed).toBe(false);
    await from("127.0.0.3", 1);
    await expect.poll(() => idle[0]!.destroyed).toBe(true);
    expect(displaced(half)).toBe(2);
    for (const socket of idle) socket.destroy();
  });
});

test("a renewed identity is presented in the next handshake, and open connections go on", async () => {
  const echo = await tcpApp((socket) => socket.on("error", () => undefined).pipe(socket));
  const half = await start({ app: { host: "127.0.0.1", port: echo.port } });
  const before = await tlsClient(half.port, { leaf: hello });
  const renewed = eastIdentity("world");
  half.holder.setIdentity(renewed);
  const after = await tlsClient(half.port, { leaf: hello });
  expect(before.getPeerX509Certificate()?.serialNumber.toLowerCase()).not.toBe(renewed.serialNumber);
  expect(after.getPeerX509Certificate()?.serialNumber.toLowerCase()).toBe(renewed.serialNumber);
  before.write("still here");
  expect(await readUntil(before, "still here")).toBe("still here");
  before.destroy();
  after.destroy();
  await echo.close();
});

test("refusals of one peer are logged once a second, and all of them counted", async () => {
  const half = await start({ allow: [] });
  for (let count = 0; count < 5; count++) await readAll(await tlsClient(half.port, { leaf: hello }));
  expect(metricValue(half.metrics, "inbound_refused_total", 'reason="not_allowed"')).toBe(5);
  expect(half.logged.filter((line) => line.includes("not in the allow list")).length).toBeLessThan(5);
});

test.each([
  ["that speaks plain text", undefined, "not_tls"],
  ["of a trust domain that is unknown", westIssuer.leaf({ spiffeId: "spiffe://west/hello" }), "svid_trust_domain_unknown"],
])("so are those of a stranger %s, whatever port it comes from", async (_, leaf, reason) => {
  const half = await start();
  for (let count = 0; count < 30; count++) {
    if (leaf === undefined) await knock(half.port, "GET / HTTP/1.1\r\n\r\n");
    else await readAll(await tlsClient(half.port, { leaf }));
  }
  await expect.poll(() => metricValue(half.metrics, "inbound_refused_total", `reason="${reason}"`)).toBe(30);
  expect(half.logged.filter((line) => line.includes(reason)).length).toBeLessThan(30);
});

const refusals = ({ metrics }: TestHalf<InboundDataPath>): string[] => metrics.text().split("\n").filter((line) => line.startsWith("inbound_refused_total{"));

function caAsLeaf(): Pick<TestLeaf, "chainPem" | "privateKeyPem"> {
  const authority = east.issuer({ spiffeId: "spiffe://east/hello" });
  return { chainPem: authority.pem, privateKeyPem: authority.privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
}

describe("permissive", () => {
  test("takes plain text beside mutual TLS: without an identity header, and shown as unsecured", async () => {
    const web = await httpApp((request, response) => response.end(`from ${String(request.headers["countersign-client-id"])}`));
    const half = await start({ app: { host: "127.0.0.1", port: web.port }, inboundProtocol: "detect", inboundMode: "permissive" });
    const request = "GET / HTTP/1.1\r\nHost: world\r\nCountersign-Client-Id: spiffe://east/admin\r\n\r\n";
    const plain = await tcpClient(half.port);
    plain.write(request);
    expect(await readUntil(plain, "from ")).toMatch(/^HTTP\/1\.1 200 /);
    const secured = await tlsClient(half.port, { leaf: hello });
    secured.write(request);
    expect(await readUntil(secured, "from spiffe://east/hello")).toMatch(/^HTTP\/1\.1 200 /);
    expect(half.path.connections.edges()).toMatchObject([
      { clientId: "", secured: false, reason: "plain_text", connections: 1 }, { clientId: "spiffe://east/hello", secured: true, connections: 1 },
    ]);
    plain.write(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    expect(String((await readAll(plain)).bytes)).toMatch(/from undefined$/);
    secured.destroy();
    await web.close();
  });

  test("lets a server speak first, where it is declared to, to a client that says nothing in plain text", async () => {
    const greeter = await tcpApp((socket) => void socket.on("error", () => undefined).on("data", (data) => socket.end(`echo ${data}`)).write("greeting\n"));
    const options: HalfOptions = { app: { host: "127.0.0.1", port: greeter.port }, inboundMode: "permissive", handshakeTimeoutMs: 1000 };
    for (const declared of [{ inboundProtocol: "tcp" }, { inboundProtocol: "detect", opaquePorts: new Set([greeter.port]) }] as const) {
      const half = await start({ ...options, ...declared });
      const plain = await tcpClient(half.port);
      expect(await readUntil(plain, "greeting\n")).toBe("greeting\n");
      expect(half.path.connections.edges()).toMatchObject([{ clientId: "", secured: false, reason: "plain_text", protocol: "tcp" }]);
      plain.write("x");
      expect(String((await readAll(plain)).bytes)).toBe("echo x");
    }
    await greeter.close();
  });

  test("counts a client that says nothing to anything else as a handshake that did not end", async () => {
    const half = await start({ inboundProtocol: "detect", inboundMode: "permissive", handshakeTimeoutMs: 200 });
    expect(await knock(half.port)).toBe("");
    await expect.poll(() => refusals(half), { timeout: 30_000 }).toEqual(['inbound_refused_total{reason="handshake_timeout"} 1']);
    expect(reachedApp).toBe(0);
  });
});
