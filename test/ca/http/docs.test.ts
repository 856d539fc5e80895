import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { catalogue, linkOf, type CheckId } from "../../../ca/check/catalogue.ts";
import { problemStatus } from "../../../ca/contract/problem.ts";
import { access } from "../../../ca/http/authenticate.ts";
import type { ApiDocument } from "../../../ca/http/docs-page.ts";
import { startTestApp, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
let document: ApiDocument & Record<string, unknown>;
beforeAll(async () => {
  app = await startTestApp();
  document = (await app.call("GET", "/openapi.json")).json as unknown as typeof document;
});
afterAll(() => app.close());

describe("/openapi.json", () => {
  test("describes every route and no other", () => {
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(described.sort()).toEqual(Object.keys(access).sort());
  });

  test("is OpenAPI 3.1 in which every reference leads somewhere", () => {
    expect(document["openapi"]).toBe("3.1.0");
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map(
      ([, name]) => name,
    );
    expect(references.length).toBeGreaterThan(20);
    for (const name of references) expect(Object.keys(document.components.schemas)).toContain(name);
  });

  test("gives every operation an id of its own, a summary, answers, and parameters for what its path holds", () => {
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.values(methods).map((operation) => ({ path, ...operation })),
    );
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
    for (const { path, summary, responses, parameters = [], tags } of operations) {
      expect(summary).not.toBe("");
      expect(document.tags.map(({ name }) => name)).toEqual(expect.arrayContaining([...tags]));
      expect(Object.keys(responses).some((status) => status.startsWith("2"))).toBe(true);
      expect(parameters.filter((one) => one.in === "path").map(({ name }) => `{${name}}`)).toEqual(
        path.match(/\{\w+\}/g) ?? [],
      );
    }
  });

  test("lists problem codes of the contract only", () => {
    const problem = document.components.schemas["Problem"]?.properties?.["code"]?.enum;
    expect(problem).toEqual(Object.keys(problemStatus));
  });

  test("says of each route whether a token is needed", () => {
    for (const [route, rule] of Object.entries(access)) {
      const [method = "", path = ""] = route.split(" ");
      const { security } = document.paths[path]![method.toLowerCase()]!;
      expect(security, route).toEqual(
        rule === "public" || rule === "probe" ? [] : rule === "attested" || rule === "feed" ? [{}, { apiToken: [] }, { signedBySvid: [] }] : [{ apiToken: [] }, { signedBySvid: [] }],
      );
    }
  });
});

describe("/docs", () => {
  test("shows every route, loads nothing, runs nothing", async () => {
    const { text, headers } = await app.call("GET", "/docs");
    expect(headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(Object.keys(access).filter((route) => !text.includes(`<code>${route.split(" ")[1]}</code>`))).toEqual([]);
    expect(text.match(/<script|<link|<img|<iframe| src=| style=| on\w+="|url\(|@import/g)).toBeNull();
    for (const [, address] of text.matchAll(/href="([^"]*)"/g)) expect(address).toMatch(/^#|^\/openapi\.json$/);
  });

  test("explains every check where the command's links lead", async () => {
    const { text } = await app.call("GET", "/docs");
    for (const id of Object.keys(catalogue) as CheckId[]) expect(text, id).toContain(` id="${linkOf(id, "").slice(1)}"`);
    expect(text).toContain(catalogue["store-durable"].remedy);
  });

  test("its policy allows its own style and nothing else", async () => {
    const { text, headers } = await app.call("GET", "/docs");
    const style = /<style>([\s\S]*?)<\/style>/.exec(text)?.[1] ?? "";
    const digest = createHash("sha256").update(style).digest("base64");
    expect(headers.get("content-security-policy")).toBe(
      `default-src 'none'; style-src 'sha256-${digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
  });

  test("its links within the page lead somewhere", async () => {
    const { text } = await app.call("GET", "/docs");
    const ids = new Set([...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    for (const [, target] of text.matchAll(/href="#([^"]+)"/g)) expect(ids).toContain(target);
  });
});
