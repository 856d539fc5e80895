import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { trackConnections, type Connections, type NewConnection } from "../../proxy/connections.ts";
import { identityHolder, type IdentityHolder } from "../../proxy/identity/source.ts";
import { createMetrics, type Metrics } from "../../proxy/metrics.ts";
import { PeerError, type Peer } from "../../proxy/peer.ts";
import { east, eastIdentity, metricValue, policyFor } from "../support/data-path.ts";

let holder: IdentityHolder;
let metrics: Metrics;
let connections: Connections;
/** IDs that `recheck` refuses from now on. */
let refused: Set<string>;
let events: string[];
let logged: object[];
/** 0: the whole of the maximum age. */
let chance: number;

beforeEach(() => {
  vi.useFakeTimers();
  holder = identityHolder(Date.now);
  metrics = createMetrics();
  refused = new Set();
  events = [];
  logged = [];
  chance = 0;
  holder.setRevoked(new Set());
  const quiet = (): void => undefined;
  connections = trackConnections({
    direction: "inbound", source: holder, metrics, now: Date.now, maxAgeMs: hour, random: () => chance, log: { debug: quiet, info: (fields) => void logged.push(fields), warn: quiet, error: quiet },
    verifier: {
      recheck({ svid }) {
        events.push(`${svid.serialNumber} judged`);
        if (refused.has(svid.id.uri)) throw new PeerError("path_expired", "no anchor");
      },
      recheckRevoked({ svid }) {
        if (holder.trust()?.revoked.has(svid.serialNumber) === true) throw new PeerError("certificate_revoked", "revoked");
      },
    },
  });
});

afterEach(() => {
  connections.stop();
  vi.useRealTimers();
});

function connection(name: string, options: { validForMs?: number; localValidForMs?: number; retires?: boolean; bytes?: number } = {}): NewConnection {
  const { validForMs = 24 * hour, localValidForMs = 24 * hour, retires = false, bytes = 0 } = options;
  return {
    peer: { svid: { id: { uri: `spiffe://east/${name}` }, serialNumber: name, validUntilMs: Date.now() + validForMs - 1000 } } as unknown as Peer,
    localId: "spiffe://east/world", localValidUntilMs: Date.now() + localValidForMs, traffic: () => ({ bytesRead: bytes, bytesWritten: 2 * bytes }),
    cut: () => void events.push(`${name} cut`),
    ...(retires && { retire: () => void events.push(`${name} retired`) }),
  };
}

const changeTrust = (): void => holder.setBundles("east", east.bundles());

describe("a connection ends with its reason", () => {
  test("which the log says once a second for a peer, however many of its connections go", () => {
    for (let index = 0; index < 100; index++) connections.add({ ...connection("cart"), isAllowed: () => false });
    connections.add({ ...connection("web"), isAllowed: () => false });
    holder.setPolicy(policyFor(eastIdentity("world")));
    expect(events).toHaveLength(101);
    expect(logged).toMatchObject([{ peerId: "spiffe://east/cart", reason: "policy_denied" }, { peerId: "spiffe://east/web" }]);
  });

  test("at once when the peer is revoked, and nobody else with it; no chain is verified for that", () => {
    changeTrust();
    connections.add(connection("cart"));
    connections.add(connection("web"));
    holder.setRevoked(new Set(["cart"]));
    expect(events).toEqual(["cart cut"]);
    vi.advanceTimersByTime(1000);
    expect(events).toEqual(["cart cut"]);
    expect(connections.count()).toBe(1);
    expect(metricValue(metrics, "connections_cut_total", 'reason="certificate_revoked"')).toBe(1);
  });

  test("when the bundle that came last does not vouch for the peer, some judged in each turn, however often it changes", () => {
    for (let index = 0; index < 120; index++) connections.add(connection(`peer-${index}`));
    refused.add("spiffe://east/peer-119");
    changeTrust();
    expect(events).toEqual([]);
    vi.advanceTimersToNextTimer();
    expect(events).toHaveLength(50);
    changeTrust();
    while (connections.count() === 120) vi.advanceTimersToNextTimer();
    expect(events.filter((event) => event === "peer-0 judged")).toHaveLength(2);
    expect(events.slice(-2)).toEqual(["peer-119 judged", "peer-119 cut"]);
    expect(events).toHaveLength(50 + 120 + 1);
    expect(metricValue(metrics, "connections_cut_total", 'reason="path_expired"')).toBe(1);
  });

  test("when the peer's certificate expires", () => {
    connections.add(connection("cart", { validForMs: 10_000 }));
    vi.advanceTimersByTime(9000);
    expect(events).toEqual([]);
    vi.advanceTimersByTime(1000);
    expect(events).toEqual(["cart cut"]);
    expect(metricValue(metrics, "connections_cut_total", 'reason="expired"')).toBe(1);
  });

  test("when our own certificate in it expires", () => {
    connections.add(connection("cart", { localValidForMs: 10_000 }));
    vi.advanceTimersByTime(10_000);
    expect(events).toEqual(["cart cut"]);
  });

  test("opaque bytes: in order before the maximum age, once nothing moved for five seconds, and at the latest then", () => {
    let busyBytes = 0;
    const closing = (name: string, bytes: () => number): NewConnection => (
      { ...connection(name), traffic: () => ({ bytesRead: bytes(), bytesWritten: 0 }), closeQuiet: () => void events.push(`${name} closed`) }
    );
    connections.add(closing("busy", () => busyBytes++));
    const quiet = connections.add(closing("quiet", () => 7));
    vi.advanceTimersByTime(hour - 31_000);
    expect(events).toEqual([]);
    vi.advanceTimersByTime(2000);
    expect(events).toEqual(["quiet closed"]);
    quiet.closed();
    vi.advanceTimersByTime(29_000);
    expect(events).toEqual(["quiet closed", "busy cut"]);
  });

  test("at the maximum age, and one that can is asked to retire before", () => {
    connections.add(connection("cart", { retires: true }));
    connections.add(connection("web"));
    vi.advanceTimersByTime(hour - 31_000);
    expect(events).toEqual([]);
    vi.advanceTimersByTime(1000);
    expect(events).toEqual(["cart retired"]);
    vi.advanceTimersByTime(30_000);
    expect(events).toEqual(["cart retired", "cart cut", "web cut"]);
    expect(connections.count()).toBe(0);
  });
});

test("edges add up by client, server and protocol", () => {
  connections.add(connection("cart", { bytes: 10 })).speaks("http");
  connections.add(connection("cart", { bytes: 5 })).speaks("http");
  const gone = connections.add(connection("cart", { bytes: 1 }));
  connections.add(connection("web")).speaks("tcp");
  gone.closed();
  gone.closed();
  const common = { direction: "inbound", serverId: "spiffe://east/world", secured: true };
  expect(connections.edges()).toEqual([
    { ...common, clientId: "spiffe://east/cart", protocol: "http", connections: 2, bytesRead: 15, bytesWritten: 30 },
    { ...common, clientId: "spiffe://east/web", protocol: "tcp", connections: 1, bytesRead: 0, bytesWritten: 0 },
  ]);
});

test("metrics count connections and bytes, while they are open and after", () => {
  const open = connections.add(connection("cart", { bytes: 10 }));
  vi.advanceTimersByTime(1000);
  expect(metricValue(metrics, "tcp_open_connections", "cart")).toBe(1);
  expect(metricValue(metrics, "tcp_read_bytes_total", "cart")).toBe(10);
  vi.advanceTimersByTime(1000);
  open.speaks("tcp");
  expect(metricValue(metrics, "tcp_app_tls_total", "cart")).toBe(0);
  open.speaks("tls");
  open.closed();
  expect(metricValue(metrics, "tcp_app_tls_total", "cart")).toBe(1);
  expect(metricValue(metrics, "tcp_open_connections", "cart")).toBe(0);
  expect(metricValue(metrics, "tcp_open_total", "cart")).toBe(1);
  expect(metricValue(metrics, "tcp_write_bytes_total", "cart")).toBe(20);
});

describe("draining", () => {
  test("is over when the last connection has ended", async () => {
    const open = connections.add(connection("cart", { retires: true }));
    connections.retireAll();
    connections.retireAll();
    expect(events).toEqual(["cart retired"]);
    const drained = connections.drained(60_000);
    open.closed();
    await drained;
    expect(vi.getTimerCount()).toBe(1);
  });

  test("is over after the time it was given, and at once when nothing is open", async () => {
    await connections.drained(60_000);
    connections.add(connection("cart"));
    const drained = connections.drained(5000);
    vi.advanceTimersByTime(5000);
    await drained;
    expect(connections.count()).toBe(1);
    connections.cutAll();
    expect(events).toEqual(["cart cut"]);
  });
});

const hour = 3_600_000;
