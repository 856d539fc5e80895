import { createHash, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { compactVerify } from "jose";
import { describe, expect, test } from "vitest";
import { encodeRenewalProof, parseRenewalProof, verifyRenewalProof } from "../../../ca/pki/renewal-proof.ts";

const key = generateKeyPairSync("ec", { namedCurve: "P-256" });
const csr = Buffer.from("the CSR's DER");
const chain = [Buffer.from("leaf"), Buffer.from("issuer")];
const nowMs = Date.UTC(2026, 0, 1);
const proof = encodeRenewalProof({ chain, privateKey: key.privateKey, csr, audience: "east.example", nowMs });
const header = { alg: "ES256", typ: "countersign-renewal+jws", x5c: chain.map((der) => der.toString("base64")) };
const payload = { aud: "east.example", iat: nowMs / 1000, csr: createHash("sha256").update(csr).digest("base64url") };

describe("a renewal proof", () => {
  test("says who, for whom, when and over which CSR", () => {
    expect(parseRenewalProof(proof)).toMatchObject({ chain, audience: "east.example", issuedAtMs: nowMs, algorithm: "ES256" });
  });

  test("is a JWS that jose verifies", async () => {
    const verified = await compactVerify(proof, key.publicKey, { algorithms: ["ES256"] });
    expect(JSON.parse(Buffer.from(verified.payload).toString())).toEqual(payload);
  });

  test.each([
    ["P-256", generateKeyPairSync("ec", { namedCurve: "P-256" })],
    ["P-384", generateKeyPairSync("ec", { namedCurve: "P-384" })],
    ["Ed25519", generateKeyPairSync("ed25519")],
    ["RSA", generateKeyPairSync("rsa", { modulusLength: 2048 })],
  ])("made with a %s key verifies", (_, { privateKey, publicKey }) => {
    const made = encodeRenewalProof({ chain, privateKey, csr, audience: "east.example", nowMs });
    expect(() => verifyRenewalProof(parseRenewalProof(made), publicKey, csr, "east.example")).not.toThrow();
  });

  test.each([
    ["another key signed it", () => verifyRenewalProof(parseRenewalProof(proof), generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey, csr, "east.example")],
    ["the key is of another kind", () => verifyRenewalProof(parseRenewalProof(proof), generateKeyPairSync("ed25519").publicKey, csr, "east.example")],
    ["it is for another CSR", () => verifyRenewalProof(parseRenewalProof(proof), key.publicKey, Buffer.from("other"), "east.example")],
    ["it is for another trust domain", () => verifyRenewalProof(parseRenewalProof(proof), key.publicKey, csr, "west.example")],
    ["its payload was altered", () => verifyRenewalProof(parseRenewalProof(altered(proof)), key.publicKey, csr, "east.example")],
  ])("is refused when %s", (_, act) => {
    expect(act).toThrow(expect.objectContaining({ code: "renewal_proof_signature_invalid" }));
  });

  test("for one purpose is none for another, whichever way round", () => {
    const acknowledgement = encodeRenewalProof({ chain, privateKey: key.privateKey, csr, audience: "east.example", nowMs, purpose: "acknowledgement" });
    const parsed = parseRenewalProof(acknowledgement, "acknowledgement");
    expect(() => verifyRenewalProof(parsed, key.publicKey, csr, "east.example")).not.toThrow();
    expect(() => verifyRenewalProof(parsed, key.publicKey, Buffer.from("other"), "east.example")).toThrow("acknowledges something else");
    expect(() => parseRenewalProof(acknowledgement)).toThrow(expect.objectContaining({ code: "renewal_proof_malformed" }));
    expect(() => parseRenewalProof(proof, "acknowledgement")).toThrow(expect.objectContaining({ code: "renewal_proof_malformed" }));
  });

  test.each([
    ["is empty", ""],
    ["has two parts", "e30.e30"],
    ["has four parts", `${proof}.e30`],
    ["is longer than the limit", `${proof}${"A".repeat(70_000)}`],
    ["has an unsigned algorithm", jws({ ...header, alg: "none" }, payload)],
    ["has a MAC for an algorithm", jws({ ...header, alg: "HS256" }, payload)],
    ["is of another type", jws({ ...header, typ: "JWT" }, payload)],
    ["brings a key of its own", jws({ ...header, jwk: {} }, payload)],
    ["has an empty chain", jws({ ...header, x5c: [] }, payload)],
    ["has a chain that is too long", jws({ ...header, x5c: Array.from({ length: 9 }, () => "AA==") }, payload)],
    ["has a chain of non-canonical base64", jws({ ...header, x5c: ["AB=="] }, payload)],
    ["has a chain of numbers", jws({ ...header, x5c: [1] }, payload)],
    ["names no audience", jws(header, { ...payload, aud: undefined })],
    ["names several audiences", jws(header, { ...payload, aud: ["east.example"] })],
    ["has no time", jws(header, { ...payload, iat: "now" })],
    ["binds no CSR", jws(header, { ...payload, csr: undefined })],
    ["has a payload that is no object", jws(header, [])],
    ["has a header that is no JSON", `${Buffer.from("{").toString("base64url")}.${proof.split(".").slice(1).join(".")}`],
  ])("is malformed when it %s", (_, text) => {
    expect(() => parseRenewalProof(text)).toThrow(expect.objectContaining({ code: "renewal_proof_malformed" }));
  });
});

function jws(protectedHeader: object, claims: object, privateKey: KeyObject = key.privateKey): string {
  const input = [protectedHeader, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${input}.${sign("sha256", Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

function altered(text: string): string {
  const [protectedHeader, , signature] = text.split(".");
  return [protectedHeader, Buffer.from(JSON.stringify({ ...payload, iat: payload.iat + 1 })).toString("base64url"), signature].join(".");
}
