import { createHash, sign, verify, type KeyObject } from "node:crypto";
import { PkiError } from "./errors.ts";
import { parseObject, type JsonObject } from "./json.ts";

/** What a proof is good for, and so for nothing else. */
export type ProofPurpose = "renewal" | "acknowledgement" | "request" | "report" | "attestation";

/**
 * Possession of a certificate's key, bound to one CSR (or, for an acknowledgement, to what is acknowledged): a compact JWS whose
 * header carries the chain (`x5c`) and whose payload names the CA, the CSR and the time. It travels in the body, so it works
 * behind any TLS terminator (DESIGN 5).
 */
export interface RenewalProof {
  /** DER, leaf first, as claimed: whether it is to be trusted is for the caller to verify. */
  readonly chain: readonly Uint8Array[];
  /** Trust domain the proof is meant for. */
  readonly audience: string;
  readonly issuedAtMs: number;
  readonly purpose: ProofPurpose;
  /** SHA-256 of what it is bound to, the CSR's DER, base64url. */
  readonly boundHash: string;
  readonly algorithm: JwsAlgorithm;
  readonly signingInput: Uint8Array;
  readonly signature: Uint8Array;
}

export type JwsAlgorithm = "ES256" | "ES384" | "EdDSA" | "RS256";

export interface RenewalProofInput {
  readonly chain: readonly Uint8Array[];
  readonly privateKey: KeyObject;
  /** DER; for another purpose whatever it is bound to. */
  readonly csr: Uint8Array;
  readonly audience: string;
  readonly nowMs: number;
  /** Default renewal. */
  readonly purpose?: ProofPurpose;
}

/** Makes the proof with the key of the chain's leaf. */
export function encodeRenewalProof({ chain, privateKey, csr, audience, nowMs, purpose = "renewal" }: RenewalProofInput): string {
  const algorithm = algorithmOf(privateKey);
  const header = { alg: algorithm, typ: typeOf[purpose], x5c: chain.map((der) => Buffer.from(der).toString("base64")) };
  const payload = { aud: audience, iat: Math.floor(nowMs / 1000), [boundAs[purpose]]: hashOf(csr) };
  const signingInput = `${base64urlJson(header)}.${base64urlJson(payload)}`;
  const signature = sign(digestOf(algorithm), Buffer.from(signingInput), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return `${signingInput}.${signature.toString("base64url")}`;
}

/**
 * Takes a proof apart without believing it; one for another purpose is no proof.
 * @throws {PkiError} renewal_proof_malformed
 */
export function parseRenewalProof(jws: string, purpose: ProofPurpose = "renewal"): RenewalProof {
  if (jws.length > maxProofLength) throw malformed(`longer than ${maxProofLength} characters`);
  const parts = jws.split(".");
  const [headerPart, payloadPart, signaturePart] = parts;
  if (parts.length !== 3 || !headerPart || !payloadPart || !signaturePart) throw malformed("not a compact JWS");
  const header = parsePart(headerPart);
  const payload = parsePart(payloadPart);
  const { alg, x5c } = header;
  if (header.typ !== typeOf[purpose] || Object.keys(header).length !== 3) throw malformed("its header is not that of a renewal proof");
  if (alg !== "ES256" && alg !== "ES384" && alg !== "EdDSA" && alg !== "RS256") throw malformed("its algorithm is not allowed");
  if (!Array.isArray(x5c) || x5c.length < 1 || x5c.length > maxChainLength) throw malformed("x5c is not a chain");
  const { aud, iat, [boundAs[purpose]]: bound } = payload;
  if (typeof aud !== "string" || typeof bound !== "string" || !Number.isSafeInteger(iat)) throw malformed(`aud, iat or ${boundAs[purpose]} is missing`);
  return {
    chain: x5c.map((value) => {
      if (typeof value !== "string" || value === "") throw malformed("x5c holds something that is no certificate");
      return decodeCanonical(value, "base64");
    }),
    audience: aud,
    issuedAtMs: (iat as number) * 1000,
    purpose,
    boundHash: bound,
    algorithm: alg,
    signingInput: Buffer.from(`${headerPart}.${payloadPart}`),
    signature: decodeCanonical(signaturePart, "base64url"),
  };
}

/**
 * Checks that the proof was made by `publicKey` (the leaf's, once its chain is verified) for this CSR and audience.
 * Its age is the caller's to judge: `issuedAtMs`.
 * @throws {PkiError} renewal_proof_signature_invalid
 */
export function verifyRenewalProof(proof: RenewalProof, publicKey: KeyObject, csr: Uint8Array, audience: string): void {
  if (proof.algorithm !== algorithmOf(publicKey)) throw invalid("its algorithm does not fit the certificate's key");
  if (!verify(digestOf(proof.algorithm), proof.signingInput, { key: publicKey, dsaEncoding: "ieee-p1363" }, proof.signature)) {
    throw invalid("the certificate's key did not sign it");
  }
  if (proof.audience !== audience) throw invalid("it was made for another trust domain");
  if (proof.boundHash !== hashOf(csr)) throw invalid(otherBound[proof.purpose]);
}

function algorithmOf(key: KeyObject): JwsAlgorithm {
  if (key.asymmetricKeyType === "ec") {
    const curve = key.asymmetricKeyDetails?.namedCurve;
    if (curve === "prime256v1") return "ES256";
    if (curve === "secp384r1") return "ES384";
  }
  if (key.asymmetricKeyType === "ed25519") return "EdDSA";
  if (key.asymmetricKeyType === "rsa") return "RS256";
  throw new PkiError("public_key_unsupported", "renewal proofs are made with P-256, P-384, Ed25519 or RSA keys");
}

function digestOf(algorithm: JwsAlgorithm): string | null {
  return algorithm === "EdDSA" ? null : algorithm === "ES384" ? "sha384" : "sha256";
}

function hashOf(bound: Uint8Array): string {
  return createHash("sha256").update(bound).digest("base64url");
}

function base64urlJson(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function parsePart(part: string): JsonObject {
  const value = parseObject(decodeCanonical(part, "base64url").toString("utf8"));
  if (value === undefined) throw malformed("a part of it is not a JSON object");
  return value;
}

/** Buffer.from skips what is not base64; only what encodes back to the same text is taken. */
function decodeCanonical(text: string, encoding: "base64" | "base64url"): Buffer {
  const octets = Buffer.from(text, encoding);
  if (octets.toString(encoding) !== text) throw malformed(`not canonical ${encoding}`);
  return octets;
}

function malformed(detail: string): PkiError {
  return new PkiError("renewal_proof_malformed", `not a renewal proof: ${detail}`);
}

function invalid(detail: string): PkiError {
  return new PkiError("renewal_proof_signature_invalid", `renewal proof refused: ${detail}`);
}

/** Keeps the JWS from being taken for a JWT-SVID or any other token, and for a proof of another purpose (RFC 8725 3.11). */
const typeOf = { renewal: "countersign-renewal+jws", acknowledgement: "countersign-acknowledgement+jws", request: "countersign-request+jws", report: "countersign-report+jws", attestation: "countersign-attestation+jws" } as const;
const otherBound = {
  renewal: "it was made for another CSR", attestation: "it was made for another CSR", acknowledgement: "it acknowledges something else", request: "it was made for another request, or this one was changed", report: "it was made for another report, or this one was changed",
} as const;
const boundAs = { renewal: "csr", acknowledgement: "acknowledged", request: "request", report: "report", attestation: "csr" } as const;
/** A chain of four RSA-4096 certificates in base64 stays below. */
const maxProofLength = 64 * 1024;
const maxChainLength = 8;
