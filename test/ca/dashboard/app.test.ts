import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Role } from "../../../ca/contract/roles.ts";
import { dashboardSessions } from "../../../ca/dashboard/sessions.ts";
import { auditEvents, hourMs, newCsr } from "../../support/running-ca.ts";
import { startTestApp, type Answered, type TestApp } from "../../support/running-app.ts";

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const formType = { "content-type": "application/x-www-form-urlencoded" };

function send(path: string, fields: Readonly<Record<string, string>>, headers: Readonly<Record<string, string>> = {}): Promise<Answered> {
  return app.call("POST", path, { body: new URLSearchParams(fields).toString(), headers: { ...formType, "sec-fetch-site": "same-origin", ...headers } });
}

/** @returns the header by which the browser is known from then on */
async function signIn(token: string): Promise<{ readonly cookie: string }> {
  const answer = await send("/ui/sign-in", { token });
  return { cookie: /^[^;]*/.exec(answer.headers.get("set-cookie") ?? "")?.[0] ?? "" };
}

const look = (path: string, headers: Readonly<Record<string, string>>): Promise<Answered> => app.call("GET", path, { headers });

describe("signing in", () => {
  test("a token makes a session that the audit log knows of, and a cookie that neither scripts nor other sites have", async () => {
    const { status, headers } = await send("/ui/sign-in", { token: app.tokens.auditor });
    expect(status).toBe(303);
    expect(headers.get("set-cookie")).toMatch(/^__Host-countersign=[\w-]{43}; Path=\/; Max-Age=28800; Secure; HttpOnly; SameSite=Strict$/);
    const [started] = (await auditEvents(app.store)).filter(({ type }) => type === "session.started").slice(-1);
    expect(started).toMatchObject({ role: "auditor", actor: expect.stringMatching(/^token:[0-9a-f]{16}$/) });
  });

  test("what the store keeps of it is a hash", async () => {
    const { cookie } = await signIn(app.tokens.admin);
    const rows = await app.store.reports({ kind: "session", nowMs: app.clock.nowMs, limit: 100 });
    expect(rows.length).toBeGreaterThan(0);
    expect(JSON.stringify(rows)).not.toContain(cookie.split("=")[1]);
  });

  test("an unknown token is refused", async () => {
    const answer = await send("/ui/sign-in", { token: `${app.tokens.admin.slice(0, -2)}${app.tokens.admin.endsWith("AA") ? "EE" : "AA"}` });
    expect([answer.status, answer.headers.get("set-cookie")]).toEqual([401, null]);
  });

  test("who tries too many tokens is told to wait, and nobody who comes from another address", async () => {
    const few = await startTestApp({ settings: { anonymousRate: "1" }, app: { forwarders: 1 } });
    try {
      const tryFrom = async (address: string): Promise<number> => (
        (await few.call("POST", "/ui/sign-in", { body: "token=unknown", headers: { ...formType, "sec-fetch-site": "same-origin", "x-forwarded-for": `192.0.2.9, ${address}` } })).status
      );
      const tried = [];
      for (let count = 0; count < 30; count++) tried.push(await tryFrom("10.0.0.1"));
      expect(new Set(tried.slice(2))).toEqual(new Set([429]));
      expect([tried[0], await tryFrom("10.0.0.2")]).toEqual([401, 401]);
    } finally {
      await few.close();
    }
  });

  test.each([["https://evil.example/"], ["//evil.example"], ["/ui\\evil"], ["/uix"], ["/v1/tokens"]])("it does not lead to %s", async (next) => {
    const answer = await send("/ui/sign-in", { token: app.tokens.admin, next });
    expect(answer.headers.get("location")).toBe("/ui");
  });

  test("without a session there is nothing but the way to it", async () => {
    for (const cookie of ["", "__Host-countersign=", `__Host-countersign=${"A".repeat(43)}`]) {
      const answer = await look("/ui", { cookie });
      expect([answer.status, answer.headers.get("location")]).toEqual([303, "/ui/sign-in?next=%2Fui"]);
    }
    expect((await look("/ui/live", {})).status).toBe(204);
  });

  test("a session is no credential of the API", async () => {
    expect((await look("/v1/certificates", await signIn(app.tokens.admin))).status).toBe(401);
  });
});

describe("a session ends", () => {
  test("with its time", async () => {
    const browser = await signIn(app.tokens.admin);
    expect((await look("/ui", browser)).status).toBe(200);
    app.clock.nowMs += 8 * hourMs;
    expect((await look("/ui", browser)).status).toBe(303);
  });

  test("with a sign-out, whoever has the cookie", async () => {
    const browser = await signIn(app.tokens.admin);
    const { headers } = await send("/ui/sign-out", {}, browser);
    expect(headers.get("set-cookie")).toContain("Max-Age=0");
    expect((await look("/ui", browser)).status).toBe(303);
  });

  test("with its token", async () => {
    const created = await app.ca.createToken({ type: "api", name: "soon-gone", role: "auditor" }, app.admin);
    const browser = await signIn(created.token);
    expect((await look("/ui", browser)).status).toBe(200);
    await app.ca.deleteToken(created.id, app.admin);
    expect((await look("/ui", browser)).status).toBe(303);
  });

  test("when the same caller opens too many; another's stays", async () => {
    const [first, other] = [await signIn(app.tokens.operator), await signIn(app.tokens.auditor)];
    for (let more = 0; more < 8; more++) {
      app.clock.nowMs += 1000;
      await signIn(app.tokens.operator);
    }
    expect([(await look("/ui", first)).status, (await look("/ui", other)).status]).toEqual([303, 200]);
  });
});

describe("a link", () => {
  const linkFor = async (as: Role): Promise<string> => (await app.call("POST", "/v1/sign-ins", { as })).json["path"] as string;

  test("shows whom it is for, as often as it is looked at, and signs in once", async () => {
    const path = await linkFor("auditor");
    for (let looks = 0; looks < 2; looks++) expect((await look(path, {})).text).toContain("<strong>test-auditor</strong>");
    const used = await send(path, {});
    expect([used.status, used.headers.get("location")]).toEqual([303, "/ui"]);
    expect((await look("/ui", { cookie: /^[^;]*/.exec(used.headers.get("set-cookie")!)![0] })).text).toContain("test-auditor");
    expect([(await look(path, {})).status, (await send(path, {})).status]).toEqual([403, 401]);
  });

  test("used at once by two signs one of them in", async () => {
    const path = await linkFor("auditor");
    const statuses = (await Promise.all([send(path, {}), send(path, {})])).map(({ status }) => status);
    expect(statuses.sort()).toEqual([303, 401]);
  });

  test("is over after two minutes, is no session by itself, and is sent by no other site", async () => {
    const path = await linkFor("admin");
    expect((await look("/ui", { cookie: `__Host-countersign=${path.slice(12)}` })).status).toBe(303);
    expect((await app.call("POST", path, { body: "", headers: { ...formType, "sec-fetch-site": "cross-site" } })).status).toBe(403);
    app.clock.nowMs += 121_000;
    expect((await send(path, {})).status).toBe(401);
    expect(JSON.stringify(await auditEvents(app.store))).not.toContain(path.slice(12));
  });
});

describe("a session by an SVID", () => {
  const spiffeId = "spiffe://east/ns/ops/sa/oncall";
  async function open(): Promise<{ readonly serialNumber: string; readonly browser: { readonly cookie: string } }> {
    const { serialNumber } = await app.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId }, lifetimeSeconds: 3600 }, { caller: app.admin });
    await app.ca.operators.add({ spiffeId, role: "auditor" }, app.admin);
    const { notAfterMs } = (await app.store.certificate(serialNumber))!;
    const { secret } = await dashboardSessions(app.ca).start({ actor: spiffeId, name: spiffeId, spiffeId, role: "auditor", scope: [], certificate: { serialNumber, notAfterMs } });
    const browser = { cookie: `__Host-countersign=${secret}` };
    expect((await look("/ui", browser)).status).toBe(200);
    return { serialNumber, browser };
  }

  test("ends with its role", async () => {
    const { browser } = await open();
    await app.ca.operators.remove(spiffeId, app.admin);
    app.clock.nowMs += 2000;
    expect((await look("/ui", browser)).status).toBe(303);
  });

  test("ends with the certificate: when it is revoked, and when it has expired", async () => {
    const { serialNumber, browser } = await open();
    await app.ca.revoke(serialNumber, "keyCompromise", app.admin);
    expect((await look("/ui", browser)).status).toBe(303);
    await app.ca.operators.remove(spiffeId, app.admin);
    const another = await open();
    app.clock.nowMs += hourMs + 1000;
    expect((await look("/ui", another.browser)).status).toBe(303);
    await app.ca.operators.remove(spiffeId, app.admin);
  });

  test("is not for a workload without a role", async () => {
    await expect(dashboardSessions(app.ca).start({ actor: spiffeId, name: spiffeId, spiffeId, role: "workload", scope: [] })).rejects.toMatchObject({ code: "forbidden" });
  });
});

describe("what another site has a browser send", () => {
  test.each<Readonly<Record<string, string>>>([
    { "sec-fetch-site": "cross-site" }, { "sec-fetch-site": "same-site" }, { "sec-fetch-site": "none" }, { origin: "https://evil.example" }, { origin: "null" }, {},
  ])("with %j is refused before anything is done", async (headers) => {
    const browser = await signIn(app.tokens.admin);
    const { status } = await app.call("POST", "/ui/sign-out", { body: "", headers: { ...formType, ...headers, ...browser } });
    expect(status).toBe(403);
    expect((await look("/ui", browser)).status).toBe(200);
  });

  test("a browser of before Sec-Fetch-Site is known by its Origin", async () => {
    const headers = { ...formType, origin: "https://ca.example", host: "ca.example" };
    const { status } = await app.call("POST", "/ui/sign-in", { body: new URLSearchParams({ token: app.tokens.admin }).toString(), headers });
    expect(status).toBe(303);
  });
});

test.each<[Role, boolean]>([["admin", true], ["auditor", true], ["operator", false]])("the overview of the role %s has what it may read", async (role, readsLog) => {
  const { text, status } = await look("/ui", await signIn(app.tokens[role]));
  expect(status).toBe(200);
  expect(text.includes("Your role may not read the audit log")).toBe(!readsLog);
});

test("a search of certificates that is no ID says so beside its form", async () => {
  const session = await signIn(app.tokens.auditor);
  const { status, text } = await look(`/ui/workloads?${new URLSearchParams({ show: "valid", search: "cart" })}`, session);
  expect([status, text]).toEqual([200, expect.stringMatching(/role="search"[^]*Nothing fits “cart”: a pattern is a SPIFFE ID/)]);
});

test("every page says that nothing may come from elsewhere, run inline or frame it", async () => {
  const { headers, text } = await look("/ui", await signIn(app.tokens.admin));
  expect(headers.get("content-security-policy")).toMatch(/^default-src 'none'; style-src 'self'; script-src 'self'; .*form-action 'self'.*frame-ancestors 'none'/);
  expect(headers.get("cache-control")).toBe("no-store");
  expect(text).not.toMatch(/ style=| on\w+="|<style|<script>|https?:\/\//);
});

test.each(["/", "/ui/"])("%s leads to it", async (path) => {
  const { status, headers } = await look(path, {});
  expect([status, headers.get("location")]).toEqual([303, "/ui"]);
});

test("style, script and icon are named by what is in them, and kept for good", async () => {
  const { text } = await look("/ui/sign-in", {});
  const paths = [...text.matchAll(/(?:href|src)="(\/ui\/[^"]+\.(?:css|js|svg))"/g)].map(([, path]) => path!);
  expect(paths).toHaveLength(3);
  for (const path of paths) expect((await look(path, {})).headers.get("cache-control")).toContain("immutable");
});

describe("what a role may not do", () => {
  test("is refused by the API, whatever form is sent: an auditor revokes nothing, an operator nothing outside its scope", async () => {
    const inside = await app.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/web" } }, { caller: app.admin });
    const outside = await app.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/bank/sa/vault" } }, { caller: app.admin });
    const [auditor, operator] = [await signIn(app.tokens.auditor), await signIn(app.tokens.operator)];
    const revoke = (serialNumber: string, browser: { readonly cookie: string }): Promise<Answered> => send(`/ui/certificates/${serialNumber}/revoke`, { reason: "superseded" }, browser);
    expect((await revoke(inside.serialNumber, auditor)).status).toBe(403);
    expect((await revoke(outside.serialNumber, operator)).status).toBe(403);
    expect((await revoke(inside.serialNumber, operator)).status).toBe(303);
    expect((await look(`/ui/certificates/${outside.serialNumber}`, operator)).status).toBe(403);
    expect((await look("/ui/workloads", operator)).text).not.toContain("/ns/bank/");
    expect((await auditEvents(app.store)).slice(-3)).toContainEqual(expect.objectContaining({ type: "certificate.revoked", serialNumber: inside.serialNumber }));
  });
});
