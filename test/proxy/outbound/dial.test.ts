import { constants, X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { TLSSocket } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import type { OutboundDataPath } from "../../../proxy/outbound/start.ts";
import { east, eastIdentity, eastIssuer, holderOf, metricValue, outboundHalf, portOf, type HalfOptions, type TestHalf } from "../../support/data-path.ts";
import { knock, readAll, readUntil, tcpApp, tcpClient, tlsServer, type TestServer } from "../../support/tcp.ts";
import { testAuthority, type TestAuthority, type TestLeaf } from "../../support/test-ca.ts";

const west = testAuthority({ trustDomain: "west" });
const westIssuer = west.issuer();
const worldId = "spiffe://east/world";
const world = eastIssuer.leaf({ spiffeId: worldId });
const servers: TestServer[] = [];
const halves: TestHalf<OutboundDataPath>[] = [];

afterEach(async () => {
  for (const { path } of halves.splice(0)) path.close();
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

/** An outbound half whose one TCP listener leads to `port`. */
async function start(port: number, options: HalfOptions = {}, serverId = worldId): Promise<TestHalf<OutboundDataPath>> {
  const listener = { listen: { host: "127.0.0.1", port: 0 }, address: { host: "127.0.0.1", port }, serverId: parseSpiffeId(serverId) };
  const half = await outboundHalf({ outbound: undefined, tcpListeners: [listener], ...options });
  halves.push(half);
  return half;
}

async function serve(leaf: TestLeaf, onConnection: (socket: TLSSocket) => void, options = {}): Promise<TestServer> {
  const server = await tlsServer(leaf, onConnection, options);
  servers.push(server);
  return server;
}

/** Everything a server has got in plain text. */
function recorder(): { readonly received: () => string; readonly onConnection: (socket: TLSSocket) => void } {
  let received = "";
  return { received: () => received, onConnection: (socket) => void socket.on("data", (chunk: Buffer) => (received += String(chunk))).on("end", () => socket.end()) };
}

async function refused(half: TestHalf<OutboundDataPath>, reason: string): Promise<void> {
  const app = await tcpClient(half.port);
  app.write("secret");
  const { bytes, ending } = await readAll(app);
  expect(bytes.length).toBe(0);
  expect(ending).toBe("reset");
  expect(metricValue(half.metrics, "outbound_refused_total", `reason="${reason}"`)).toBe(1);
  expect(half.path.connections.count()).toBe(0);
}

describe("the key exchange", () => {
  const server = () => serve(world, (socket) => socket.end("hybrid"), { ecdhCurve: "X25519MLKEM768" });

  test("is with ML-KEM where the server has it", async () => {
    const half = await start((await server()).port);
    expect(String((await readAll(await tcpClient(half.port))).bytes)).toBe("hybrid");
  });

  test("is without it where that is set", async () => {
    await refused(await start((await server()).port, { keyExchange: "x25519" }), "handshake_failed");
    const plain = await serve(world, (socket) => socket.end("plain"), { ecdhCurve: "X25519" });
    const half = await start(plain.port, { keyExchange: "x25519" });
    expect(String((await readAll(await tcpClient(half.port))).bytes)).toBe("plain");
  });
});

describe("a server that is not the one named gets not one byte", () => {
  const both: readonly TestAuthority[] = [east, west];
  const table: readonly { claim: string; leaf: TestLeaf; reason: string; authorities?: readonly TestAuthority[]; serverId?: string }[] = [
    { claim: "another workload of our trust domain", leaf: eastIssuer.leaf({ spiffeId: "spiffe://east/cart" }), reason: "svid_id_unexpected" },
    { claim: "a longer ID that begins with the one named", leaf: eastIssuer.leaf({ spiffeId: `${worldId}/x` }), reason: "svid_id_unexpected" },
    { claim: "the name, by an unknown root", leaf: testAuthority({ trustDomain: "east" }).issuer().leaf({ spiffeId: worldId }), reason: "path_key_identifier_mismatch" },
    { claim: "the name, by the root of another trust domain we know", leaf: westIssuer.leaf({ spiffeId: worldId }), reason: "path_not_found", authorities: both },
    {
      claim: "a foreign name, by our own root", leaf: eastIssuer.leaf({ spiffeId: "spiffe://west/db" }), reason: "path_not_found", authorities: both,
      serverId: "spiffe://west/db",
    },
    { claim: "of a trust domain nobody told us of", leaf: westIssuer.leaf(), reason: "svid_trust_domain_unknown", serverId: "spiffe://west/workload" },
    { claim: "expired", leaf: eastIssuer.leaf({ spiffeId: worldId, notAfterMs: Date.now() - 2000 }), reason: "path_expired" },
    { claim: "not valid yet", leaf: eastIssuer.leaf({ spiffeId: worldId, notBeforeMs: Date.now() + 3_600_000 }), reason: "path_not_yet_valid" },
  ];
  for (const { claim, leaf, reason, authorities, serverId } of table) {
    test(claim, async () => {
      const { received, onConnection } = recorder();
      const server = await serve(leaf, onConnection);
      const half = await start(server.port, { holder: holderOf(eastIdentity("hello"), authorities) }, serverId);
      await refused(half, reason);
      expect(received()).toBe("");
    });
  }

  test("revoked, though it was known good a moment ago", async () => {
    const { received, onConnection } = recorder();
    const server = await serve(world, onConnection);
    const half = await start(server.port);
    const app = await tcpClient(half.port);
    app.end("fine");
    await readAll(app);
    half.holder.setRevoked(new Set([world.serialNumber]));
    await refused(half, "certificate_revoked");
    expect(received()).toBe("fine");
  });

  test("one that speaks TLS 1.2 only", async () => {
    const { received, onConnection } = recorder();
    const server = await serve(world, onConnection, { maxVersion: "TLSv1.2" });
    await refused(await start(server.port), "handshake_failed");
    expect(received()).toBe("");
  });

  test("one that speaks plain text", async () => {
    let received = "";
    const server = await tcpApp((socket) => {
      socket.on("error", () => undefined).on("data", (chunk: Buffer) => (received += chunk.toString("latin1"))).write("220 welcome\r\n");
    });
    servers.push(server);
    await refused(await start(server.port), "handshake_failed");
    expect(received).not.toContain("secret");
  });

  test("one that does not answer the handshake in time", async () => {
    const server = await tcpApp((socket) => void socket.on("error", () => undefined).resume());
    servers.push(server);
    await refused(await start(server.port, { handshakeTimeoutMs: 50 }), "handshake_timeout");
  });

  test("one where nothing listens", async () => {
    const server = await tcpApp(() => undefined);
    await server.close();
    await refused(await start(server.port), "connect_failed");
  });
});

test("a client certificate is always presented, with its chain", async () => {
  const presented = Promise.withResolvers<string[]>();
  const server = await serve(world, (socket) => {
    const leaf = socket.getPeerX509Certificate();
    presented.resolve([leaf, leaf?.issuerCertificate].map((certificate) => certificate?.fingerprint256 ?? ""));
    socket.end();
  });
  const identity = eastIdentity("hello");
  const half = await start(server.port, { holder: holderOf(identity) });
  await readAll(await tcpClient(half.port));
  expect(await presented.promise).toEqual(identity.chain.map((der) => new X509Certificate(der).fingerprint256));
});

test("a server that offers tickets gets a full handshake each time", async () => {
  const reused: boolean[] = [];
  const server = await serve(world, (socket) => {
    reused.push(socket.isSessionReused());
    socket.end("hi");
  }, { secureOptions: constants.SSL_OP_ALL });
  const half = await start(server.port);
  for (let count = 0; count < 3; count++) expect(String((await readAll(await tcpClient(half.port))).bytes)).toBe("hi");
  expect(reused).toEqual([false, false, false]);
});

test("without an identity nothing goes out", async () => {
  const { onConnection } = recorder();
  const server = await serve(world, onConnection);
  let touched = 0;
  server.server.on("connection", () => touched++);
  const half = await start(server.port, { holder: holderOf(undefined) });
  expect(await knock(half.port, "secret")).toBe("");
  expect(metricValue(half.metrics, "outbound_refused_total", 'reason="identity_unavailable"')).toBe(1);
  expect(touched).toBe(0);
});

describe("connections beyond the maximum are refused", () => {
  test("those of the app", async () => {
    const server = await serve(world, (socket) => void socket.write("hi"));
    const half = await start(server.port, { maxConnections: 1 });
    const first = await tcpClient(half.port);
    await readUntil(first, "hi");
    expect(await knock(half.port)).toBe("");
    await expect.poll(() => metricValue(half.metrics, "outbound_refused_total", 'reason="too_many_connections"')).toBe(1);
    first.destroy();
  });

  test("those to servers, over all listeners together", async () => {
    const server = await serve(world, (socket) => void socket.write("hi"));
    const listener = { listen: { host: "127.0.0.1", port: 0 }, address: { host: "127.0.0.1", port: server.port }, serverId: parseSpiffeId(worldId) };
    const half = await start(server.port, { maxConnections: 1, tcpListeners: [listener, listener] });
    const [first, second] = half.path.addresses.map(portOf);
    const held = await tcpClient(first!);
    await readUntil(held, "hi");
    expect(await knock(second!)).toBe("");
    expect(metricValue(half.metrics, "outbound_refused_total", 'reason="too_many_connections"')).toBe(1);
    held.destroy();
  });
});

describe("a fixed TCP listener", () => {
  test("carries bytes both ways with half-close, whichever side ends first", async () => {
    const server = await serve(world, (socket) => {
      let request = "";
      socket.on("data", (chunk: Buffer) => (request += String(chunk))).on("end", () => socket.end(`you said ${request}`));
    });
    const half = await start(server.port);
    const app = await tcpClient(half.port);
    app.end("question");
    expect(await readAll(app)).toEqual({ bytes: Buffer.from("you said question"), ending: "end" });

    const late = Promise.withResolvers<string>();
    const other = await serve(world, (socket) => {
      socket.end("greeting");
      void readAll(socket).then(({ bytes }) => late.resolve(String(bytes)));
    });
    const second = await tcpClient((await start(other.port)).port);
    expect(String((await readAll(second)).bytes)).toBe("greeting");
    second.end("late words");
    expect(await late.promise).toBe("late words");
  });

  test("a server that is reset resets the app", async () => {
    const opened = Promise.withResolvers<void>();
    const server = await serve(world, (socket) => void socket.write("beginning", () => opened.resolve()));
    const raws: import("node:net").Socket[] = [];
    server.server.on("connection", (raw) => raws.push(raw));
    const half = await start(server.port);
    const app = await tcpClient(half.port);
    await readUntil(app, "beginning");
    const all = readAll(app);
    raws[0]!.resetAndDestroy();
    expect((await all).ending).toBe("reset");
  });

  test("an app that leaves while the server is being reached leaves nothing behind", async () => {
    const server = await serve(world, () => undefined);
    const half = await start(server.port);
    const app = await tcpClient(half.port);
    app.resetAndDestroy();
    await once(server.server, "secureConnection");
    await expect.poll(() => half.path.connections.count()).toBe(0);
  });
});
