import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Policy, PolicyRule } from "../../../ca/contract/policies.ts";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import { compileInbound, decideInbound, type InboundRequest } from "../../../ca/policy/decide.ts";

const cart = parseSpiffeId("spiffe://east/ns/shop/sa/cart");
const web = parseSpiffeId("spiffe://east/ns/shop/sa/web");
const bank = parseSpiffeId("spiffe://east/ns/bank/sa/vault");
const west = parseSpiffeId("spiffe://west/ns/shop/sa/web");

const allowWeb: PolicyRule = { action: "allow", from: [web.uri] };
const policy = (name: string, ...rules: readonly PolicyRule[]): Policy => ({ name, workloads: ["spiffe://east/ns/shop/*"], rules });
const decide = (policies: readonly Policy[], request: Partial<InboundRequest> = {}) => decideInbound(compileInbound(cart, policies), { client: web, port: 8080, ...request });
const http = (target: string, method = "GET") => ({ http: { method, target } });

describe("with no policy for a workload", () => {
  test("its own trust domain is let in, others and who has no identity are not", () => {
    expect(decide([])).toEqual({ action: "allow", reason: "mesh_default", audit: [] });
    expect(decide([], { client: west })).toMatchObject({ action: "deny", reason: "foreign" });
    expect(decide([], { client: undefined })).toMatchObject({ action: "deny", reason: "unauthenticated" });
    expect(decide([{ ...policy("other", allowWeb), workloads: ["spiffe://east/ns/bank/*"] }], { client: bank })).toMatchObject({ reason: "mesh_default" });
  });

  test("an audit changes nothing but that it names itself", () => {
    const audit = policy("watch", { action: "audit", from: ["*"] });
    expect(decide([audit])).toEqual({ action: "allow", reason: "mesh_default", audit: ["watch/1"] });
    expect(decide([audit], { client: undefined })).toMatchObject({ action: "deny", audit: ["watch/1"] });
  });
});

describe("when something selects a workload", () => {
  test("what no rule allows is denied", () => {
    expect(decide([policy("p", allowWeb)])).toEqual({ action: "allow", rule: "p/1", reason: "rule_allowed", audit: [] });
    expect(decide([policy("p", allowWeb)], { client: bank })).toEqual({ action: "deny", reason: "no_rule_allows", audit: [] });
    expect(decide([policy("p", allowWeb)], { client: undefined })).toMatchObject({ reason: "unauthenticated" });
    expect(decide([policy("p", { action: "deny", from: [bank.uri] })])).toMatchObject({ action: "deny", reason: "no_rule_allows" });
  });

  test("a deny goes before an allow, of whatever policy", () => {
    const deny = policy("a", { name: "no-web", action: "deny", from: ["spiffe://east/*"] });
    for (const policies of [[deny, policy("z", allowWeb)], [policy("z", allowWeb), deny]]) {
      expect(decide(policies)).toEqual({ action: "deny", rule: "a/no-web", reason: "rule_denied", audit: [] });
    }
  });

  test("a client of another trust domain is let in where a rule names it", () => {
    expect(decide([policy("p", { action: "allow", from: ["spiffe://west/*"] })], { client: west })).toMatchObject({ action: "allow" });
  });

  test("ports are those of the app", () => {
    const policies = [policy("p", { ...allowWeb, ports: [8080] })];
    expect(decide(policies).action).toBe("allow");
    expect(decide(policies, { port: 9090 }).action).toBe("deny");
  });

  test("an HTTP rule allows the methods and paths it names and nothing else", () => {
    const policies = [policy("p", { ...allowWeb, methods: ["GET"], paths: ["/api/*"] })];
    expect(decide(policies, http("/api/items?x=1")).action).toBe("allow");
    expect(decide(policies, http("/api/items", "POST")).action).toBe("deny");
    expect(decide(policies, http("/API/items")).action).toBe("deny");
    expect(decide(policies, http("/api")).action).toBe("deny");
    expect(decide(policies, http("/api/../admin")).action).toBe("deny");
    expect(decide(policies, http("/api/items", "HEAD")).action).toBe("deny");
    expect(decide(policies)).toMatchObject({ action: "deny", reason: "no_rule_allows" });
  });

  test("a gRPC rule allows POSTs to its methods", () => {
    const policies = [policy("p", { ...allowWeb, grpc: ["shop.Cart/Add", "shop.Stock/*"] })];
    for (const path of ["/shop.Cart/Add", "/shop.Stock/Any"]) expect(decide(policies, http(path, "POST")).action).toBe("allow");
    for (const path of ["/shop.Cart/Remove", "/shop.Cart", "/shop.cart/Add"]) expect(decide(policies, http(path, "POST")).action).toBe("deny");
    expect(decide(policies, http("/shop.Cart/Add", "GET")).action).toBe("deny");
  });
});

describe("nobody gets around a deny", () => {
  const policies = [policy("p", allowWeb), policy("no-admin", { action: "deny", from: ["*"], paths: ["/admin", "/admin/*"] })];

  test.for([
    "/admin", "/admin/", "/admin?x", "/ADMIN", "/%61dmin", "/%41DMIN/x", "/admin/x/y",
    "//admin", "/./admin", "/x/../admin", "/x/%2e%2e/admin", "/admin;x", "/admin%00", "/admin%2fx", "/x%5c..%5cadmin", "/%2561dmin", "*", "http://cart/admin",
  ])("by the path %s", (target) => {
    expect(decide(policies, http(target))).toMatchObject({ action: "deny", rule: "no-admin/1" });
  });

  test("by a connection that is not HTTP, or not yet known to be", () => {
    expect(decide(policies)).toMatchObject({ action: "deny", rule: "no-admin/1", reason: "not_http" });
  });

  test("and what it is not about is let in", () => {
    expect(decide(policies, http("/shop")).action).toBe("allow");
    expect(decide(policies, http("/administrator")).action).toBe("allow");
    expect(decide(policies, http("/shop/../x"))).toMatchObject({ action: "deny", reason: "path_ambiguous" });
  });

  test("by another spelling of the method, nor by HEAD for GET", () => {
    const gets = [policy("p", allowWeb), policy("d", { action: "deny", from: ["*"], methods: ["GET"] })];
    for (const method of ["GET", "get", "HEAD", "head"]) expect(decide(gets, http("/", method)).action).toBe("deny");
    expect(decide(gets, http("/", "POST")).action).toBe("allow");
  });

  test("of a gRPC method by another HTTP method", () => {
    const grpc = [policy("p", allowWeb), policy("d", { action: "deny", from: ["*"], grpc: ["shop.Cart/Wipe"] })];
    for (const method of ["POST", "GET", "PUT"]) expect(decide(grpc, http("/shop.Cart/Wipe", method)).action).toBe("deny");
    expect(decide(grpc, http("/shop.Cart/Add", "POST")).action).toBe("allow");
  });
});

describe("a path that cannot be read safely", () => {
  test("does not matter where no rule that is about the client is about paths", () => {
    expect(decide([policy("p", allowWeb)], http("/a/../b")).action).toBe("allow");
    expect(decide([policy("p", allowWeb, { action: "deny", from: [bank.uri], paths: ["/x"] })], http("/a/../b")).action).toBe("allow");
    expect(decide([policy("p", allowWeb, { action: "deny", from: ["*"], ports: [1], paths: ["/x"] })], http("/a/../b")).action).toBe("allow");
  });
});

describe("a connection is settled", () => {
  const settled = (policies: readonly Policy[], client = web) => compileInbound(cart, policies).connection(client, 8080).settled?.action;

  test("when no request can change the decision", () => {
    expect(settled([])).toBe("allow");
    expect(settled([policy("p", allowWeb)])).toBe("allow");
    expect(settled([policy("p", { ...allowWeb, paths: ["/a"] })], bank)).toBe("deny");
    expect(settled([policy("p", { ...allowWeb, paths: ["/a"] }, { action: "deny", from: ["*"] })])).toBe("deny");
  });

  test("not when one can", () => {
    expect(settled([policy("p", { ...allowWeb, paths: ["/a"] })])).toBeUndefined();
    expect(settled([policy("p", allowWeb, { action: "deny", from: ["*"], paths: ["/a"] })])).toBeUndefined();
    expect(settled([policy("p", allowWeb, { action: "audit", from: ["*"], paths: ["/a"] })])).toBeUndefined();
  });
});

test.for<[string, unknown]>([
  ["a member that is not known", { ...policy("p", allowWeb), mode: "strict" }],
  ["a condition that is not known", policy("p", { ...allowWeb, headers: ["x"] } as PolicyRule)],
  ["an action that is not known", policy("p", { ...allowWeb, action: "log" } as unknown as PolicyRule)],
  ["everybody allowed", policy("p", { action: "allow", from: ["*"] })],
  ["nobody allowed", policy("p", { action: "allow", from: [] })],
  ["no ports", policy("p", { ...allowWeb, ports: [] })],
  ["port 0", policy("p", { ...allowWeb, ports: [0] })],
  ["a method in lower case", policy("p", { ...allowWeb, methods: ["get"] })],
  ["a path with dots", policy("p", { ...allowWeb, paths: ["/a/../b"] })],
  ["gRPC and paths together", policy("p", { ...allowWeb, grpc: ["a.B/C"], paths: ["/x"] })],
  ["a gRPC method that is none", policy("p", { ...allowWeb, grpc: ["/a.B/C"] })],
  ["no rules", policy("p")],
  ["two rules of one name", policy("p", { ...allowWeb, name: "x" }, { ...allowWeb, name: "x" })],
  ["a name with a slash", policy("a/b", allowWeb)],
  ["workloads of every trust domain", { ...policy("p", allowWeb), workloads: ["*"] }],
  ["65 rules", policy("p", ...Array.from({ length: 65 }, () => allowWeb))],
  ["no object", null],
])("a policy with %s is refused, and with it the set", ([, wrong]) => {
  expect(() => compileInbound(cart, [policy("fine", allowWeb), wrong])).toThrow(expect.objectContaining({ name: "PolicyError" }));
});

describe("whatever the policies are", () => {
  const clients = [web, bank, west, undefined];
  const from = fc.constantFrom(web.uri, "spiffe://east/*", "spiffe://east/ns/*/sa/web", "spiffe://west/*", bank.uri);
  const targets = ["/", "/a", "/A", "/a/b", "/b", "/a/../b", "/b;x", "/%61", "*", "/a//b"];
  const optional = <T>(values: fc.Arbitrary<T>) => fc.option(fc.array(values, { minLength: 1, maxLength: 2 }), { nil: undefined });
  const rule = (action: fc.Arbitrary<PolicyRule["action"]>) => fc.record({
    action, from: fc.array(from, { minLength: 1, maxLength: 2 }), ports: optional(fc.constantFrom(8080, 9090)), methods: optional(fc.constantFrom("GET", "POST")),
    paths: optional(fc.constantFrom("/a", "/a/*", "/*", "/b", "/")),
  }) as fc.Arbitrary<PolicyRule>;
  const anyRule = rule(fc.constantFrom("allow", "deny", "audit"));
  const anyPolicies = fc.array(fc.array(anyRule, { minLength: 1, maxLength: 3 }), { maxLength: 4 }).map((all) => all.map((rules, index) => policy(`p${index}`, ...rules)));
  const anyRequest: fc.Arbitrary<InboundRequest> = fc.record({
    client: fc.constantFrom(...clients), port: fc.constantFrom(8080, 9090),
    http: fc.option(fc.record({ method: fc.constantFrom("GET", "HEAD", "POST", "get", "PUT"), target: fc.constantFrom(...targets) }), { nil: undefined }),
  }) as fc.Arbitrary<InboundRequest>;
  const runs = { numRuns: 500 };
  const actionOf = (policies: readonly Policy[], request: InboundRequest) => decide(policies, request).action;

  test("the order of policies changes nothing, that of rules not what is decided", () => {
    fc.assert(fc.property(anyPolicies, anyRequest, (policies, request) => {
      expect(decide(policies.toReversed(), request)).toEqual(decide(policies, request));
      expect(actionOf(policies.map((each) => ({ ...each, rules: each.rules.toReversed() })), request)).toBe(actionOf(policies, request));
    }), runs);
  });

  test("another deny never lets anybody in, and one more for everybody lets nobody in", () => {
    fc.assert(fc.property(anyPolicies, rule(fc.constant("deny")), anyRequest, (policies, deny, request) => {
      if (policies.length === 0) return;
      if (actionOf(policies, request) === "deny") expect(actionOf([...policies, policy("x", deny)], request)).toBe("deny");
      expect(actionOf([...policies, policy("x", { action: "deny", from: ["*"] })], request)).toBe("deny");
    }), runs);
  });

  test("another allow never keeps anybody out, once something selects the workload", () => {
    fc.assert(fc.property(anyPolicies, rule(fc.constant("allow")), anyRequest, (policies, allow, request) => {
      if (!policies.some(({ rules }) => rules.some(({ action }) => action !== "audit"))) return;
      if (actionOf(policies, request) === "allow") expect(actionOf([...policies, policy("x", allow)], request)).toBe("allow");
    }), runs);
  });

  test("another audit changes no decision", () => {
    fc.assert(fc.property(anyPolicies, rule(fc.constant("audit")), anyRequest, (policies, audit, request) => {
      const { audit: _, ...before } = decide(policies, request);
      expect(decide([...policies, policy("x", audit)], request)).toMatchObject(before);
    }), runs);
  });

  test("a condition more on an allow lets nobody else in, and one less on a deny neither", () => {
    fc.assert(fc.property(anyPolicies, anyRule, anyRequest, (policies, { paths: _, methods: __, ports: ___, ...bare }, request) => {
      const narrowed = { ...bare, action: "allow" as const, paths: ["/a"] };
      if (actionOf([...policies, policy("x", narrowed)], request) === "allow") expect(actionOf([...policies, policy("x", { ...bare, action: "allow" })], request)).toBe("allow");
      if (actionOf([...policies, policy("x", { ...bare, action: "deny" })], request) === "allow") expect(actionOf([...policies, policy("x", { ...narrowed, action: "deny" })], request)).toBe("allow");
    }), runs);
  });

  test("what is settled at connect is what each request would get, and a connection that is not HTTP gets no more than the best request", () => {
    fc.assert(fc.property(anyPolicies, anyRequest, (policies, { client, port }) => {
      const connection = compileInbound(cart, policies).connection(client, port);
      const requests = targets.flatMap((target) => ["GET", "HEAD", "POST", "PUT"].map((method) => connection.http(method, target)));
      if (connection.settled !== undefined) for (const each of [...requests, connection.tcp]) expect(each.action).toBe(connection.settled.action);
      if (connection.tcp.action === "allow") expect(requests.every(({ action }) => action === "allow")).toBe(true);
    }), runs);
  });
});
