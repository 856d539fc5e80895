import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { Service } from "../../../ca/contract/services.ts";
import { eastIdentity, holderOf, inboundHalf, metricValue, outboundHalf, policyFor } from "../../support/data-path.ts";
import { echoApp, readAll, readUntil, tcpApp, tcpClient } from "../../support/tcp.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const hello = eastIdentity("hello");

/** A tunnel of hello's app, through which bytes have passed, to a service that the CA tells. */
async function openTunnel() {
  const app = await echoApp();
  const inbound = await inboundHalf({ app: { host: "127.0.0.1", port: app.port } });
  const holder = holderOf(hello);
  const outbound = await outboundHalf({ holder });
  closing.push(() => app.close(), () => inbound.path.close(), () => outbound.path.close());
  const db: Service = { name: "db", port: 5432, spiffeId: "spiffe://east/world", addresses: [{ host: "127.0.0.1", port: inbound.port }] };
  const tell = (...services: readonly Service[]): void => holder.setPolicy(policyFor(hello, [], services));
  tell(db);
  const client: Socket = await tcpClient(outbound.port);
  client.write("CONNECT db:5432 HTTP/1.1\r\nhost: db:5432\r\n\r\n");
  await readUntil(client, "\r\n\r\n");
  client.write("ping\n");
  await readUntil(client, "ping\n");
  return { db, tell, client, outbound };
}

describe("a tunnel to a service", () => {
  const gone: readonly [claim: string, (db: Service) => readonly Service[]][] = [
    ["that is withdrawn", () => []],
    ["that another identity must answer now", (db) => [{ ...db, spiffeId: "spiffe://east/db2" }]],
    ["that has another port now", (db) => [{ ...db, port: 5433 }]],
  ];
  for (const [claim, change] of gone) {
    test(`${claim} is cut`, async () => {
      const { db, tell, client, outbound } = await openTunnel();
      const rest = readAll(client);
      tell(...change(db));
      expect((await rest).ending).toBe("reset");
      expect(metricValue(outbound.metrics, "connections_cut_total", 'direction="outbound"', 'reason="policy_denied"')).toBe(1);
    });
  }

  test("that is withdrawn while its server is being reached is not opened", async () => {
    const inbound = await inboundHalf({ app: { host: "127.0.0.1", port: 1 } });
    const holder = holderOf(hello);
    const outbound = await outboundHalf({ holder });
    // On the way to the server, whose identity is the right one still.
    const gate = await tcpApp((socket) => {
      holder.setPolicy(policyFor(hello, [], []));
      const on = connect(inbound.port, "127.0.0.1").on("error", () => undefined).on("close", () => socket.destroy());
      socket.on("error", () => undefined).on("close", () => on.destroy()).pipe(on).pipe(socket);
    });
    closing.push(() => gate.close(), () => inbound.path.close(), () => outbound.path.close());
    holder.setPolicy(policyFor(hello, [], [{ name: "db", port: 5432, spiffeId: "spiffe://east/world", addresses: [{ host: "127.0.0.1", port: gate.port }] }]));
    const client = await tcpClient(outbound.port);
    client.write("CONNECT db:5432 HTTP/1.1\r\nhost: db:5432\r\n\r\n");
    expect(String((await readAll(client)).bytes)).toMatch(/^HTTP\/1\.1 502 [^]*the service was withdrawn/);
    expect(metricValue(outbound.metrics, "outbound_refused_total", 'reason="route_withdrawn"')).toBe(1);
  });

  test("goes on where only addresses or other services change", async () => {
    const { db, tell, client, outbound } = await openTunnel();
    tell({ ...db, addresses: [{ host: "127.0.0.2", port: 4143 }] }, { name: "web", spiffeId: "spiffe://east/web" });
    tell({ ...db, addresses: [{ host: "127.0.0.3", port: 4143 }] });
    client.write("pong\n");
    expect(await readUntil(client, "pong\n")).toBe("pong\n");
    expect(outbound.path.connections.count()).toBe(1);
  });
});
