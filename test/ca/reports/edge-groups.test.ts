import { describe, expect, test, vi } from "vitest";
import { groupTalks } from "../../../ca/reports/edge-groups.ts";

const talk = (client: string, server: string, reason?: string) => ({ clientId: client && `spiffe://east/${client}`, serverId: `spiffe://east/${server}`, secured: reason === undefined, reason });
/** Workloads of some namespaces, each of which calls the next one. */
const ring = (namespaces: number, workloads: number) => Array.from({ length: namespaces * workloads }, (_, index) => {
  const nameOf = (one: number): string => `ns/n${Math.floor(one / workloads) % namespaces}/sa/w${one % workloads}`;
  return talk(nameOf(index), nameOf(index + 1));
});
const named = ({ groups, links }: ReturnType<typeof groupTalks>) => links.map(({ from, to, edges, unsecured }) => [groups[from]!.name, groups[to]!.name, edges, unsecured]);

test("workloads that fit stand by themselves", () => {
  const found = groupTalks([talk("web", "cart"), talk("", "web", "plain_text")], 3);
  expect(found.groups).toEqual([{ name: "spiffe://east/web", members: 1 }, { name: "spiffe://east/cart", members: 1 }, { name: "", members: 1 }]);
  expect(found.links).toEqual([{ from: 2, to: 0, edges: 1, unsecured: 1, reason: "plain_text" }, { from: 0, to: 1, edges: 1, unsecured: 0 }]);
});

test("those that do not are put together by namespace, without the part behind it that all have", () => {
  const found = groupTalks(ring(5, 4), 10);
  expect(found.groups).toEqual([0, 1, 2, 3, 4].map((n) => ({ name: `spiffe://east/ns/n${n}`, members: 4 })));
  expect(named(found)).toContainEqual(["spiffe://east/ns/n0", "spiffe://east/ns/n0", 3, 0]);
  expect(named(found)).toContainEqual(["spiffe://east/ns/n4", "spiffe://east/ns/n0", 1, 0]);
});

test("where no step fits, those with most edges stay, and all others are one", () => {
  const busy = Array.from({ length: 9 }, (_, index) => talk(`ns/n${index}/sa/w0`, "ns/n7/sa/w1"));
  const { groups } = groupTalks([...ring(30, 2), ...busy], 10);
  expect([groups.length, groups.find(({ name }) => name === "*")?.members]).toEqual([10, expect.any(Number)]);
  expect(groups.map(({ name }) => name)).toContain("spiffe://east/ns/n7");
  expect(groups.reduce((sum, { members }) => sum + members, 0)).toBe(60);
});

test("an ID of a thousand parts, as anybody may report it, has nobody look at all others a thousand times", () => {
  const talks = [...ring(30, 4), talk(`${"a/".repeat(1000)}a`, "ns/n1/sa/w1")];
  const indexOf = vi.spyOn(String.prototype, "indexOf");
  const { groups } = groupTalks(talks, 60);
  const looks = indexOf.mock.calls.length;
  indexOf.mockRestore();
  expect(groups.map(({ name }) => name)).toEqual([...Array.from({ length: 30 }, (_, n) => `spiffe://east/ns/n${n}`), "spiffe://east/a/a"]);
  // Each look at an ID is for a few slashes.
  expect(looks).toBeLessThan(talks.length * 100);
});

describe("of links there are no more than a picture holds", () => {
  const ids = Array.from({ length: 10 }, (_, index) => `w${index}`);
  const talks = ids.flatMap((client) => ids.map((server) => talk(client, server, client === "w9" && server === "w9" ? "no_route" : undefined)));

  test("and what is not secured is never what is left out", () => {
    const found = groupTalks(talks, 10);
    expect([found.links.length, found.leftOut]).toEqual([40, 60]);
    expect(found.links[0]).toMatchObject({ unsecured: 1, reason: "no_route" });
  });
});
