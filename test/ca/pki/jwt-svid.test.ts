import { createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { CompactSign, jwtVerify } from "jose";
import { describe, expect, test } from "vitest";
import type { Bundle } from "../../../ca/pki/bundle.ts";
import { encodeJwtSvid, parseJwtSvidInput, verifyJwtSvid } from "../../../ca/pki/jwt-svid.ts";
import { outcomeOf } from "../../support/outcome.ts";

const nowMs = Date.UTC(2026, 0, 1);
const nowS = nowMs / 1000;
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ec384 = generateKeyPairSync("ec", { namedCurve: "P-384" });
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const other = generateKeyPairSync("ec", { namedCurve: "P-256" });
const bundleOf = (trustDomain: string, keys: Readonly<Record<string, KeyObject>>): Bundle => ({
  trustDomain, x509Authorities: [], jwtAuthorities: Object.entries(keys).map(([keyId, publicKey]) => ({ keyId, publicKey })),
});
const bundles = new Map([
  ["east", bundleOf("east", { one: ec.publicKey, two: ec384.publicKey, three: rsa.publicKey })],
  ["west", bundleOf("west", { one: other.publicKey, w: other.publicKey })],
]);

const goodHeader = { alg: "ES256", kid: "one", typ: "JWT" };
const goodClaims = { sub: "spiffe://east/web", aud: ["db"], exp: nowS + 300, iat: nowS, jti: "x" };
const part = (value: unknown): string => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
function signed(header: unknown, claims: unknown, key: KeyObject = ec.privateKey): string {
  const input = `${part(header)}.${part(claims)}`;
  return `${input}.${sign("sha256", Buffer.from(input), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}
const verified = (token: string, audience = "db", at = nowMs) => verifyJwtSvid({ token, audience, bundles, nowMs: at });
const outcome = (token: string, audience = "db", at = nowMs) => outcomeOf(() => verified(token, audience, at));
const without = (object: Readonly<Record<string, unknown>>, name: string) => Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));

describe("a token is verified", () => {
  test("JW-06, JW-11: as its subject's, by a key of the subject's trust domain, with all its claims", () => {
    const { id, audience, expiresAtMs, claims } = verified(signed(goodHeader, { ...goodClaims, aud: ["x", "db"], extra: { a: [1, null, true] } }));
    expect(id.uri).toBe("spiffe://east/web");
    expect(audience).toEqual(["x", "db"]);
    expect(expiresAtMs).toBe(nowMs + 300_000);
    expect(claims["extra"]).toEqual({ a: [1, null, true] });
  });

  test.each([
    ["JW-03: without a kid", signed(without(goodHeader, "kid"), goodClaims)],
    ["JW-04: without a typ", signed(without(goodHeader, "typ"), goodClaims)],
    ["JW-04: with the typ JOSE", signed({ ...goodHeader, typ: "JOSE" }, goodClaims)],
    ["JW-07: with one audience as a text", signed(goodHeader, { ...goodClaims, aud: "db" })],
    ["without iat and jti", signed(goodHeader, { sub: goodClaims.sub, aud: "db", exp: nowS + 1 })],
    ["with an exp that has a fraction", signed(goodHeader, { ...goodClaims, exp: nowS + 0.5 })],
    ["just expired, within the leeway between clocks", signed(goodHeader, { ...goodClaims, exp: nowS - 29 })],
    ["just issued by a clock that is ahead", signed(goodHeader, { ...goodClaims, iat: nowS + 29, nbf: nowS + 29 })],
    ["with a private header that nobody has to understand", signed({ ...goodHeader, hint: 1 }, goodClaims)],
  ])("%s", (_what, token) => {
    expect(outcome(token)).toBe("accepted");
  });

  test.each([
    ["ES256", ec.privateKey, "one"], ["ES384", ec384.privateKey, "two"],
    ["RS256", rsa.privateKey, "three"], ["RS384", rsa.privateKey, "three"], ["RS512", rsa.privateKey, "three"],
    ["PS256", rsa.privateKey, "three"], ["PS384", rsa.privateKey, "three"], ["PS512", rsa.privateKey, "three"],
  ])("JW-02: signed by jose with %s", async (alg, key, kid) => {
    const token = await new CompactSign(Buffer.from(JSON.stringify(goodClaims))).setProtectedHeader({ alg, kid }).sign(key);
    expect(outcome(token)).toBe("accepted");
    expect(outcome(await new CompactSign(Buffer.from(JSON.stringify(goodClaims))).setProtectedHeader({ alg }).sign(key))).toBe("accepted");
  });
});

describe("a token is refused", () => {
  const hmac = `${part({ ...goodHeader, alg: "HS256" })}.${part(goodClaims)}.AAAA`;
  test.each([
    ["JW-02: with alg none", "jwt_svid_algorithm_refused", `${part({ ...goodHeader, alg: "none" })}.${part(goodClaims)}.AA`],
    ["JW-02: with a shared secret's algorithm", "jwt_svid_algorithm_refused", hmac],
    ["JW-02: with EdDSA", "jwt_svid_algorithm_refused", signed({ ...goodHeader, alg: "EdDSA" }, goodClaims)],
    ["JW-02: without an alg", "jwt_svid_algorithm_refused", signed(without(goodHeader, "alg"), goodClaims)],
    ["whose algorithm is not its key's", "jwt_svid_key_unknown", signed({ ...goodHeader, alg: "RS256" }, goodClaims)],
    ["JW-04: of another type", "jwt_svid_malformed", signed({ ...goodHeader, typ: "countersign-request+jws" }, goodClaims)],
    ["RFC 7515 4.1.11: with critical extensions", "jwt_svid_malformed", signed({ ...goodHeader, crit: ["b64"], b64: false }, goodClaims)],
    ["with a member of its header twice", "jwt_svid_malformed", signed('{"alg":"none","alg":"ES256","kid":"one"}', goodClaims)],
    ["with a claim twice", "jwt_svid_malformed", signed(goodHeader, `{"sub":"spiffe://east/web","aud":"db","exp":${nowS + 9},"sub":"spiffe://east/admin"}`)],
    ["JW-06: without a subject", "jwt_svid_malformed", signed(goodHeader, without(goodClaims, "sub"))],
    ["JW-06: with a subject that is no SPIFFE ID", "spiffe_id_malformed", signed(goodHeader, { ...goodClaims, sub: "web" })],
    ["with a trust domain as its subject", "svid_id_without_path", signed(goodHeader, { ...goodClaims, sub: "spiffe://east" })],
    ["JW-07: without an audience", "jwt_svid_malformed", signed(goodHeader, without(goodClaims, "aud"))],
    ["JW-07: with an empty list of audiences", "jwt_svid_audience_refused", signed(goodHeader, { ...goodClaims, aud: [] })],
    ["JW-07: with an audience that is no text", "jwt_svid_malformed", signed(goodHeader, { ...goodClaims, aud: ["db", 1] })],
    ["JW-07: for another audience", "jwt_svid_audience_refused", signed(goodHeader, { ...goodClaims, aud: ["dbx"] })],
    ["JW-08: that never expires (SPIRE 1.12.3)", "jwt_svid_malformed", signed(goodHeader, without(goodClaims, "exp"))],
    ["JW-08: whose exp is no number", "jwt_svid_malformed", signed(goodHeader, { ...goodClaims, exp: `${nowS + 300}` })],
    ["JW-08: that has expired", "jwt_svid_expired", signed(goodHeader, { ...goodClaims, exp: nowS - 30 })],
    ["of the future", "jwt_svid_not_yet_valid", signed(goodHeader, { ...goodClaims, nbf: nowS + 31 })],
    ["issued in the future", "jwt_svid_not_yet_valid", signed(goodHeader, { ...goodClaims, iat: nowS + 31 })],
    ["JW-11: signed by another trust domain's key of the same kid", "jwt_svid_signature_invalid", signed(goodHeader, goodClaims, other.privateKey)],
    ["JW-11: signed by another trust domain's key", "jwt_svid_key_unknown", signed({ ...goodHeader, kid: "w" }, goodClaims, other.privateKey)],
    ["JW-11: signed by another trust domain's key, without a kid", "jwt_svid_signature_invalid", signed(without(goodHeader, "kid"), goodClaims, other.privateKey)],
    ["of a trust domain that is not known", "svid_trust_domain_unknown", signed(goodHeader, { ...goodClaims, sub: "spiffe://north/web" })],
    ["with two signatures", "jwt_svid_malformed", `${signed(goodHeader, goodClaims)}.AA`],
    ["without a signature", "jwt_svid_malformed", `${part(goodHeader)}.${part(goodClaims)}.`],
    ["with padding", "jwt_svid_malformed", `${signed(goodHeader, goodClaims)}=`],
    ["JW-01: as a JSON serialization", "jwt_svid_malformed", JSON.stringify({ payload: part(goodClaims), protected: part(goodHeader), signature: "AA" })],
    ["that is empty", "jwt_svid_malformed", ""],
    ["that is huge", "jwt_svid_malformed", signed(goodHeader, { ...goodClaims, extra: "x".repeat(16_000) })],
  ] as const)("%s", (_what, code, token) => {
    expect(outcome(token)).toBe(code);
  });

  test("when one bit of it is changed", () => {
    const [header, claims, signature = ""] = signed(goodHeader, goodClaims).split(".");
    const flipped = Buffer.from(signature, "base64url");
    flipped[10]! ^= 1;
    expect(outcome(`${header}.${claims}.${flipped.toString("base64url")}`)).toBe("jwt_svid_signature_invalid");
    expect(outcome(`${header}.${part({ ...goodClaims, sub: "spiffe://east/admin" })}.${signature}`)).toBe("jwt_svid_signature_invalid");
    expect(outcome(`${header}.${claims}.${Buffer.alloc(64).toString("base64url")}`)).toBe("jwt_svid_signature_invalid");
    expect(outcome(`${header}.${claims}.${Buffer.alloc(9).toString("base64url")}`)).toBe("jwt_svid_signature_invalid");
  });

  test("without repeating it", () => {
    for (const token of [signed(goodHeader, { ...goodClaims, exp: 1 }), `${part("secret")}.${part("secret")}.AA`]) {
      expect(() => verified(token)).toThrow(expect.objectContaining({ message: expect.not.stringContaining(token.slice(0, 12)) }));
    }
  });
});

test("what is written is the header and claims of JWT-SVID and no more, and jose takes it", async () => {
  const input = encodeJwtSvid({ keyId: "one", spiffeId: "spiffe://east/web", audience: ["db"], issuedAt: nowS, expiresAt: nowS + 300, jwtId: "x" });
  expect(parseJwtSvidInput(input)).toEqual({ header: goodHeader, claims: goodClaims });
  const token = `${input}.${sign("sha256", Buffer.from(input), { key: ec.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  expect(outcome(token)).toBe("accepted");
  const { payload } = await jwtVerify(token, createPublicKey(ec.privateKey), { audience: "db", subject: "spiffe://east/web", currentDate: new Date(nowMs) });
  expect(payload.jti).toBe("x");
});
