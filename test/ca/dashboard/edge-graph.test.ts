import { expect, test } from "vitest";
import type { EdgeGroups } from "../../../ca/contract/edges.ts";
import { edgeGraph, shapeOf } from "../../../ca/dashboard/edge-graph.ts";
import { layoutGraph } from "../../../ca/dashboard/graph-layout.ts";

const drawn = async (groups: EdgeGroups): Promise<string> => String(await edgeGraph(groups, layoutGraph(shapeOf(groups)), "east"));
const group = (name: string, members = 1) => ({ name, members });

test("what is within a group is told in its box, and what is between two is a line as thick as it is busy", async () => {
  const text = await drawn({ groups: [group("spiffe://east/ns/shop", 40), group("spiffe://east/ns/bank", 9)], links: [{ from: 0, to: 0, edges: 70, unsecured: 0 }, { from: 0, to: 1, edges: 100, unsecured: 0 }], leftOut: 3 });
  expect(text.match(/<path class="edge/g)).toHaveLength(1);
  expect(text).toMatch(/<title>spiffe:\/\/east\/ns\/shop to spiffe:\/\/east\/ns\/bank: 100 edges, mutual TLS<\/title>\s*<path class="edge secured"[^>]*stroke-width="2.5"/);
  expect(text).toContain("spiffe://east/ns/shop: 40 workloads, 70 edges inside</title>");
  expect(text).toContain(">40 workloads</text>");
  expect(text).toContain('href="/ui/edges?search=spiffe%3A%2F%2Feast%2Fns%2Fshop%2F"');
  expect(text).toContain("3 links more are not drawn");
});

test("what is not secured is never drawn as secured", async () => {
  const text = await drawn({
    groups: [group("spiffe://east/ns/shop", 40), group("")], leftOut: 0,
    links: [{ from: 1, to: 0, edges: 70, unsecured: 1, reason: "plain_text" }, { from: 0, to: 0, edges: 3, unsecured: 2, reason: "no_route" }],
  });
  expect(text).toContain("1 not secured (plain text)");
  expect(text).not.toContain('<path class="edge secured"');
  expect(text).toContain("2 inside not secured");
  expect(text.match(/class="node unknown"/g)).toHaveLength(2);
});

test("a name is text that cannot turn around what stands beside it, and whose domain is another one is told", async () => {
  const text = await drawn({ groups: [group("spiffe://west/<b>\u202etxt"), group("*", 12)], links: [{ from: 0, to: 1, edges: 1, unsecured: 0 }], leftOut: 0 });
  expect(text).toContain("&lt;b&gt;\\u{202e}txt");
  expect(text).not.toMatch(/<b>|\u202e/);
  expect(text).toContain(">west</text>");
  expect(text).toContain("all others");
});

test("two of one name say where they are", async () => {
  const text = await drawn({ groups: [group("spiffe://east/ns/shop/sa/db"), group("spiffe://east/ns/bank/sa/db")], links: [{ from: 0, to: 1, edges: 1, unsecured: 0 }], leftOut: 0 });
  expect([text.includes(">/ns/shop</text>"), text.includes(">/ns/bank</text>")]).toEqual([true, true]);
});

test("where there was no time to draw it says so", async () => {
  expect(String(await edgeGraph({ groups: [group("a")], links: [], leftOut: 0 }, undefined, "east"))).toContain("too long to draw");
});
