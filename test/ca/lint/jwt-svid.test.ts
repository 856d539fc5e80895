import { describe, expect, test } from "vitest";
import { jwtSvidRules, lintJwtSvid, type JwtSvidContext } from "../../../ca/lint/jwt-svid.ts";
import { LintRefusal } from "../../../ca/lint/rule.ts";
import { encodeJwtSvid, type JwtSvidContent } from "../../../ca/pki/jwt-svid.ts";

const meant: JwtSvidContent = { keyId: "k", spiffeId: "spiffe://east/web", audience: ["a", "b"], issuedAt: 1000, expiresAt: 1300, jwtId: "x".repeat(22) };
const context: JwtSvidContext = { kind: "workload", meant, trustDomain: "east", lifetimeMaxMs: 300_000 };
const header = { alg: "ES256", kid: "k", typ: "JWT" };
const claims = { sub: meant.spiffeId, aud: meant.audience, exp: 1300, iat: 1000, jti: meant.jwtId };
const written = (head: object, body: object) => [head, body].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
const saying = (with_: Partial<JwtSvidContent>) => ({ input: encodeJwtSvid({ ...meant, ...with_ }), context: { ...context, meant: { ...meant, ...with_ } } });

function broken(input: string, under = context): readonly string[] {
  try {
    lintJwtSvid(input, under);
    return [];
  } catch (error) {
    if (error instanceof LintRefusal) return error.failures.map(({ id }) => id);
    throw error;
  }
}

const faults: readonly (readonly [rule: string, claim: string, input: string, under?: JwtSvidContext])[] = [
  ["JW-02", "another algorithm", written({ ...header, alg: "RS256" }, claims)],
  ["JW-03", "another key's kid", written({ ...header, kid: "other" }, claims)],
  ["JW-04", "another typ", written({ ...header, typ: "JOSE" }, claims)],
  ["JW-05", "a header more", written({ ...header, x5c: [] }, claims)],
  ["JW-06", "another subject", written(header, { ...claims, sub: "spiffe://east/admin" })],
  ...([["another trust domain", "spiffe://west/web"], ["a trust domain as subject", "spiffe://east"], ["what is no SPIFFE ID", "web"]] as const).map(([claim, spiffeId]) => {
    const { input, context: under } = saying({ spiffeId });
    return ["JW-06", claim, input, under] as const;
  }),
  ["JW-07", "an audience less", written(header, { ...claims, aud: ["a"] })],
  ["JW-07", "an audience as a text", written(header, { ...claims, aud: "a" })],
  ["JW-07", "no audience", saying({ audience: [] }).input, saying({ audience: [] }).context],
  ["JW-08", "another end", written(header, { ...claims, exp: 1299 })],
  ["JW-08", "no end", written(header, { ...claims, exp: undefined })],
  ["JW-08", "a longer life than may be", saying({ expiresAt: 1301 }).input, saying({ expiresAt: 1301 }).context],
  ["JW-08", "an end before the beginning", saying({ expiresAt: 999 }).input, saying({ expiresAt: 999 }).context],
  ["JW-12", "a short ID", saying({ jwtId: "short" }).input, saying({ jwtId: "short" }).context],
  ["JW-12", "another ID", written(header, { ...claims, jti: "y".repeat(22) })],
  ["JWT-CLAIMS", "a claim that nobody asked for", written(header, { ...claims, admin: true })],
  ["JWT-SIZE", "9 KiB", saying({ audience: ["a".repeat(9000)] }).input, saying({ audience: ["a".repeat(9000)] }).context],
  ["JW-01", "what is no JWS", "x"],
];

describe("exactly the rule is named that is broken by", () => {
  test.for(faults)("%s: %s", ([rule, , input, under]) => {
    expect(broken(input, under)).toEqual([rule]);
  });
});

test("what we write breaks none, and comes back as the bytes to sign", () => {
  expect(Buffer.from(lintJwtSvid(encodeJwtSvid(meant), context)).toString()).toBe(encodeJwtSvid(meant));
});

test("every rule has a citation and bytes that break it", () => {
  expect(jwtSvidRules.filter(({ citation }) => citation === "")).toEqual([]);
  expect(jwtSvidRules.map(({ id }) => id).filter((id) => !faults.some(([rule]) => rule === id))).toEqual([]);
});
