import { generateKeyPairSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import { encodeBundle, parseBundle } from "../../../ca/pki/bundle.ts";
import { outcomeOf } from "../../support/outcome.ts";
import { testAuthority, testKey } from "../../support/test-ca.ts";

const root = testAuthority({ trustDomain: "east" });
const jwkOf = (key: { publicKey: { export(options: { format: "jwk" }): object } }) => key.publicKey.export({ format: "jwk" });
const x5c = [Buffer.from(root.der).toString("base64")];
const x509Entry = { ...root.bundle().x509Authorities[0]!.publicKey.export({ format: "jwk" }), use: "x509-svid", x5c };
const jwtEntry = { ...jwkOf(testKey()), use: "jwt-svid", kid: "one" };
const parse = (...keys: unknown[]) => parseBundle("east", JSON.stringify({ keys }));
const codeOf = (...keys: unknown[]) => outcomeOf(() => parse(...keys));
const counts = (...keys: unknown[]) => {
  const { x509Authorities, jwtAuthorities } = parse(...keys);
  return [x509Authorities.length, jwtAuthorities.length];
};
const without = (entry: Record<string, unknown>, ...members: string[]) =>
  Object.fromEntries(Object.entries(entry).filter(([member]) => !members.includes(member)));

describe("a bundle is read", () => {
  test("BF-02: with the name of its trust domain, which it does not contain", () => {
    const bundle = parse(x509Entry, jwtEntry);
    expect(bundle.trustDomain).toBe("east");
    expect(Buffer.from(bundle.x509Authorities[0]!.der)).toEqual(Buffer.from(root.der));
    expect(bundle.jwtAuthorities.map(({ keyId }) => keyId)).toEqual(["one"]);
    expect(bundle.sequence).toBeUndefined();
    expect(bundle.refreshHintSeconds).toBeUndefined();
  });

  test.each([
    ["0", 0n], ["1", 1n],
    ["9007199254740993", 9007199254740993n], // 2^53 + 1, which a Number cannot hold
    ["18446744073709551615", 18446744073709551615n],
  ])("BF-03: with sequence %s, exact to 64 bits", (text, sequence) => {
    expect(parseBundle("east", `{"keys":[],"spiffe_sequence":${text}}`).sequence).toBe(sequence);
  });

  test("BF-04: with its refresh hint", () => {
    expect(parseBundle("east", `{"keys":[],"spiffe_refresh_hint":300}`).refreshHintSeconds).toBe(300);
    expect(parseBundle("east", `{"keys":[],"spiffe_refresh_hint":0}`).refreshHintSeconds).toBe(0);
  });

  test.each<[string, unknown[], [number, number]]>([
    ["BF-06: no key at all", [], [0, 0]],
    ["BF-07: an entry without use is left out", [without(x509Entry, "use"), jwtEntry], [0, 1]],
    ["BF-07: an entry of another use is left out", [{ ...jwtEntry, use: "sig" }, { ...jwtEntry, use: "wit-svid" }, x509Entry], [1, 0]],
    ["BF-07: use compares with case", [{ ...x509Entry, use: "X509-SVID" }], [0, 0]],
    ["BF-07: an entry of an unknown kty is left out", [{ ...x509Entry, kty: "AKP" }, { ...jwtEntry, kty: "oct" }, x509Entry], [1, 0]],
    ["BF-07: an entry without kty is left out", [without(x509Entry, "kty")], [0, 0]],
    ["BF-07: private members of an entry that is left out do not matter", [{ ...jwtEntry, use: "sig", d: "AA" }], [0, 0]],
    ["BF-10: members nobody defined are ignored", [{ ...x509Entry, alg: "ES256", key_ops: ["verify"], kid: "x", color: 1 }], [1, 0]],
    ["JW-10: a JWT key without kid is left out", [without(jwtEntry, "kid"), { ...jwtEntry, kid: "" }, x509Entry], [1, 0]],
    ["XS-26: x5c absent", [without(x509Entry, "x5c")], [0, 0]],
    ["XS-26: x5c empty", [{ ...x509Entry, x5c: [] }], [0, 0]],
    ["XS-26: the first of several certificates counts", [{ ...x509Entry, x5c: [x5c[0], "not even base64"] }], [1, 0]],
    ["XS-26: the certificate says enough without the members of its key", [{ kty: "EC", use: "x509-svid", x5c }], [1, 0]],
    ["a certificate with a key too weak is left out", [rsa1024Entry(), x509Entry], [1, 0]],
    ["a JWT key on a curve we do not use is left out", [{ ...jwkOf(generateKeyPairSync("ec", { namedCurve: "P-521" })), use: "jwt-svid", kid: "b" }], [0, 0]],
    ["a JWT key of RSA is kept", [{ ...jwkOf(testKey("rsa-2048")), use: "jwt-svid", kid: "b" }], [0, 1]],
  ])("%s", (_, keys, expected) => {
    expect(counts(...keys)).toEqual(expected);
  });

  test("BF-09: with top-level members nobody defined", () => {
    expect(outcomeOf(() => parseBundle("east", `{"keys":[],"spiffe_future":{"spiffe_sequence":1.5}}`))).toBe("accepted");
  });
});

describe("a bundle is refused", () => {
  test.each<[string, string]>([
    ["not JSON", "{"],
    ["BF-01: a list", "[]"],
    ["BF-01: null", "null"],
    ["BF-05: no keys", `{"spiffe_sequence":1}`],
    ["BF-05: keys null", `{"keys":null}`],
    ["BF-05: keys an object", `{"keys":{}}`],
    ["BF-01: a key that is no object", `{"keys":["x"]}`],
    ["BF-03: a negative sequence", `{"keys":[],"spiffe_sequence":-1}`],
    ["BF-03: a sequence with a fraction", `{"keys":[],"spiffe_sequence":1.0}`],
    ["BF-03: a sequence with an exponent", `{"keys":[],"spiffe_sequence":1e3}`],
    ["BF-03: a sequence of 65 bits", `{"keys":[],"spiffe_sequence":18446744073709551616}`],
    ["BF-03: a sequence as text", `{"keys":[],"spiffe_sequence":"1"}`],
    ["BF-03: sequence null", `{"keys":[],"spiffe_sequence":null}`],
    ["BF-04: a negative hint", `{"keys":[],"spiffe_refresh_hint":-1}`],
    ["BF-04: a hint with a fraction", `{"keys":[],"spiffe_refresh_hint":1.5}`],
    ["BF-04: a hint as text", `{"keys":[],"spiffe_refresh_hint":"300"}`],
  ])("%s", (_, json) => {
    expect(outcomeOf(() => parseBundle("east", json))).toBe("bundle_malformed");
  });

  test.each<[string, unknown[]]>([
    ["x5c that is a text", [{ ...x509Entry, x5c: x5c[0] }]],
    ["x5c that is an object", [{ ...x509Entry, x5c: {} }]],
    ["x5c that is null", [{ ...x509Entry, x5c: null }]],
    ["x5c of a number", [{ ...x509Entry, x5c: [1] }]],
    ["XS-25: x5c in base64url", [{ ...x509Entry, x5c: [Buffer.from(root.der).toString("base64url")] }]],
    ["XS-25: x5c in PEM", [{ ...x509Entry, x5c: [root.pem] }]],
    ["XS-25: x5c with blanks in it", [{ ...x509Entry, x5c: [` ${x5c[0]}`] }]],
    ["x5c that is no certificate", [{ ...x509Entry, x5c: ["MAA="] }]],
    ["x5c with bytes behind the certificate", [{ ...x509Entry, x5c: [Buffer.concat([root.der, Uint8Array.of(0)]).toString("base64")] }]],
    ["a key that is not that of its certificate", [{ ...x509Entry, ...jwkOf(testKey()) }]],
    ["a key type that is not that of its certificate", [{ kty: "RSA", use: "x509-svid", x5c }]],
    ["the private half of an authority's key", [{ ...x509Entry, d: "AA" }]],
    ["the private half of a JWT key", [{ ...jwtEntry, d: "AA" }]],
    ["the private half of an RSA key", [{ ...jwkOf(testKey("rsa-2048")), use: "jwt-svid", kid: "b", p: "AA", q: "AA" }]],
    ["two JWT keys with one kid", [jwtEntry, { ...jwkOf(testKey()), use: "jwt-svid", kid: "one" }]],
    ["a kid that is a number", [{ ...jwtEntry, kid: 1 }]],
    ["a JWT key that is not a point of its curve", [{ ...jwtEntry, x: jwtEntry.kid }]],
  ])("%s", (_, keys) => {
    expect(codeOf(...keys)).toBe("bundle_malformed");
  });

  test("larger than its limits", () => {
    const padded = (chars: number) => `{"keys":[]}`.padEnd(chars);
    expect(outcomeOf(() => parseBundle("east", padded(1024 * 1024)))).toBe("accepted");
    expect(outcomeOf(() => parseBundle("east", padded(1024 * 1024 + 1)))).toBe("bundle_limit_exceeded");
    expect(codeOf(...Array(257).fill({}))).toBe("bundle_limit_exceeded");
    expect(codeOf(...Array(256).fill({}))).toBe("accepted");
  });

  test("for a trust domain that cannot exist", () => {
    expect(outcomeOf(() => parseBundle("spiffe://east", `{"keys":[]}`))).toBe("trust_domain_malformed");
  });

  test("without a message that repeats its keys", () => {
    expect(() => parse({ ...jwtEntry, d: "c2VjcmV0" })).toThrow(/^(?!.*c2VjcmV0)/);
  });
});

describe("a bundle is written", () => {
  const bundle = { ...parse(x509Entry, jwtEntry), sequence: 2n ** 64n - 1n, refreshHintSeconds: 300 };
  const written = JSON.parse(encodeBundle(bundle)) as { keys: Record<string, unknown>[] };

  test("and read back as it was, sequence and all", () => {
    const read = parseBundle("east", encodeBundle(bundle));
    expect(read.sequence).toBe(bundle.sequence);
    expect(read.refreshHintSeconds).toBe(300);
    expect(read.x509Authorities.map(({ fingerprint }) => fingerprint)).toEqual(bundle.x509Authorities.map(({ fingerprint }) => fingerprint));
    expect(read.jwtAuthorities[0]!.publicKey.equals(bundle.jwtAuthorities[0]!.publicKey)).toBe(true);
  });

  test("XS-24, XS-25, BF-08, BF-10: an authority has use, its public key and one certificate in base64, and no kid", () => {
    expect(written.keys[0]).toEqual(x509Entry);
    expect(Object.keys(written.keys[0]!).sort()).toEqual(["crv", "kty", "use", "x", "x5c", "y"]);
  });

  test("JW-10: a JWT key has use, its public key and its kid", () => {
    expect(written.keys[1]).toEqual(jwtEntry);
    expect(Object.keys(written.keys[1]!).sort()).toEqual(["crv", "kid", "kty", "use", "x", "y"]);
  });

  test("with an empty list for an empty bundle, which go-spiffe would write as null and then refuse", () => {
    expect(encodeBundle({ trustDomain: "east", x509Authorities: [], jwtAuthorities: [] })).toBe(`{"keys":[]}`);
  });

  test.each(["ec-p384", "rsa-2048", "ed25519"] as const)("also for authorities with keys of kind %s", (keyKind) => {
    const other = testAuthority({ trustDomain: "east", keyKind }).bundle();
    expect(parseBundle("east", encodeBundle(other)).x509Authorities[0]!.fingerprint).toBe(other.x509Authorities[0]!.fingerprint);
  });
});

function rsa1024Entry() {
  const key = testKey("rsa-1024");
  const weak = testAuthority({ trustDomain: "east", key });
  return { ...jwkOf(key), use: "x509-svid", x5c: [Buffer.from(weak.der).toString("base64")] };
}
