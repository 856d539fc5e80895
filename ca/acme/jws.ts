import { calculateJwkThumbprint, flattenedVerify, importJWK, type FlattenedJWSInput, type JWK } from "jose";
import { AcmeError } from "./error.ts";
import { isObject, parseObject, type JsonObject } from "../pki/json.ts";

/** A request of ACME's whose signature is by the key it names. */
export interface SignedRequest {
  /** Of the account, by whom; undefined: the key speaks for itself. */
  readonly account: string | undefined;
  readonly jwk: JWK;
  readonly nonce: string;
  /** Empty for POST-as-GET. */
  readonly payload: string;
}

/** Where keys come from. */
export interface RequestKeys {
  /** The key of an account, by its URL; throws where there is none. */
  of(account: string): Promise<JWK>;
  /** Told of a request that brings its key, before anything is done with that; may throw. */
  brought(): void;
}

/**
 * Verifies the JWS that a request is.
 * @throws {AcmeError} malformed | badSignatureAlgorithm | badPublicKey | unauthorized
 * @source RFC 8555 section 6.2
 */
export async function verifyRequest(body: string, url: string, by: "account" | "key" | "either", keys: RequestKeys): Promise<SignedRequest> {
  const { jws, header } = readJws(body);
  const { alg, nonce, jwk, kid } = header;
  if (typeof alg !== "string" || !algorithms.includes(alg)) throw new AcmeError("badSignatureAlgorithm", `The algorithm is none of ${algorithms.join(", ")}.`, { members: { algorithms } });
  if (typeof nonce !== "string") throw new AcmeError("badNonce", "The request has no nonce.");
  if (header["url"] !== url) throw new AcmeError("unauthorized", "The request was signed for another URL.");
  if ((jwk === undefined) === (kid === undefined)) throw malformed("its header has to have either jwk or kid");
  if (by !== "either" && (by === "account") !== (kid !== undefined)) throw malformed(by === "account" ? "it has to name the account (kid)" : "it has to bring its key (jwk)");
  if (kid !== undefined && typeof kid !== "string") throw malformed("its kid is no text");
  if (kid === undefined) keys.brought();
  const key = kid === undefined ? publicJwk(jwk) : await keys.of(kid);
  return { account: kid, jwk: key, nonce, payload: await verifyBy(jws, key, alg) };
}

/** Reads a JWS within another one: of a new key, or of an external account. Its signature is not looked at. */
export function readInner(value: unknown): { readonly jws: FlattenedJWSInput; readonly header: Readonly<Record<string, unknown>> } {
  return readJws(JSON.stringify(value ?? null));
}

/** @throws {AcmeError} unauthorized | badPublicKey */
export async function verifyBy(jws: FlattenedJWSInput, jwk: JWK, alg: string): Promise<string> {
  const key = await importJWK(jwk, alg).catch((cause: unknown) => {
    throw new AcmeError("badPublicKey", `The key is none for ${alg}.`, { cause });
  });
  return verifyWith(jws, key, [alg]);
}

/** @throws {AcmeError} unauthorized */
export async function verifyWith(jws: FlattenedJWSInput, key: Parameters<typeof flattenedVerify>[1], allowed: readonly string[]): Promise<string> {
  try {
    const { payload } = await flattenedVerify(jws, key, { algorithms: [...allowed] });
    return Buffer.from(payload).toString("utf8");
  } catch (cause) {
    throw new AcmeError("unauthorized", "The signature is not by the key that the request names.", { cause });
  }
}

/** A public key and no more: what would be private in it is not taken over. @throws {AcmeError} badPublicKey */
export function publicJwk(value: unknown): JWK {
  const { kty, crv, x, y, n, e, d, k } = isObject(value) ? value : {};
  const texts = Object.entries({ kty, crv, x, y, n, e }).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  if (!["EC", "OKP", "RSA"].includes(String(kty)) || d !== undefined || k !== undefined) throw new AcmeError("badPublicKey", "The key is no public key of EC, OKP or RSA.");
  // Anybody may bring one, and its size is what verifying costs.
  if (kty === "RSA" && (octetsOf(n) > maxModulusBytes || octetsOf(e) > maxExponentBytes)) throw new AcmeError("badPublicKey", `An RSA key has at most ${maxModulusBytes * 8} bits here, and its exponent ${maxExponentBytes * 8}.`);
  return Object.fromEntries(texts) as JWK;
}

/** How many octets a number in base64url has, without a zero in front that some clients write. */
function octetsOf(value: unknown): number {
  const octets = Buffer.from(typeof value === "string" ? value : "", "base64url");
  return octets[0] === 0 ? octets.length - 1 : octets.length;
}

/** @throws {AcmeError} badPublicKey */
export async function thumbprintOf(jwk: JWK): Promise<string> {
  return calculateJwkThumbprint(jwk, "sha256").catch((cause: unknown) => {
    throw new AcmeError("badPublicKey", "The key is incomplete.", { cause });
  });
}

/** @throws {AcmeError} malformed */
export function parsePayload(payload: string): JsonObject {
  const value = parseObject(payload);
  if (value === undefined) throw malformed("its payload is no JSON object");
  return value;
}

function readJws(body: string): { readonly jws: FlattenedJWSInput; readonly header: Readonly<Record<string, unknown>> } {
  const { protected: protectedPart, payload, signature, ...more } = parsePayload(body);
  if (typeof protectedPart !== "string" || typeof payload !== "string" || typeof signature !== "string" || Object.keys(more).length > 0) {
    throw malformed("it is no flattened JWS of protected, payload and signature alone");
  }
  const header = parsePayload(Buffer.from(protectedPart, "base64url").toString("utf8"));
  if ("b64" in header || "crit" in header) throw malformed("its header has an extension");
  return { jws: { protected: protectedPart, payload, signature }, header };
}

function malformed(detail: string): AcmeError {
  return new AcmeError("malformed", `The request is refused: ${detail}.`);
}

/** No `none`, and no MAC: anybody has the public key. */
const algorithms: readonly string[] = ["ES256", "ES384", "ES512", "EdDSA", "RS256"];
/** As for the keys that are certified (`pki/key.ts`). */
const maxModulusBytes = 512;
const maxExponentBytes = 4;
