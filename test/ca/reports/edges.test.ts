import { describe, expect, test } from "vitest";
import type { EdgeList, SeenEdge } from "../../../ca/contract/edges.ts";
import { edgeReaders } from "../../../ca/reports/edges.ts";
import { reportReading } from "../../../ca/reports/reading.ts";
import type { EdgePageQuery } from "../../../ca/reports/edges.ts";
import type { KeptEdges } from "../../../ca/reports/receive.ts";
import type { ReportRow } from "../../../ca/store/rows/reports.ts";
import { edgeTable } from "../../../ca/cli/edges.ts";
import { tooWide } from "../../support/command-line.ts";

const [hello, world] = ["spiffe://east/hello", "spiffe://east/world"];
const edge = (more: Partial<SeenEdge> = {}): SeenEdge => ({ direction: "inbound", clientId: hello, serverId: world, secured: true, connections: 1, ...more });
const row = (name: string, edges: readonly SeenEdge[], more: Partial<KeptEdges> = {}) => (
  { kind: "edges", name, part: "", body: JSON.stringify({ spiffeId: world, edges, proxy: { notAfter: "2026" }, ...more }), reportedAtMs: 1000, expiresAtMs: 2000 } as const
);

async function merged(rows: readonly ReportRow[], query: Partial<EdgePageQuery> = {}): Promise<Omit<EdgeList, "nextCursor">> {
  const reported = reportReading({ store: { reports: async () => rows }, now: () => new Date(1000) });
  return edgeReaders(reported).edges({ isInView: () => true, offset: 0, limit: 100, ...query });
}

describe("what both sides report of an edge", () => {
  test("is one edge, whose connections are counted once", async () => {
    const rows = [row("1", [edge({ connections: 2 })]), row("2", [edge({ connections: 1 })]), row("3", [edge({ direction: "outbound", connections: 3, protocol: "http" })])];
    expect(await merged(rows)).toEqual({
      edges: [{ clientId: hello, serverId: world, secured: true, protocols: ["http"], connections: 3, seenBy: ["client", "server"], lastSeen: "1970-01-01T00:00:01.000Z" }],
      total: 1, unsecured: 0, proxies: 3, truncated: false,
    });
  });

  test("stays two where one side does not call it secured", async () => {
    const { edges } = await merged([row("1", [edge()]), row("2", [edge({ direction: "outbound", secured: false, reason: "no_route" })])]);
    expect(edges.map(({ secured, reason }) => [secured, reason])).toEqual([[true, undefined], [false, "no_route"]]);
  });

  test("without a reason is not secured for an unknown one", async () => {
    expect((await merged([row("1", [edge({ secured: false })])])).edges).toMatchObject([{ secured: false, reason: "unknown" }]);
  });
});

describe("of a proxy that renewed", () => {
  const rows = [row("old", [edge({ secured: false, reason: "plain_text" }), edge()]), row("new", [edge()], { renewedFrom: "old" })];

  test("what it reported before is gone", async () => {
    expect(await merged(rows)).toMatchObject({ edges: [{ secured: true, connections: 1 }], total: 1, unsecured: 0, proxies: 1 });
  });
});

test("a workload that makes up whom it talks to, under many certificates, hides no other's edges", async () => {
  const evil = "spiffe://east/evil";
  const made = Array.from({ length: 60 }, (_, part) => row(`0${part}`, Array.from({ length: 200 }, (_, index) => edge({ direction: "outbound", clientId: evil, serverId: `spiffe://east/${part}/${index}` })), { spiffeId: evil }));
  const { total, truncated } = await merged([...made, row("1", [edge()])]);
  expect([total, truncated]).toEqual([10_001, true]);
  expect((await merged([...made, row("1", [edge()])], { spiffeId: hello })).edges).toHaveLength(1);
});

test("a workload that makes up protocols, report after report, has a few of them told, and that there were more", async () => {
  const made = Array.from({ length: 30 }, (_, part) => row(`0${part}`, Array.from({ length: 200 }, (_, index) => edge({ protocol: `p${part}-${index}` }))));
  const { edges, truncated } = await merged(made);
  expect([edges.length, edges[0]?.protocols.length, edges[0]?.connections, truncated]).toEqual([1, 16, 6000, true]);
});

test("a workload that makes up reasons has each of them told, beside what the other side says", async () => {
  const made = Array.from({ length: 30 }, (_, part) => row(`0${part}`, Array.from({ length: 200 }, (_, index) => edge({ secured: false, reason: `r${part}-${index}` }))));
  const { total } = await merged([...made, row("1", [edge({ direction: "outbound" })], { spiffeId: hello })]);
  expect(total).toBe(6001);
});

describe("edges are chosen", () => {
  const rows = [row("1", [edge(), edge({ clientId: "spiffe://east/other" }), edge({ clientId: "", secured: false, reason: "plain_text" }), edge({ direction: "outbound", clientId: world, serverId: "not an ID" })])];

  test.each<[string, Partial<EdgePageQuery>, readonly string[]]>([
    ["by a part of either ID", { search: "ello" }, [hello]],
    ["by one whole ID", { spiffeId: "spiffe://east/other" }, ["spiffe://east/other"]],
    ["by whether they are secured", { secured: false }, [""]],
    ["by who may see them", { isInView: (id) => id === hello }, [hello]],
    ["by their page", { offset: 1, limit: 2 }, [hello, "spiffe://east/other"]],
  ])("%s", async (_, query, clients) => {
    expect((await merged(rows, query)).edges.map(({ clientId }) => clientId)).toEqual(clients);
  });
});

const utf8 = { LANG: "C.UTF-8" };

test("the table names both ends and why one is not secured, in 80 columns unless they are to be whole", async () => {
  const long = `spiffe://east/ns/${"x".repeat(60)}/sa/cart`;
  const { edges } = await merged([row("1", [edge(), edge({ clientId: "", secured: false, reason: "plain_text" }), edge({ clientId: long, serverId: long })])]);
  const text = edgeTable(edges, { env: utf8 }, false);
  expect(text.split("\n")[0]).toMatch(/^SRC +DST +SECURED$/);
  expect(text).toMatch(/^east\/hello +east\/world +√ mutual TLS$/m);
  expect(text).toMatch(/^nobody known +east\/world +× plain text$/m);
  expect(text).toContain("/sa/cart");
  expect(tooWide(text)).toEqual([]);
  expect(edgeTable(edges, { env: utf8 }, true)).toContain(long.slice("spiffe://".length));
});

test("signs are of the locale, and colours for terminals that want them", async () => {
  const { edges } = await merged([row("1", [edge(), edge({ clientId: "spiffe://ok", secured: false, reason: "plain_text" })])]);
  expect(edgeTable(edges, { env: utf8, hasColour: true }, false)).toMatch(/\u001b\[32m√ mutual TLS\u001b\[0m\n[^\u001b]*\u001b\[31m× plain text\u001b\[0m\n$/);
  expect(edgeTable(edges, { env: {}, hasColour: true }, false)).toMatch(/ok +east\/world +\u001b\[31mxx plain text\u001b\[0m\n$/);
});
