import { describe, expect, test } from "vitest";
import type { SeenEdge } from "../../../ca/contract/edges.ts";
import { mergeEdges } from "../../../ca/reports/edges.ts";
import type { KeptEdges } from "../../../ca/reports/receive.ts";
import { edgeTable } from "../../../ca/cli/edges.ts";
import { tooWide } from "../../support/command-line.ts";

const [hello, world] = ["spiffe://east/hello", "spiffe://east/world"];
const edge = (more: Partial<SeenEdge> = {}): SeenEdge => ({ direction: "inbound", clientId: hello, serverId: world, secured: true, connections: 1, ...more });
const row = (name: string, edges: readonly SeenEdge[], more: Partial<KeptEdges> = {}) => (
  { kind: "edges", name, part: "", body: JSON.stringify({ spiffeId: world, edges, ...more }), reportedAtMs: 1000, expiresAtMs: 2000 } as const
);

describe("what both sides report of an edge", () => {
  test("is one edge, whose connections are counted once", () => {
    const rows = [row("1", [edge({ connections: 2 })]), row("2", [edge({ connections: 1 })]), row("3", [edge({ direction: "outbound", connections: 3, protocol: "http" })])];
    expect(mergeEdges(rows)).toEqual({
      edges: [{ clientId: hello, serverId: world, secured: true, protocols: ["http"], connections: 3, seenBy: ["client", "server"], lastSeen: "1970-01-01T00:00:01.000Z" }],
      reporters: [world, world, world], leftOut: false,
    });
  });

  test("stays two where one side does not call it secured", () => {
    const { edges } = mergeEdges([row("1", [edge()]), row("2", [edge({ direction: "outbound", secured: false, reason: "no_route" })])]);
    expect(edges.map(({ secured, reason }) => [secured, reason])).toEqual([[true, undefined], [false, "no_route"]]);
  });

  test("without a reason is not secured for an unknown one", () => {
    expect(mergeEdges([row("1", [edge({ secured: false })])]).edges).toMatchObject([{ secured: false, reason: "unknown" }]);
  });
});

test("the table names both ends and why one is not secured, in 80 columns unless they are to be whole", () => {
  const long = `spiffe://east/ns/${"x".repeat(60)}/sa/cart`;
  const { edges } = mergeEdges([row("1", [edge(), edge({ clientId: "", secured: false, reason: "plain_text" }), edge({ clientId: long, serverId: long })])]);
  const text = edgeTable(edges, false);
  expect(text.split("\n")[0]).toMatch(/^SRC +DST +SECURED$/);
  expect(text).toMatch(/^east\/hello +east\/world +√ mutual TLS$/m);
  expect(text).toMatch(/^nobody known +east\/world +× plain text$/m);
  expect(text).toContain("/sa/cart");
  expect(tooWide(text)).toEqual([]);
  expect(edgeTable(edges, true)).toContain(long.slice("spiffe://".length));
});
