import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { roles, type Role } from "../../../ca/contract/roles.ts";
import { access, authenticate, type RouteName } from "../../../ca/http/authenticate.ts";
import { encodeRequestAuthorization } from "../../../ca/pki/request-authorization.ts";
import { Refusal } from "../../../ca/refusal.ts";
import { auditEvents, newCsr } from "../../support/running-ca.ts";
import { startTestApp, type TestApp } from "../../support/running-app.ts";
import { testAuthority, testNowMs } from "../../support/test-ca.ts";

let app: TestApp;
beforeAll(async () => void (app = await startTestApp()));
afterAll(() => app.close());

/** Written a second time, by hand: whoever changes who may call what changes it here as well. */
const allowed: Readonly<Record<RouteName, readonly (Role | "nobody")[]>> = {
  "POST /v1/certificates": ["nobody", "admin", "operator", "auditor"],
  "GET /v1/certificates": ["admin", "operator", "auditor"],
  "GET /v1/certificates/{serial}": ["admin", "operator", "auditor"],
  "GET /v1/workloads": ["admin", "operator", "auditor"],
  "POST /v1/certificates/{serial}/revoke": ["admin", "operator"],
  "GET /v1/revocations": ["nobody", "admin", "operator", "auditor"],
  "POST /v1/tokens": ["admin", "operator"],
  "GET /v1/tokens": ["admin", "operator", "auditor"],
  "DELETE /v1/tokens/{id}": ["admin", "operator"],
  "POST /v1/operators": ["admin"],
  "GET /v1/operators": ["admin", "auditor"],
  "DELETE /v1/operators": ["admin"],
  "POST /v1/policies": ["admin", "operator"],
  "GET /v1/policies": ["admin", "operator", "auditor"],
  "DELETE /v1/policies/{name}": ["admin", "operator"],
  "POST /v1/policies/test": ["admin", "operator", "auditor"],
  "GET /v1/services": ["admin", "operator", "auditor"],
  "DELETE /v1/services/{name}": ["admin"],
  "GET /v1/policy": ["admin", "operator", "auditor"],
  "GET /v1/authorities": ["admin", "operator", "auditor"],
  "POST /v1/issuers": ["admin", "operator"],
  "GET /v1/issuers": ["admin", "auditor"],
  "POST /v1/authorities": ["admin"],
  "POST /v1/authorities/rotate": ["admin"],
  "POST /v1/authorities/{id}/activate": ["admin"],
  "POST /v1/authorities/{id}/taint": ["admin"],
  "POST /v1/authorities/{id}/revoke": ["admin"],
  "POST /v1/authorities/{id}/retire": ["admin"],
  "POST /v1/jwt-svids": ["admin", "operator", "auditor"],
  "GET /v1/bundle": ["nobody", "admin", "operator", "auditor"],
  "GET /v1/watch": ["nobody", "admin", "operator", "auditor"],
  "GET /v1/federation": ["admin", "operator", "auditor"],
  "POST /v1/federation": ["admin"],
  "GET /v1/federation/{trustDomain}": ["admin", "operator", "auditor"],
  "DELETE /v1/federation/{trustDomain}": ["admin"],
  "POST /v1/federation/{trustDomain}/refresh": ["admin"],
  "POST /v1/federation/invitations": ["admin"],
  "POST /v1/federation/acceptances": ["admin"],
  "POST /v1/federation/joins": ["nobody", "admin", "operator", "auditor"],
  "GET /v1/hubs": ["admin", "operator", "auditor"],
  "POST /v1/hubs": ["admin"],
  "DELETE /v1/hubs/{name}": ["admin"],
  "GET /v1/hub-bundle": ["nobody", "admin", "operator", "auditor"],
  "GET /v1/hub-holdings": ["admin", "operator", "auditor"],
  "POST /v1/federation/acknowledgements": ["nobody", "admin", "operator", "auditor"],
  "GET /v1/federated-bundles": ["nobody", "admin", "operator", "auditor"],
  "GET /v1/bundle-map": ["nobody", "admin", "operator", "auditor"],
  "POST /v1/acknowledgements": ["nobody", "admin", "operator", "auditor"],
  "POST /v1/reports": ["nobody", "admin", "operator", "auditor"],
  "POST /v1/taps": ["admin", "auditor"],
  "GET /v1/proxies": ["admin", "operator", "auditor"],
  "GET /v1/vitals": ["admin", "auditor"],
  "GET /v1/edges": ["admin", "operator", "auditor"],
  "GET /v1/edge-groups": ["admin", "operator", "auditor"],
  "GET /v1/audit/entries": ["admin", "auditor"],
  "GET /v1/audit/checkpoint": ["nobody", "admin", "operator", "auditor"],
  "GET /v1/audit/proof": ["nobody", "admin", "operator", "auditor"],
  "POST /v1/sign-ins": ["admin", "operator", "auditor"],
  "GET /v1/witness": ["nobody", "admin", "operator", "auditor"],
  "POST /v1/witness/add-checkpoint": ["nobody", "admin", "operator", "auditor"],
  "GET /v1/witness/checkpoint": ["nobody", "admin", "operator", "auditor"],
  "POST /v1/clock": ["admin"],
  "GET /healthz": ["nobody", "admin", "operator", "auditor"],
  "GET /readyz": ["nobody", "admin", "operator", "auditor"],
  "GET /metrics": ["admin", "auditor"],
  "GET /openapi.json": ["nobody", "admin", "operator", "auditor"],
  "GET /crl/{authority}/{list}": ["nobody", "admin", "operator", "auditor"],
  "GET /authority/{certificate}": ["nobody", "admin", "operator", "auditor"],
  "POST /ocsp": ["nobody", "admin", "operator", "auditor"],
  "GET /ocsp/{request}": ["nobody", "admin", "operator", "auditor"],
  "GET /docs": ["nobody", "admin", "operator", "auditor"],
};

/** A request to the route; without a body, so that one which gets in is refused for that and changes nothing. */
function knock(route: RouteName, as: Role | undefined) {
  const [method = "", path = ""] = route.split(" ");
  return app.call(method, path.replace(/\{\w+\}/, "00"), { ...(as && { as }) });
}

describe("every route, for every role", () => {
  for (const route of Object.keys(access) as RouteName[]) {
    test.for([undefined, ...roles])(`${route} as %s`, async (as) => {
      const { status, problem } = await knock(route, as);
      const refused = problem.code === "unauthenticated" || problem.code === "forbidden";
      expect(refused).toBe(!allowed[route].includes(as ?? "nobody"));
      if (refused)
        expect([status, problem.code]).toEqual(as === undefined ? [401, "unauthenticated"] : [403, "forbidden"]);
    });
  }
});

describe("an Authorization header that is no good", () => {
  test.for([
    ["an unknown token", "Bearer csapi_0000000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
    ["another scheme", "Basic YWRtaW46YWRtaW4="],
    ["no token", "Bearer"],
    ["an empty one", ""],
    ["two tokens", "Bearer a, Bearer b"],
    ["a token with a space", "Bearer a b"],
    ["a token of 600 characters", `Bearer ${"a".repeat(600)}`],
  ])("%s is refused with 401 and what is wanted, also where no token is needed", async ([, authorization = ""]) => {
    for (const [method, path] of [
      ["GET", "/v1/certificates"],
      ["POST", "/v1/certificates"],
    ] as const) {
      const answer = await app.call(method, path, { headers: { authorization } });
      expect([answer.status, answer.problem.code]).toEqual([401, "unauthenticated"]);
      expect(answer.headers.get("www-authenticate")).toBe('Bearer realm="countersign"');
    }
  });

  test("what cannot be a token is not looked up", async () => {
    let asked = 0;
    const look = () => Promise.resolve(void (asked += 1));
    const services = { authenticate: look, authenticateSigned: () => look().then(() => Promise.reject(new Error("looked"))), authenticatePeer: () => look().then(() => Promise.reject(new Error("looked"))), spendSigned: () => Promise.resolve(), operators: { noteUse: () => undefined } };
    for (const header of [`Bearer ${"a".repeat(600)}`, "Bearer a b", "Basic YTpi", "", "SVID", "SVID proof=\"x\", nonce=\"short\"", `SVID proof="${"a".repeat(17_000)}", nonce="${"n".repeat(22)}"`]) {
      expect((await authenticate(services, ["admin"], header, () => Promise.reject(new Error("read")))).refusal?.code).toBe("unauthenticated");
    }
    expect(asked).toBe(0);
  });

  test("the scheme's name is taken in any case", async () => {
    expect(
      (await app.call("GET", "/v1/certificates", { headers: { authorization: `bearer ${app.tokens.admin}` } })).status,
    ).toBe(200);
  });

  test("a deleted token is refused at once", async () => {
    const { token, id } = (
      await app.call("POST", "/v1/tokens", { as: "admin", json: { type: "api", name: "brief", role: "auditor" } })
    ).json;
    const headers = { authorization: `Bearer ${String(token)}` };
    expect((await app.call("GET", "/v1/certificates", { headers })).status).toBe(200);
    expect((await app.call("DELETE", `/v1/tokens/${String(id)}`, { as: "admin" })).status).toBe(204);
    expect((await app.call("GET", "/v1/certificates", { headers })).status).toBe(401);
  });

  test("an expired token is refused", async () => {
    const { token } = (
      await app.call("POST", "/v1/tokens", {
        as: "admin",
        json: { type: "api", name: "brief", role: "auditor", expiresInSeconds: 60 },
      })
    ).json;
    const headers = { authorization: `Bearer ${String(token)}` };
    expect((await app.call("GET", "/v1/certificates", { headers })).status).toBe(200);
    app.clock.nowMs += 61_000;
    expect((await app.call("GET", "/v1/certificates", { headers })).status).toBe(401);
  });
});

test("an operator without a scope gets nothing from a route that is for operators in scope", async () => {
  const own = await startTestApp();
  const { token } = await own.ca.createToken({ type: "api", name: "unscoped", role: "operator" }, own.admin);
  const headers = { authorization: `Bearer ${token}` };
  const { serialNumber } = await issue(own, "spiffe://east/ns/shop/sa/cart");
  const { id } = await own.ca.createToken({ type: "join", spiffeId: "spiffe://east/ns/shop/sa/cart" }, own.admin);
  const cartPolicy = { name: "cart", workloads: ["spiffe://east/ns/shop/sa/cart"], rules: [{ action: "allow", from: ["spiffe://east/*"] }] } as const;
  await own.ca.policies.apply({ policies: [{ ...cartPolicy, description: "before" }] }, own.admin);
  const requests = {
    "GET /v1/certificates": ["", undefined],
    "GET /v1/certificates/{serial}": [serialNumber, undefined],
    "GET /v1/workloads": [serialNumber, undefined],
    "POST /v1/certificates/{serial}/revoke": [serialNumber, { reason: "unspecified" }],
    "POST /v1/tokens": ["", { type: "join", spiffeId: "spiffe://east/ns/shop/sa/cart" }],
    "GET /v1/edges": ["", undefined],
    "GET /v1/edge-groups": ["", undefined],
    "GET /v1/proxies": ["", undefined],
    "GET /v1/tokens": ["", undefined],
    "DELETE /v1/tokens/{id}": [id, undefined],
    "POST /v1/policies": ["", { policies: [cartPolicy] }],
    "DELETE /v1/policies/{name}": ["cart", undefined],
    "POST /v1/issuers": ["", { csr: newCsr().csr, profile: "istio", trustDomain: "west" }],
  } as const satisfies Partial<Record<RouteName, readonly [string, unknown]>>;
  const scoped = Object.entries(access).filter(([, rule]) => (rule as readonly string[]).includes("operator in scope"));
  expect(scoped.map(([route]) => route).sort()).toEqual(Object.keys(requests).sort());
  for (const [route, [parameter, json]] of Object.entries(requests)) {
    const [method = "", path = ""] = route.split(" ");
    const answer = await own.call(method, path.replace(/\{\w+\}/, parameter), { headers, ...(json && { json }) });
    if (route === "GET /v1/edges") expect(answer.json).toEqual({ edges: [], total: 0, unsecured: 0, proxies: 0, truncated: false });
    else if (route === "GET /v1/edge-groups") expect(answer.json).toEqual({ groups: [], links: [], leftOut: 0 });
    else if (route === "GET /v1/proxies") expect(answer.json).toEqual({ proxies: [], total: 0, truncated: false });
    else if (route === "GET /v1/workloads") expect(answer.json).toEqual({ workloads: [], total: 0, truncated: false });
    else if (answer.status === 200) expect(Object.values(answer.json)).toEqual([[]]);
    else expect([route, answer.problem.code]).toEqual([route, "forbidden"]);
  }
  await own.close();
});

test("what an operator reads ends with its scope", async () => {
  const own = await startTestApp();
  const inside = await issue(own, "spiffe://east/ns/shop/sa/cart");
  const outside = await issue(own, "spiffe://east/ns/shopping/sa/cart");
  const tokens = await Promise.all(["shop", "bank"].map((name) => own.ca.createToken({ type: "join", spiffeId: `spiffe://east/ns/${name}/a` }, own.admin)));
  const listed = async (path: string, as: Role) => (await own.call("GET", path, { as })).json;
  const serials = async (as: Role, query = "") => ((await listed(`/v1/certificates${query}`, as))["certificates"] as { serialNumber: string }[]).map(({ serialNumber }) => serialNumber);
  expect(await serials("operator")).toEqual([inside.serialNumber]);
  expect(await serials("operator", "?spiffeId=spiffe://east/ns/shopping/*")).toEqual([]);
  for (const as of ["admin", "auditor"] as const) expect(await serials(as)).toEqual(expect.arrayContaining([outside.serialNumber, inside.serialNumber]));
  expect(((await listed("/v1/tokens", "operator"))["tokens"] as { id: string }[]).map(({ id }) => id)).toEqual([tokens[0]!.id]);
  const refused = await own.call("GET", `/v1/certificates/${outside.serialNumber}`, { as: "operator" });
  expect([refused.status, refused.problem.code]).toEqual([403, "forbidden"]);
  expect(refused.text).not.toContain("shopping");
  await expect.poll(async () => (await auditEvents(own.store)).at(-1)).toMatchObject({ type: "request.denied", code: "forbidden", path: "/v1/certificates/{serial}" });
  expect((await own.call("GET", `/v1/certificates/${inside.serialNumber}`, { as: "operator" })).status).toBe(200);
  await own.close();
});

test("an API caller who is refused by the act itself is in the audit log", async () => {
  const own = await startTestApp();
  await own.call("POST", "/v1/tokens", { as: "operator", json: { type: "join", spiffeId: "spiffe://east/ns/bank/sa/vault" } });
  await expect.poll(async () => (await auditEvents(own.store)).at(-1)).toMatchObject({
    type: "request.denied", code: "forbidden", method: "POST", path: "/v1/tokens", actor: expect.stringMatching(/^token:/),
  });
  await own.close();
});

function issue({ ca, admin }: TestApp, spiffeId: string) {
  return ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId } }, { caller: admin });
}

test("denials are in the audit log with who, what and why, and without the path's parameters", async () => {
  const own = await startTestApp();
  await own.call("GET", "/v1/audit/entries");
  await own.call("POST", "/v1/certificates/ffff-not-to-be-logged/revoke", { as: "auditor" });
  const denied = (): Promise<Record<string, unknown>[]> =>
    auditEvents(own.store).then((all) => all.filter(({ type }) => type === "request.denied"));
  await expect.poll(denied).toHaveLength(2);
  const [first, second] = await denied();
  expect(first).toMatchObject({
    actor: "anonymous",
    code: "unauthenticated",
    method: "GET",
    path: "/v1/audit/entries",
  });
  expect(second).toMatchObject({
    actor: expect.stringMatching(/^token:/),
    code: "forbidden",
    method: "POST",
    path: "/v1/certificates/{serial}/revoke",
  });
  await own.close();
});

test("the CA of another trust domain follows the feed as a workload would, and is nobody anywhere else", async () => {
  const spiffeId = "spiffe://west/countersign/ca";
  const { chain, privateKey } = testAuthority({ trustDomain: "west" }).leaf({ spiffeId });
  const request = { method: "GET", target: "/v1/watch", body: "" };
  const header = encodeRequestAuthorization({ ...request, chain, privateKey, audience: "east", nonce: "n".repeat(24), nowMs: testNowMs });
  const services = {
    authenticate: async () => undefined, spendSigned: async () => undefined, authenticatePeer: async () => spiffeId, operators: { noteUse: () => undefined },
    authenticateSigned: async () => { throw new Refusal("proof_refused", "It is of no trust domain of this CA."); },
  };
  const by = (route: RouteName) => authenticate(services, access[route], header, async () => request);
  expect(await by("GET /v1/watch")).toEqual({ caller: { actor: spiffeId, name: spiffeId, role: "workload", scope: [] } });
  for (const route of ["GET /v1/policy", "GET /v1/vitals", "POST /v1/hubs", "POST /v1/acknowledgements"] as const) {
    expect(await by(route), route).toMatchObject({ refusal: { code: "proof_refused" } });
  }
});
