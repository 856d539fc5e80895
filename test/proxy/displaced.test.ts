import { expect, test } from "vitest";
import { displacedFor } from "../../proxy/displaced.ts";

const open = (...connections: readonly [clientId: string, movedAtMs: number][]) => connections.map(([clientId, movedAtMs]) => ({ clientId, movedAtMs }));

test("of the client that holds more than half, the connection that stood still longest goes", () => {
  const connections = open(["web", 1], ["cart", 9], ["cart", 5], ["cart", 7]);
  expect(displacedFor("admin", connections)).toBe(connections[2]);
});

test("nothing goes where nobody holds more than half, nor for the one who does", () => {
  expect(displacedFor("admin", open(["web", 1], ["cart", 2]))).toBeUndefined();
  expect(displacedFor("cart", open(["cart", 1], ["cart", 2]))).toBeUndefined();
  expect(displacedFor("admin", [])).toBeUndefined();
});
