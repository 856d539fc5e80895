import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { Service } from "../../../ca/contract.ts";
import { eastIdentity, holderOf, inboundHalf, metricValue, outboundHalf, policyFor } from "../../support/data-path.ts";
import { echoApp, readAll, readUntil, tcpClient } from "../../support/tcp.ts";

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

  test("goes on where only addresses or other services change", async () => {
    const { db, tell, client, outbound } = await openTunnel();
    tell({ ...db, addresses: [{ host: "127.0.0.2", port: 4143 }] }, { name: "web", spiffeId: "spiffe://east/web" });
    tell({ ...db, addresses: [{ host: "127.0.0.3", port: 4143 }] });
    client.write("pong\n");
    expect(await readUntil(client, "pong\n")).toBe("pong\n");
    expect(outbound.path.connections.count()).toBe(1);
  });
});
