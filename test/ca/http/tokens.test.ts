import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TokenPage } from "../../../ca/contract/tokens.ts";
import { createdToken, tokenPage } from "../../../ca/http/schemas/tokens.ts";
import { parseBootstrap } from "../../../ca/pki/bootstrap.ts";
import { startTestApp, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
beforeAll(async () => void (app = await startTestApp()));
afterAll(() => app.close());

const join = { type: "join", spiffeId: "spiffe://east/ns/shop/sa/cart" };

describe("POST /v1/tokens", () => {
  test("a join token comes with the one string a proxy needs", async () => {
    const answer = await app.call("POST", "/v1/tokens", {
      as: "admin",
      json: { ...join, dnsNames: ["cart.shop.svc"], expiresInSeconds: 60 },
    });
    const created = createdToken.strict().parse(answer.json);
    expect(answer.status).toBe(201);
    expect(parseBootstrap(created.bootstrap ?? "")).toMatchObject({ token: created.token, trustDomain: "east" });
    expect(Date.parse(created.expiresAt ?? "") - Date.parse(created.createdAt)).toBe(60_000);
  });

  test.for([
    [
      "an ID outside the operator's scope",
      "operator",
      { type: "join", spiffeId: "spiffe://east/ns/bank/sa/vault" },
      403,
      "forbidden",
    ],
    ["an API token by an operator", "operator", { type: "api", name: "more", role: "admin" }, 403, "forbidden"],
    ["an ID that is none", "admin", { type: "join", spiffeId: "spiffe://EAST/a" }, 400, "spiffe_id_refused"],
    [
      "a scope of another trust domain",
      "admin",
      { type: "api", name: "x", role: "operator", scope: ["spiffe://west/*"] },
      400,
      "spiffe_id_refused",
    ],
    ["an unknown role", "admin", { type: "api", name: "x", role: "root" }, 400, "invalid_request"],
    ["a join token with a role", "admin", { ...join, role: "admin" }, 400, "invalid_request"],
    ["a lifetime of nothing", "admin", { ...join, expiresInSeconds: 0 }, 400, "invalid_request"],
    ["half a second", "admin", { ...join, expiresInSeconds: 0.5 }, 400, "invalid_request"],
    ["no type", "admin", { spiffeId: "spiffe://east/a" }, 400, "invalid_request"],
  ] as const)("%s is refused", async ([, as, json, status, code]) => {
    const answer = await app.call("POST", "/v1/tokens", { as, json });
    expect([answer.status, answer.problem.code]).toEqual([status, code]);
  });
});

describe("GET /v1/tokens", () => {
  test("pages hold every token once, newest first, and no secret", async () => {
    const secrets: string[] = [];
    for (let n = 0; n < 3; n++) {
      app.clock.nowMs += 1000;
      secrets.push(String((await app.call("POST", "/v1/tokens", { as: "admin", json: join })).json["token"]));
    }
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const answer = await app.call("GET", `/v1/tokens?limit=2${cursor ? `&cursor=${cursor}` : ""}`, { as: "auditor" });
      for (const secret of secrets) expect(answer.text).not.toContain(secret);
      const page: TokenPage = tokenPage.strict().parse(answer.json);
      seen.push(...page.tokens.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    expect(new Set(seen).size).toBe(seen.length);
    const all = (await app.call("GET", "/v1/tokens?limit=1000", { as: "auditor" })).json as unknown as TokenPage;
    expect(all.tokens.map(({ id }) => id)).toEqual(seen);
  });
});

describe("DELETE /v1/tokens/{id}", () => {
  test("a deleted token is gone and cannot be redeemed", async () => {
    const { id } = (await app.call("POST", "/v1/tokens", { as: "operator", json: join })).json;
    expect(await app.call("DELETE", `/v1/tokens/${String(id)}`, { as: "operator" })).toMatchObject({
      status: 204,
      text: "",
    });
    const again = await app.call("DELETE", `/v1/tokens/${String(id)}`, { as: "operator" });
    expect([again.status, again.problem.code]).toEqual([404, "not_found"]);
  });

  test("an operator cannot delete an API token, nor a join token outside its scope", async () => {
    const { tokens } = (await app.call("GET", "/v1/tokens?limit=1000", { as: "admin" })).json as unknown as TokenPage;
    const api = tokens.find(({ role }) => role === "admin");
    const other = (
      await app.call("POST", "/v1/tokens", { as: "admin", json: { type: "join", spiffeId: "spiffe://east/ns/bank/a" } })
    ).json;
    for (const id of [api?.id, other["id"]]) {
      const answer = await app.call("DELETE", `/v1/tokens/${String(id)}`, { as: "operator" });
      expect([answer.status, answer.problem.code]).toEqual([403, "forbidden"]);
    }
  });

  test("an id that is none is refused without being repeated", async () => {
    const answer = await app.call("DELETE", "/v1/tokens/csapi_secret%20secret", { as: "admin" });
    expect([answer.status, answer.problem.code]).toEqual([400, "invalid_request"]);
    expect(answer.text).not.toContain("secret%20");
  });
});
