import { expect, test } from "vitest";
import type { Report, ReportRequest } from "../../ca/contract/reports.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { parseRenewalProof, verifyRenewalProof } from "../../ca/pki/renewal-proof.ts";
import { CaError } from "../../proxy/ca-error.ts";
import type { Edge } from "../../proxy/edges.ts";
import { createMetrics } from "../../proxy/metrics.ts";
import { edgesReport, startReporting } from "../../proxy/reporting.ts";
import { version } from "../../proxy/version.ts";
import { eastIdentity } from "../support/data-path.ts";
import { manualClock } from "../support/manual-clock.ts";
import { recordedLog } from "../support/recorded-log.ts";

const identity = eastIdentity("world");
const edge = (client: string, more: Partial<Edge> = {}): Edge => ({
  direction: "inbound", clientId: `spiffe://east/${client}`, serverId: "spiffe://east/world", protocol: "http", secured: true, connections: 1, bytesRead: 9, bytesWritten: 9, ...more,
});

function setUp() {
  const clock = manualClock(Date.UTC(2026, 0, 1));
  const sent: ReportRequest[] = [];
  const world: { edges: readonly Edge[]; error: Error | undefined } = { edges: [], error: undefined };
  const stop = startReporting({
    clock, random: () => 1, log: recordedLog(), metrics: createMetrics(), trustDomain: "east", inboundMode: "permissive", identity: () => identity, edges: () => world.edges, revocationSequence: () => 7,
    client: {
      async report(request) {
        sent.push(request);
        if (world.error !== undefined) throw world.error;
      },
    },
  });
  return { clock, sent, world, stop };
}

const edgesOf = ({ report }: ReportRequest) => (JSON.parse(report) as Extract<Report, { type: "edges" }>).edges;

test("while nobody talks to anybody it says once a minute that it lives, of which version and since when it is, whom it lets in and which revocations it enforces", async () => {
  const { clock, sent } = setUp();
  await clock.advance(59_000);
  expect(sent).toEqual([]);
  await clock.advance(600_000);
  expect(sent.length).toBeGreaterThan(8);
  expect(sent.length).toBeLessThan(12);
  expect(JSON.parse(sent[0]!.report)).toMatchObject({ type: "edges", edges: [], version, revocationSequence: 7, inboundMode: "permissive", startedAt: "2026-01-01T00:00:00.000Z" });
});

test("an edge that is new is told within seconds, signed; what stays the same once a minute; and that it is gone", async () => {
  const { clock, sent, world, stop } = setUp();
  world.edges = [edge("hello")];
  await clock.advance(6000);
  expect(sent).toHaveLength(1);
  const { report, proof } = sent[0]!;
  verifyRenewalProof(parseRenewalProof(proof, "report"), parseCertificate(identity.chain[0]!).publicKey, Buffer.from(report), "east");
  expect(edgesOf(sent[0]!)).toEqual([{ direction: "inbound", clientId: "spiffe://east/hello", serverId: "spiffe://east/world", protocol: "http", secured: true, connections: 1 }]);
  await clock.advance(45_000);
  expect(sent).toHaveLength(1);
  world.edges = [edge("hello", { connections: 5 }), edge("other")];
  await clock.advance(3000);
  expect(sent).toHaveLength(2);
  await clock.advance(63_000);
  expect(sent).toHaveLength(3);
  world.edges = [];
  await clock.advance(63_000);
  expect(edgesOf(sent[3]!)).toEqual([]);
  stop();
  world.edges = [edge("hello")];
  await clock.advance(600_000);
  expect(sent).toHaveLength(4);
});

test("a CA that does not take it is asked with pauses, new edges or not", async () => {
  const { clock, sent, world } = setUp();
  world.error = new CaError("ca_refused", "there is nothing at this path");
  world.edges = [edge("hello")];
  for (let minute = 0; minute < 60; minute++) {
    world.edges = [edge(`client-${minute}`)];
    await clock.advance(60_000);
  }
  expect(sent.length).toBeGreaterThan(2);
  expect(sent.length).toBeLessThan(60);
  world.error = undefined;
  await clock.advance(600_000);
  expect(edgesOf(sent.at(-1)!)).toHaveLength(1);
});

test("a report has as many edges as the CA takes, the busiest, and says how many were left out; none of another workload", () => {
  const edges = [...Array.from({ length: 300 }, (_, index) => edge(`c${index}`, { connections: index })), edge("x", { serverId: "spiffe://east/before" })];
  const { report } = edgesReport(edges, "spiffe://east/world", 0);
  expect(report).toMatchObject({ leftOut: 100 });
  expect((report as Extract<Report, { type: "edges" }>).edges.map(({ connections }) => connections)[0]).toBe(299);
  const long = edgesReport(Array.from({ length: 100 }, (_, index) => edge(`${"x".repeat(2000)}${index}`)), "spiffe://east/world", 0);
  expect(JSON.stringify(long.report).length).toBeLessThan(48 * 1024);
});
