import { expect, test } from "vitest";
import { placeNodes } from "../../../ca/dashboard/edge-graph.ts";

const edge = (clientId: string, serverId: string) => ({ clientId, serverId });

test("a server stands in a column behind every one of its clients", () => {
  const nodes = placeNodes([edge("web", "cart"), edge("cart", "db"), edge("web", "db")]);
  expect(Object.fromEntries(nodes.map(({ id, column }) => [id, column]))).toEqual({ web: 0, cart: 1, db: 2 });
});

test("a circle of calls, and a call to oneself, end", () => {
  const nodes = placeNodes([edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("c", "c")]);
  expect(nodes.map(({ id }) => id).sort()).toEqual(["a", "b", "c"]);
});

test("no two stand in one place", () => {
  const nodes = placeNodes(["b", "c", "d"].flatMap((server) => ["x", "y"].map((client) => edge(client, server))));
  expect(new Set(nodes.map(({ column, row }) => `${column} ${row}`)).size).toBe(5);
});
