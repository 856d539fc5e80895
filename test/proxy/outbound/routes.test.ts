import { describe, expect, test } from "vitest";
import type { Service } from "../../../ca/contract/services.ts";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import type { Route } from "../../../proxy/config/config.ts";
import { routesInForce, routeTable } from "../../../proxy/outbound/routes.ts";
import { eastIdentity, holderOf, policyFor } from "../../support/data-path.ts";

const serverId = parseSpiffeId("spiffe://east/world");
const route = (host: string, port: number | undefined, to: number): Route => ({ host, port, address: { host: "10.0.0.1", port: to }, serverId });
const table = routeTable([route("world", undefined, 1), route("world", 8080, 2), route("::1", undefined, 3), route("world", 8080, 4)]);

test("a route for any port serves each port that has none of its own", () => expect(table.find("world", 80)?.address.port).toBe(1));
test("a route for exactly this port goes first, and the first of two", () => expect(table.find("world", 8080)?.address.port).toBe(2));
test("an IPv6 address is a host like any other", () => expect(table.find("::1", 443)?.address.port).toBe(3));
test("what has no route has none", () => {
  for (const host of ["worl", "world.", "sub.world", "", "WORLD", "__proto__"]) expect(table.find(host, 80)).toBeUndefined();
});

describe("services of the CA", () => {
  const cart: Service = { name: "cart", port: 8080, spiffeId: "spiffe://east/cart", addresses: [{ host: "10.0.0.7", port: 4143, weight: 3 }, { host: "10.0.0.8", port: 4143 }] };
  const hello = eastIdentity("hello");
  function setUp(services: readonly Service[], routes: readonly Route[] = []) {
    const source = holderOf(hello);
    const gone: string[] = [];
    const set = (next: readonly Service[]): void => source.setPolicy(policyFor(hello, [], next));
    set(services);
    return { set, gone, inForce: routesInForce(routes, source, (dropped) => void gone.push(...dropped.map(({ host }) => host))) };
  }

  test("name who must answer, and where: by weight, or at the name's own port 4143", () => {
    const { inForce } = setUp([cart, { name: "web", spiffeId: "spiffe://east/web" }]);
    expect(inForce.find("cart", 8080)).toMatchObject({ serverId: { uri: "spiffe://east/cart" }, addresses: [{ host: "10.0.0.7", weight: 3 }, { host: "10.0.0.8", weight: 1 }] });
    expect(inForce.find("cart", 80)).toBeUndefined();
    expect(inForce.find("web", 80)?.address).toMatchObject({ host: "web", port: 4143 });
  });

  test("are found by the address that an app of a redirected connection was going to", () => {
    const { inForce } = setUp([cart]);
    expect(inForce.leadingTo({ host: "10.0.0.8", port: 8080 })?.host).toBe("cart");
    expect(inForce.leadingTo({ host: "10.0.0.9", port: 8080 })).toBeUndefined();
  });

  test("come behind the routes of this host", () => {
    expect(setUp([{ name: "world", spiffeId: "spiffe://east/other" }], [route("world", undefined, 1)]).inForce.find("world", 80)?.serverId.uri).toBe("spiffe://east/world");
  });

  test("stay the same while they do not change, and are dropped when they do", () => {
    const { set, gone, inForce } = setUp([cart]);
    const before = inForce.find("cart", 8080);
    set([cart, { name: "web", spiffeId: "spiffe://east/web" }]);
    expect(inForce.find("cart", 8080)).toBe(before);
    set([{ ...cart, spiffeId: "spiffe://east/cart2" }]);
    expect(gone.sort()).toEqual(["cart", "web"]);
    expect(inForce.find("cart", 8080)?.serverId.uri).toBe("spiffe://east/cart2");
  });
});
