import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { acknowledgedText } from "../../../ca/contract/acknowledgements.ts";
import { access, type RouteName } from "../../../ca/http/authenticate.ts";
import { encodeRequestAuthorization } from "../../../ca/pki/request-authorization.ts";
import { encodeRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { auditEvents, chainOf, newCsr, proofFor } from "../../support/running-ca.ts";
import { startTestApp, type Answered, type TestApp } from "../../support/running-app.ts";

/** Ten come at once, then one a second. */
let app: TestApp;
beforeAll(async () => void (app = await startTestApp({ settings: { callerRate: "1", workloadRate: "1", anonymousRate: "1" } })));
beforeEach(() => void (app.clock.nowMs += 60_000));
afterAll(() => app.close());

async function ask(count: number, request: () => Promise<Answered>): Promise<readonly (string | number)[]> {
  const seen: (string | number)[] = [];
  for (let index = 0; index < count; index++) {
    const answer = await request();
    seen.push(answer.problem.code ?? answer.status);
  }
  return seen;
}

const limited = (code: string | number): boolean => code === "rate_limited";

describe("a caller that asks too often", () => {
  test("gets 429 with Retry-After and the advice to spread out, until there is room again", async () => {
    const codes = await ask(11, () => app.call("GET", "/v1/authorities", { as: "auditor" }));
    expect(codes).toEqual([...Array<number>(10).fill(200), "rate_limited"]);
    const refused = await app.call("GET", "/v1/authorities", { as: "auditor" });
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(refused.problem.detail).toMatch(/"test-auditor".* once|random part/);
    app.clock.nowMs += 1000;
    expect(await ask(2, () => app.call("GET", "/v1/authorities", { as: "auditor" }))).toEqual([200, "rate_limited"]);
  });

  test("takes from no other caller, and an admin is not limited", async () => {
    await ask(20, () => app.call("GET", "/v1/authorities", { as: "auditor" }));
    expect((await app.call("GET", "/v1/authorities", { as: "operator" })).status).toBe(200);
    expect((await ask(30, () => app.call("GET", "/v1/authorities", { as: "admin" }))).some(limited)).toBe(false);
  });

  test("is counted for what it may not do, too, and is in the audit log", async () => {
    const codes = await ask(11, () => app.call("GET", "/v1/audit/entries", { as: "operator" }));
    expect(codes.at(-1)).toBe("rate_limited");
    await expect.poll(async () => (await auditEvents(app.store)).at(-1)).toMatchObject({ code: "rate_limited", actor: expect.stringMatching(/^token:/) });
  });

  test("is counted when it issues", async () => {
    const json = () => ({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } });
    expect(await ask(11, () => app.call("POST", "/v1/certificates", { as: "operator", json: json() }))).toEqual([...Array<number>(10).fill(201), "rate_limited"]);
  });
});

describe("every route that is not for probes", () => {
  const routes = (Object.keys(access) as RouteName[]).map((route) => [route, ...route.split(" ")] as const);

  test("is limited, for strangers as for callers, with Retry-After and the advice to spread out", async () => {
    for (const [route, method = "", path = ""] of routes) {
      for (const as of [undefined, "auditor"] as const) {
        app.clock.nowMs += 60_000;
        const call = () => app.call(method, path.replaceAll(/\{\w+\}/g, "00"), { ...(as && { as }) });
        const isLimited = (await ask(13, call)).some(limited);
        expect([route, as, isLimited]).toEqual([route, as, access[route] !== "probe"]);
        if (!isLimited) continue;
        const last = await call();
        expect([route, last.status, Number(last.headers.get("retry-after")) > 0]).toEqual([route, 429, true]);
        expect(last.problem.detail).toContain("random part");
      }
    }
  });

  test("is not for probes unless it costs nothing, or has bounds of its own", () => {
    expect(routes.map(([route]) => route).filter((route) => access[route] === "probe")).toEqual([
      "GET /v1/bundle", "GET /healthz", "GET /readyz", "GET /crl/{authority}/{list}", "GET /authority/{certificate}", "POST /ocsp", "GET /ocsp/{request}",
    ]);
  });

  test("the database is asked once for all who ask whether the CA is ready, and for all who ask for a CRL", async () => {
    const asked = { pings: 0, sequences: 0 };
    const own = await startTestApp({
      wrapStore: (store) => ({
        ...store,
        ping: () => ((asked.pings += 1), store.ping()),
        revocationSequence: () => ((asked.sequences += 1), store.revocationSequence()),
      }),
    });
    const issuer = (await own.store.authorities()).find(({ type }) => type === "issuer")!;
    const crl = () => own.call("GET", `/crl/${issuer.id}/full.crl`);
    expect((await crl()).status).toBe(200);
    own.clock.nowMs += 5_000;
    [asked.pings, asked.sequences] = [0, 0];
    const answers = await Promise.all(Array.from({ length: 50 }, () => [own.call("GET", "/readyz"), crl()]).flat());
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(asked).toEqual({ pings: 1, sequences: 1 });
    await own.close();
  });
});

describe("those who prove no identity", () => {
  const public_ = () => app.call("GET", "/v1/audit/checkpoint");
  const wrongToken = () => app.call("GET", "/v1/certificates", { headers: { authorization: "Bearer nonsense" } });
  const wrongProof = () => {
    const held = { feedEpoch: app.ca.feedEpoch, bundleSequence: app.ca.bundle().sequence };
    return app.call("POST", "/v1/acknowledgements", { json: { ...held, proof: "no.such.proof" } });
  };
  const wrongJoin = () => app.call("POST", "/v1/certificates", { json: { csr: newCsr().csr, attestation: { type: "join-token", token: "csjoin_nonsense" } } });

  test.each([["public documents", public_], ["wrong API tokens", wrongToken], ["wrong join tokens", wrongJoin], ["wrong acknowledgements", wrongProof]] as const)("share one bucket: %s", async (_, request) => {
    expect((await ask(10, request)).some(limited)).toBe(false);
    expect((await ask(1, request)).some(limited)).toBe(true);
    for (const other of [public_, wrongToken, wrongJoin, wrongProof]) expect((await ask(1, other)).some(limited)).toBe(true);
  });

  test("starve nobody who has one: not API tokens, not join tokens, not renewals", async () => {
    await ask(30, public_);
    await ask(30, wrongJoin);
    expect((await app.call("GET", "/v1/authorities", { as: "auditor" })).status).toBe(200);
    const { token } = await app.ca.createToken({ type: "join", spiffeId: "spiffe://east/ns/shop/sa/quiet" }, app.admin);
    const first = newCsr();
    const joined = await app.call("POST", "/v1/certificates", { json: { csr: first.csr, attestation: { type: "join-token", token } } });
    expect(joined.status).toBe(201);
    const next = newCsr();
    const proof = proofFor(joined.json as { chain: string }, first.privateKey, next.der, app.clock.nowMs);
    expect((await app.call("POST", "/v1/certificates", { json: { csr: next.csr, attestation: { type: "svid", proof } } })).status).toBe(201);
  });

  test("starve no proxy that polls: what is revoked has a bucket of its own, and the bundle none", async () => {
    const polls = ["/v1/bundle", "/v1/revocations"].map((path) => () => app.call("GET", path));
    for (const request of [public_, wrongToken, wrongJoin, wrongProof]) await ask(30, request);
    for (const poll of polls) expect(await ask(2, poll)).toEqual([200, 200]);
    expect((await ask(30, polls[1]!)).some(limited)).toBe(true);
    expect(await ask(2, polls[0]!)).toEqual([200, 200]);
    expect((await app.call("GET", "/v1/watch")).problem.code).toBe("rate_limited");
  });

  test("starve no proxy that says who it is: neither its questions nor its stream, though they take all that strangers have", async () => {
    const { csr, privateKey } = newCsr();
    const issued = await app.ca.issue({ csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/follower" } }, { caller: app.admin });
    let nonces = 0;
    const signed = (target: string, nowMs = app.clock.nowMs) => {
      const nonce = `nonce-${String(++nonces).padStart(20, "0")}`;
      const authorization = encodeRequestAuthorization({ method: "GET", target, body: "", chain: chainOf(issued), privateKey, audience: "east", nowMs, nonce });
      return app.call("GET", target, { headers: { authorization } });
    };
    await ask(30, () => app.call("GET", "/v1/revocations"));
    expect((await app.call("GET", "/v1/watch")).problem.code).toBe("rate_limited");
    expect(await ask(5, () => signed("/v1/revocations"))).toEqual(Array(5).fill(200));
    expect(await ask(6, () => signed("/v1/watch"))).toEqual([...Array<number>(5).fill(200), "rate_limited"]);
    expect((await app.call("GET", "/v1/revocations", { as: "auditor" })).status).toBe(200);
    // Its renewals have their own bucket.
    const next = newCsr();
    const proof = proofFor(issued, privateKey, next.der, app.clock.nowMs);
    expect((await app.call("POST", "/v1/certificates", { json: { csr: next.csr, attestation: { type: "svid", proof } } })).status).toBe(201);
    // What proves nothing is a stranger, and told all the same when there is room.
    const late = () => signed("/v1/revocations", app.clock.nowMs - 120_000);
    expect((await late()).problem.code).toBe("rate_limited");
    app.clock.nowMs += 60_000;
    expect((await late()).status).toBe(200);
  });

  test("are not told to wait by a probe", async () => {
    await ask(30, public_);
    expect(await ask(3, () => app.call("GET", "/healthz"))).toEqual([200, 200, 200]);
    expect(await ask(3, () => app.call("GET", "/readyz"))).toEqual([200, 200, 200]);
  });
});

describe("a workload that asks too often", () => {
  test("waits for itself alone, by its SPIFFE ID and not by its certificate", async () => {
    const spiffeId = "spiffe://east/ns/shop/sa/loud";
    const holders = await Promise.all([1, 2].map(async () => {
      const { csr, privateKey } = newCsr();
      return { privateKey, issued: await app.ca.issue({ csr, attestation: { type: "operator", spiffeId } }, { caller: app.admin }) };
    }));
    const renew = (index: number) => {
      const { issued, privateKey } = holders[index % 2]!;
      const next = newCsr();
      return app.call("POST", "/v1/certificates", { json: { csr: next.csr, attestation: { type: "svid", proof: proofFor(issued, privateKey, next.der, app.clock.nowMs) } } });
    };
    let turn = 0;
    expect(await ask(11, () => renew(turn++))).toEqual([...Array<number>(10).fill(201), "rate_limited"]);
    const { issued, privateKey } = holders[0]!;
    const held = { feedEpoch: app.ca.feedEpoch, bundleSequence: app.ca.bundle().sequence };
    const proof = encodeRenewalProof({ chain: chainOf(issued), privateKey, csr: Buffer.from(acknowledgedText(held)), audience: "east", nowMs: app.clock.nowMs, purpose: "acknowledgement" });
    expect((await app.call("POST", "/v1/acknowledgements", { json: { ...held, proof } })).problem.code).toBe("rate_limited");
    const { token } = await app.ca.createToken({ type: "join", spiffeId }, app.admin);
    expect((await app.call("POST", "/v1/certificates", { json: { csr: newCsr().csr, attestation: { type: "join-token", token } } })).status).toBe(201);
  });
});
