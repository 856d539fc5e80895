import { expect, test } from "vitest";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import type { Route } from "../../../proxy/config.ts";
import { routeTable } from "../../../proxy/outbound/routes.ts";

const serverId = parseSpiffeId("spiffe://east/world");
const route = (host: string, port: number | undefined, to: number): Route => ({ host, port, address: { host: "10.0.0.1", port: to }, serverId });
const table = routeTable([route("world", undefined, 1), route("world", 8080, 2), route("::1", undefined, 3), route("world", 8080, 4)]);

test("a route for any port serves each port that has none of its own", () => expect(table.find("world", 80)?.address.port).toBe(1));
test("a route for exactly this port goes first, and the first of two", () => expect(table.find("world", 8080)?.address.port).toBe(2));
test("an IPv6 address is a host like any other", () => expect(table.find("::1", 443)?.address.port).toBe(3));
test("what has no route has none", () => {
  for (const host of ["worl", "world.", "sub.world", "", "WORLD", "__proto__"]) expect(table.find(host, 80)).toBeUndefined();
});
