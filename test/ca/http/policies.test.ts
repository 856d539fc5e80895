import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Policy, PolicyList, PolicySet } from "../../../ca/contract/policies.ts";
import type { PolicyTestResult } from "../../../ca/contract/policy-decisions.ts";
import { applyResult, policyList, policySet, policyTestResult, serviceList } from "../../../ca/http/schemas/policies.ts";
import { encodeRequestAuthorization } from "../../../ca/pki/request-authorization.ts";
import { auditEvents, chainOf, newCsr } from "../../support/running-ca.ts";
import { startTestApp, type Answered, type CallOptions, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
beforeAll(async () => void (app = await startTestApp()));
afterEach(async () => {
  for (const { name } of (await app.ca.policies.policies()).policies) await app.ca.policies.remove("policy", name, app.admin);
  for (const { name } of (await app.ca.policies.services()).services) await app.ca.policies.remove("service", name, app.admin);
});
afterAll(() => app.close());

const web = "spiffe://east/ns/shop/sa/web";
const cart = "spiffe://east/ns/shop/sa/cart";
const policy = (name: string, workloads: readonly string[] = [cart], more: Partial<Policy> = {}): Policy => ({ name, workloads, rules: [{ action: "allow", from: [web], ports: [8080] }], ...more });
const apply = (json: unknown, as: CallOptions["as"] = "admin"): Promise<Answered> => app.call("POST", "/v1/policies", { as, json });
const names = async (): Promise<readonly string[]> => ((await app.call("GET", "/v1/policies", { as: "auditor" })).json as unknown as PolicyList).policies.map(({ name }) => name);

describe("POST /v1/policies", () => {
  test("adds, replaces and leaves alone, all under one sequence, in the audit log with what was decided", async () => {
    const service = { name: "cart.shop", spiffeId: cart, addresses: [{ host: "10.0.0.7", port: 4143, weight: 3 }] };
    const first = await apply({ policies: [policy("a"), policy("b")], services: [service] });
    expect([first.status, applyResult.strict().parse(first.json).changed]).toEqual([200, ["policy a", "policy b", "service cart.shop"]]);
    const second = await apply({ policies: [policy("a"), policy("b", [web])] });
    expect(second.json["changed"]).toEqual(["policy b"]);
    expect(Number(second.json["sequence"])).toBeGreaterThan(Number(first.json["sequence"]));
    expect((await apply({ policies: [policy("a")] })).json).toEqual({ sequence: second.json["sequence"], changed: [] });

    const listed = policyList.parse((await app.call("GET", "/v1/policies", { as: "operator" })).json);
    expect(listed.policies).toMatchObject([{ name: "a", changed: { sequence: first.json["sequence"], changedBy: expect.stringMatching(/^token:/) } }, { name: "b", workloads: [web], changed: { sequence: second.json["sequence"] } }]);
    expect(serviceList.parse((await app.call("GET", "/v1/services", { as: "operator" })).json).services).toMatchObject([service]);
    const events = (await auditEvents(app.store)).filter(({ type }) => type === "policy.changed" || type === "service.changed");
    expect(events.map(({ name, document }) => [name, document])).toEqual([["a", policy("a")], ["b", policy("b")], ["cart.shop", service], ["b", policy("b", [web])]]);
  });

  test.for<[string, unknown, string]>([
    ["one policy with a fault", { policies: [policy("fine"), policy("wrong", ["spiffe://east/a*"])] }, "policy_refused"],
    ["two of one name", { policies: [policy("a"), policy("a")] }, "policy_refused"],
    ["a service for no identity", { policies: [policy("fine")], services: [{ name: "x", spiffeId: "spiffe://east" }] }, "policy_refused"],
    ["a service in upper case", { services: [{ name: "Cart", spiffeId: cart }] }, "policy_refused"],
    ["a workload of another trust domain", { policies: [policy("fine"), policy("foreign", [cart, "spiffe://esat/ns/shop/sa/cart"])] }, "policy_refused"],
    ["a member that is not known", { policies: [{ ...policy("a"), mode: "x" }] }, "invalid_request"],
    ["more than there may be", { services: Array.from({ length: 1000 }, (_, index) => ({ name: `s${index}`, spiffeId: cart })), policies: [policy("a")] }, "policy_refused"],
  ])("with %s changes nothing", async ([, json, code]) => {
    const answer = await apply(json);
    expect([answer.status, answer.problem.code]).toEqual([400, code]);
    expect(await names()).toEqual([]);
    expect((await app.ca.policies.services()).services).toEqual([]);
  });

  test("does not let all policies together grow without end", async () => {
    const big = (name: string) => policy(name, Array.from({ length: 64 }, (_, index) => `spiffe://east/${index}/${"x".repeat(1900)}`));
    for (let index = 0; index < 8; index++) expect((await apply({ policies: [big(`p${index}`)] })).status).toBe(200);
    expect((await apply({ policies: [big("p8")] })).problem.code).toBe("policy_refused");
    expect((await apply({ policies: [policy("p0"), big("p8")] })).status).toBe(200);
  });

  test("by two at once loses neither", async () => {
    await Promise.all(["a", "b", "c"].map((name) => apply({ policies: [policy(name)] })));
    expect(await names()).toEqual(["a", "b", "c"]);
  });
});

describe("an operator", () => {
  test("makes and removes policies about workloads in its scope", async () => {
    expect((await apply({ policies: [policy("mine", ["spiffe://east/ns/shop/*"])] }, "operator")).status).toBe(200);
    expect((await app.call("DELETE", "/v1/policies/mine", { as: "operator" })).status).toBe(204);
  });

  test.for<[string, unknown]>([
    ["beyond its scope", { policies: [policy("x", [cart, "spiffe://east/ns/bank/*"])] }],
    ["with a star where its scope ends", { policies: [policy("x", ["spiffe://east/ns/*/sa/cart"])] }],
    ["of everybody", { policies: [policy("x", ["spiffe://east/*"])] }],
    ["that an admin made for others", { policies: [policy("theirs")] }],
    ["for a name", { services: [{ name: "cart", spiffeId: cart }] }],
    ["beyond its scope beside one within", { policies: [policy("fine"), policy("x", ["spiffe://east/ns/bank/*"])] }],
  ])("makes none %s", async ([, json]) => {
    await apply({ policies: [policy("theirs", ["spiffe://east/ns/bank/*"])] });
    const answer = await apply(json, "operator");
    expect([answer.status, answer.problem.code]).toEqual([403, "forbidden"]);
    expect((await app.call("DELETE", "/v1/policies/theirs", { as: "operator" })).problem.code).toBe("forbidden");
    expect((await app.ca.policies.policies()).policies).toMatchObject([{ name: "theirs", workloads: ["spiffe://east/ns/bank/*"] }]);
    expect((await app.ca.policies.services()).services).toEqual([]);
  });
});

describe("operators who make more and more policies", () => {
  const many = (count: number, prefix: string, more: Partial<Policy> = {}) => ({ policies: Array.from({ length: count }, (_, index) => policy(`${prefix}${index}`, [cart], more)) });
  const as = async (actor: string, json: { readonly policies: readonly Policy[] }, role = "operator") =>
    app.ca.policies.apply(json, { actor, name: actor, role, scope: ["spiffe://east/ns/shop/*"] }).then(() => "applied", ({ code, message }: Error & { code: string }) => `${code}: ${message}`);

  test("have a share each, by number and by length, in which they may still replace and remove", async () => {
    expect(await as("one", many(180, "a"))).toBe("applied");
    expect(await as("one", many(1, "b"))).toMatch(/^policy_refused: .*"one" would have 181 policies/);
    expect(await as("one", many(1, "a", { description: "changed" }))).toBe("applied");
    await app.ca.policies.remove("policy", "a1", { actor: "one", name: "one", role: "operator", scope: ["spiffe://east/ns/shop/*"] });
    expect(await as("one", many(1, "b"))).toBe("applied");
    const long = { workloads: Array.from({ length: 64 }, (_, index) => `spiffe://east/ns/shop/${index}/${"x".repeat(1900)}`) };
    expect(await as("two", many(1, "l", long))).toBe("applied");
    expect(await as("two", many(2, "l", long))).toMatch(/^policy_refused: .*"two" would have 2 policies of/);
    expect(await as("admin", many(2, "l", long), "admin")).toBe("applied");
  });

  test("leave some to admins all together, also by changing what is there", async () => {
    for (const actor of ["one", "two", "three", "four", "five"]) expect(await as(actor, many(180, actor))).toBe("applied");
    expect(await as("six", many(1, "six"))).toMatch(/^policy_refused: .*kept for admins/);
    expect(await as("six", many(1, "one"))).toBe("applied");
    expect(await as("admin", many(100, "admin"), "admin")).toBe("applied");
    expect(await as("admin", many(1, "beyond"), "admin")).toMatch(/^policy_refused/);
  });
});

describe("POST /v1/policies/test", () => {
  const explain = async (json: object) => policyTestResult.strict().parse((await app.call("POST", "/v1/policies/test", { as: "auditor", json: { from: web, to: cart, ...json } })).json) satisfies PolicyTestResult;

  test("tells the decision, the rule and what selects the server", async () => {
    expect(await explain({})).toMatchObject({ action: "allow", reason: "mesh_default", policies: [] });
    await apply({ policies: [policy("cart"), policy("no-admin", [cart], { rules: [{ name: "admin", action: "deny", from: ["*"], paths: ["/admin/*"] }] })] });
    expect(await explain({ port: 8080, path: "/admin/x" })).toMatchObject({ action: "deny", rule: "no-admin/admin", reason: "rule_denied", policies: ["cart", "no-admin"] });
    expect(await explain({ port: 8080, method: "GET", path: "/x" })).toMatchObject({ action: "allow", rule: "cart/1" });
    expect(await explain({ port: 8080 })).toMatchObject({ action: "deny", reason: "not_http" });
    expect(await explain({ port: 9090, path: "/x" })).toMatchObject({ action: "deny", reason: "no_rule_allows" });
  });

  test("asks for the port where it matters", async () => {
    await apply({ policies: [policy("cart")] });
    expect((await app.call("POST", "/v1/policies/test", { as: "auditor", json: { from: web, to: cart } })).problem.code).toBe("invalid_request");
  });

  test("does not decide for the workloads of other trust domains", async () => {
    expect((await app.call("POST", "/v1/policies/test", { as: "auditor", json: { from: web, to: "spiffe://esat/ns/shop/sa/cart" } })).problem.code).toBe("spiffe_id_refused");
  });
});

describe("GET /v1/policy", () => {
  async function workload(spiffeId: string) {
    const { csr, privateKey } = newCsr();
    const issued = await app.ca.issue({ csr, attestation: { type: "operator", spiffeId } }, { caller: app.admin });
    return (target: string, headers: Readonly<Record<string, string>> = {}) => {
      const nonce = "n".repeat(22);
      const authorization = encodeRequestAuthorization({ method: "GET", target, body: "", nonce, chain: chainOf(issued), privateKey, audience: "east", nowMs: app.clock.nowMs });
      return app.call("GET", target, { headers: { authorization, ...headers } });
    };
  }

  test("gives a workload what selects it and all services, and 304 while nothing changed", async () => {
    await apply({ policies: [policy("cart"), policy("all", ["spiffe://east/*"]), policy("web", [web])], services: [{ name: "w", spiffeId: web }] });
    const get = await workload(cart);
    const answer = await get("/v1/policy");
    const set = policySet.strict().parse(answer.json) satisfies PolicySet;
    expect(set).toMatchObject({ workload: cart, policies: [{ name: "all" }, { name: "cart" }], services: [{ name: "w" }] });
    const etag = answer.headers.get("etag")!;
    expect((await get("/v1/policy", { "if-none-match": etag })).status).toBe(304);
    await apply({ policies: [policy("new")] });
    expect((await get("/v1/policy", { "if-none-match": etag })).json["policies"]).toMatchObject([{ name: "all" }, { name: "cart" }, { name: "new" }]);
  });

  test("is for a workload's own eyes, and those who operate", async () => {
    const get = await workload(web);
    expect((await get(`/v1/policy?workload=${cart}`)).problem.code).toBe("forbidden");
    expect((await get("/v1/policies")).problem.code).toBe("forbidden");
    expect((await app.call("GET", "/v1/policy")).problem.code).toBe("unauthenticated");
    expect((await app.call("GET", "/v1/policy", { as: "auditor" })).problem.code).toBe("invalid_request");
    expect((await app.call("GET", `/v1/policy?workload=${cart}`, { as: "auditor" })).json["workload"]).toBe(cart);
  });

  test("is not older than the sequence its reader has heard of", async () => {
    const get = await workload(cart);
    await get("/v1/policy");
    const { documentSequence: expects } = await app.store.feedPosition();
    const body = JSON.stringify(policy("elsewhere"));
    const { logIndex } = await app.store.commit({
      kind: "change-documents", expects, entries: ["{}"], changes: [{ kind: "policy", name: "elsewhere", body, changedAtMs: 0, changedBy: "x" }],
    });
    expect((await get("/v1/policy")).json["policies"]).toEqual([]);
    expect((await get(`/v1/policy?sequence=${logIndex + 1}`)).json["policies"]).toMatchObject([{ name: "elsewhere" }]);
  });
});

test("who follows the feed is told that something changed, and not what", async () => {
  const answer = await app.app.request("/v1/watch");
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  const { sequence } = (await apply({ policies: [policy("secret-name")] })).json;
  let text = "";
  while (!text.includes(`"sequence":${String(sequence)}}`)) text += (await reader.read()).value ?? "";
  await reader.cancel();
  expect(text).toContain(`event: policy\n`);
  expect(text).not.toContain("secret-name");
});

test("the patterns of all policies are read once, and not for each proxy that asks for its own", async () => {
  const patterns = (index: number) => Array.from({ length: 64 }, (_, one) => `spiffe://east/${index}/${one}/*`);
  expect((await apply({ policies: [policy("own"), ...Array.from({ length: 30 }, (_, index) => policy(`p${index}`, patterns(index)))] })).status).toBe(200);
  const fetched = (workload: string) => app.call("GET", `/v1/policy?workload=${workload}`, { as: "auditor" });
  await fetched(web);
  const exec = vi.spyOn(RegExp.prototype, "exec");
  const set = (await fetched(cart)).json as unknown as PolicySet;
  const read = exec.mock.calls.length;
  exec.mockRestore();
  expect(set.policies.map(({ name }) => name)).toEqual(["own"]);
  expect(read).toBeLessThan(200);
});
