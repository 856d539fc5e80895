import fc from "fast-check";
import { createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { encodeBootstrap, parseBootstrap } from "../../ca/pki/bootstrap.ts";
import { encodeBundle, parseBundle } from "../../ca/pki/bundle.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { encodeCsr, parseCsr } from "../../ca/pki/csr.ts";
import { DerReader, readDer } from "../../ca/pki/der.ts";
import { PkiError } from "../../ca/pki/errors.ts";
import { encodeJwtSvid, verifyJwtSvid } from "../../ca/pki/jwt-svid.ts";
import { decodePem, encodePem } from "../../ca/pki/pem.ts";
import { encodeRenewalProof, parseRenewalProof } from "../../ca/pki/renewal-proof.ts";
import { parseSpiffeId, parseSpiffeIdPattern } from "../../ca/pki/spiffe-id.ts";
import { verifySvid } from "../../ca/pki/svid.ts";
import { testAuthority, testNowMs } from "../support/test-ca.ts";

// Real documents to damage: random bytes alone never get past the first few octets.
const authority = testAuthority({ trustDomain: "east.example" });
const leaf = authority.leaf({ spiffeId: "spiffe://east.example/ns/shop/sa/cart" });
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const csr = encodeCsr({ privateKey, uriSans: ["spiffe://east.example/ns/shop/sa/cart"], dnsSans: ["cart.shop"] });
const proof = encodeRenewalProof({ chain: leaf.chain, privateKey, csr, audience: "east.example", nowMs: 0 });
const bootstrap = encodeBootstrap({ caUrl: "https://ca:8443", token: "csjoin_a_b", rootFingerprint: "ab".repeat(32), trustDomain: "east.example" });
const jwtInput = encodeJwtSvid({ keyId: "k", spiffeId: "spiffe://east.example/cart", audience: ["db"], issuedAt: 0, expiresAt: 60, jwtId: "j" });
const jwtSvid = `${jwtInput}.${sign("sha256", Buffer.from(jwtInput), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
const jwtBundles = new Map([["east.example", { ...authority.bundle(), jwtAuthorities: [{ keyId: "k", publicKey: createPublicKey(privateKey) }] }]]);
const bundles = new Map([["east.example", authority.bundle()]]);

describe("damaged input brings out coded errors only, in bounded time and memory", () => {
  binary("DER", csr, 20_000, (bytes) => walk(bytes));
  binary("a certificate", leaf.der, 30_000, (bytes) => void parseCertificate(bytes));
  binary("a CSR", csr, 15_000, (bytes) => void parseCsr(bytes));
  binary("a chain in a handshake", leaf.der, 10_000, (bytes) => {
    verifySvid({ chain: [bytes, ...leaf.chain.slice(1)], bundles, nowMs: testNowMs, purpose: "client" });
  });
  text("PEM", encodePem("CERTIFICATE", leaf.der), 15_000, (value) => void decodePem(value, "CERTIFICATE"));
  text("a SPIFFE ID", "spiffe://east.example/ns/shop/sa/cart", 20_000, (value) => void parseSpiffeId(value));
  text("a SPIFFE ID pattern", "spiffe://east.example/ns/*", 10_000, (value) => void parseSpiffeIdPattern(value));
  text("a bundle", encodeBundle(authority.bundle()), 10_000, (value) => void parseBundle("east.example", value));
  text("a bootstrap string", bootstrap, 10_000, (value) => void parseBootstrap(value));
  text("a JWT-SVID", jwtSvid, 10_000, (token) => void verifyJwtSvid({ token, audience: "db", bundles: jwtBundles, nowMs: 0 }));
  text("a renewal proof", proof, 10_000, (value) => void parseRenewalProof(value));
});

function binary(what: string, valid: Uint8Array, cases: number, act: (bytes: Uint8Array) => void): void {
  const edits = fc.array(fc.record({ at: fc.nat(valid.length), drop: fc.nat(3), put: fc.uint8Array({ maxLength: 4 }) }), { minLength: 1, maxLength: 4 });
  const damaged = edits.map((list) => list.reduce((bytes, { at, drop, put }) => splice(bytes, at, drop, put), valid));
  fuzz(what, fc.oneof({ weight: 9, arbitrary: damaged }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 64 }) }), cases, act);
}

function text(what: string, valid: string, cases: number, act: (value: string) => void): void {
  const edits = fc.array(fc.record({ at: fc.nat(valid.length), drop: fc.nat(3), put: fc.string({ unit: "binary", maxLength: 3 }) }), { minLength: 1, maxLength: 4 });
  const damaged = edits.map((list) => list.reduce((value, { at, drop, put }) => value.slice(0, at) + put + value.slice(at + drop), valid));
  fuzz(what, fc.oneof({ weight: 9, arbitrary: damaged }, { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 64 }) }), cases, act);
}

function fuzz<T>(what: string, arbitrary: fc.Arbitrary<T>, cases: number, act: (value: T) => void): void {
  test(`${what}, ${cases} times`, { timeout: 120_000 }, () => {
    const before = process.memoryUsage().rss;
    let refused = 0;
    fc.assert(
      fc.property(arbitrary, (value) => {
        try {
          act(value);
        } catch (error) {
          refused++;
          // Anything else is a bug of ours that an attacker found before us.
          if (!(error instanceof PkiError)) throw error;
        }
      }),
      { numRuns: cases },
    );
    expect(refused).toBeGreaterThan(cases / 10);
    expect(process.memoryUsage().rss - before).toBeLessThan(maxGrowthBytes);
  });
}

/** Reads every element down to the primitives, as the parsers do. */
function walk(bytes: Uint8Array): void {
  const pending = [readDer(bytes)];
  for (let element = pending.pop(); element !== undefined; element = pending.pop()) {
    if ((element.tag & 0x20) === 0) continue;
    const reader = new DerReader(element);
    while (!reader.finished) pending.push(reader.next());
  }
}

function splice(bytes: Uint8Array, at: number, drop: number, put: Uint8Array): Uint8Array {
  return Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + drop)]);
}

/** The heap of a run breathes by some tens of MiB; a leak of even 1 KiB a case would be far above. */
const maxGrowthBytes = 256 * 1024 * 1024;
