import { createPublicKey, type KeyObject, type webcrypto } from "node:crypto";
import { parseCertificate, type Certificate } from "./certificate.ts";
import { PkiError, type PkiErrorCode } from "./errors.ts";
import { isObject, type JsonObject } from "./json.ts";
import { describeSpki } from "./key.ts";
import { parseTrustDomain } from "./spiffe-id.ts";

/** What a trust domain publishes so that others can verify its SVIDs. Never merged with that of another domain. */
export interface Bundle {
  readonly trustDomain: string;
  /** Anchors of X509-SVIDs. Empty: nothing of this domain verifies. */
  readonly x509Authorities: readonly Certificate[];
  /** Keys of JWT-SVIDs. */
  readonly jwtAuthorities: readonly JwtAuthority[];
  /** Grows with each change of the contents; 64 bits. */
  readonly sequence?: bigint;
  /** How often the publisher would like to be asked. */
  readonly refreshHintSeconds?: number;
}

export interface JwtAuthority {
  readonly keyId: string;
  readonly publicKey: KeyObject;
}

/**
 * Reads the SPIFFE bundle of a trust domain; the document does not say whose it is.
 *
 * Entries for other uses, without what their use needs, or with keys and algorithms we do not accept are left out, as nothing
 * could be verified by them. A broken certificate or a private key refuses the whole document.
 * @throws {PkiError} bundle_malformed | bundle_limit_exceeded | trust_domain_malformed
 * @source SPIFFE Trust Domain and Bundle section 4, X509-SVID section 6.2
 */
export function parseBundle(trustDomain: string, json: string): Bundle {
  if (json.length > maxBundleChars) throw limitExceeded(`${json.length} characters, the limit is ${maxBundleChars}`);
  return readBundle(trustDomain, parseBundleJson(json));
}

/** The same, of JSON that `parseBundleJson` read. @throws {PkiError} bundle_malformed | bundle_limit_exceeded | trust_domain_malformed */
export function readBundle(trustDomain: string, document: unknown): Bundle {
  parseTrustDomain(trustDomain);
  if (!isObject(document)) throw malformed("not a JSON object");
  if (!Array.isArray(document["keys"])) throw malformed(`no list "keys"`);
  const keys: readonly unknown[] = document["keys"];
  if (keys.length > maxKeys) throw limitExceeded(`${keys.length} keys, the limit is ${maxKeys}`);
  const sequence = readSequence(document["spiffe_sequence"]);
  const refreshHintSeconds = readRefreshHint(document["spiffe_refresh_hint"]);
  const jwks = keys.map((key) => {
    if (!isObject(key)) throw malformed("a key is not a JSON object");
    return key;
  });
  const jwtAuthorities = jwks.filter((jwk) => usable(jwk, "jwt-svid")).flatMap(readJwtAuthority);
  const keyIds = new Set(jwtAuthorities.map(({ keyId }) => keyId));
  if (keyIds.size !== jwtAuthorities.length) throw malformed("two JWT keys share a kid");
  return {
    trustDomain,
    x509Authorities: jwks.filter((jwk) => usable(jwk, "x509-svid")).flatMap(readX509Authority),
    jwtAuthorities,
    ...(sequence !== undefined && { sequence }),
    ...(refreshHintSeconds !== undefined && { refreshHintSeconds }),
  };
}

/**
 * Writes a bundle as its trust domain publishes it: each JWK has kty, use and the public members; `x5c` exactly one
 * certificate; `kid` only for JWT keys (SPIRE and go-spiffe refuse a bundle that is looser than that).
 * @source SPIFFE Trust Domain and Bundle section 4, X509-SVID section 6.1, JWT-SVID section 6.1
 */
export function encodeBundle({ x509Authorities, jwtAuthorities, sequence, refreshHintSeconds }: Bundle): string {
  const keys = [
    ...x509Authorities.map(({ publicKey, der }) => (
      { ...publicKey.export({ format: "jwk" }), use: "x509-svid", x5c: [Buffer.from(der).toString("base64")] }
    )),
    ...jwtAuthorities.map(encodeJwtAuthority),
  ];
  // A bigint has no JSON form of its own, and Number would round it beyond 2^53.
  return JSON.stringify({
    keys,
    ...(sequence !== undefined && { spiffe_sequence: rawJson(sequence.toString()) }),
    ...(refreshHintSeconds !== undefined && { spiffe_refresh_hint: refreshHintSeconds }),
  });
}

/** The keys of a trust domain's JWT-SVIDs alone, as a JWK Set. @source SPIFFE Workload API section 6.2.2 */
export function encodeJwtBundle({ jwtAuthorities }: Pick<Bundle, "jwtAuthorities">): string {
  return JSON.stringify({ keys: jwtAuthorities.map(encodeJwtAuthority) });
}

function encodeJwtAuthority({ keyId, publicKey }: JwtAuthority): object {
  return { ...publicKey.export({ format: "jwk" }), use: "jwt-svid", kid: keyId };
}

/** JSON with the sequences of bundles as they are written. @throws {PkiError} bundle_malformed */
export function parseBundleJson(json: string): unknown {
  try {
    return JSON.parse(json, withExactSequence as (key: string, value: unknown) => unknown);
  } catch (cause) {
    throw new PkiError("bundle_malformed", "bundle is not valid: not JSON", { cause });
  }
}

/** JSON.parse rounds beyond 2^53, so the sequence is read from its source text. What is no plain integer stays a number. */
function withExactSequence(key: string, value: unknown, context: { readonly source?: string }): unknown {
  const source = context.source ?? "";
  const isInteger = typeof value === "number" && /^(?:0|[1-9][0-9]{0,19})$/.test(source);
  return key === "spiffe_sequence" && isInteger ? BigInt(source) : value;
}

function readSequence(value: unknown): bigint | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "bigint" || value > maxSequence) throw malformed("spiffe_sequence is not an integer of 64 bits");
  return value;
}

function readRefreshHint(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw malformed("spiffe_refresh_hint is not a whole number of seconds");
  }
  return value;
}

/** Bundle section 4.2: entries of other uses or key types are not ours to read. */
function usable(jwk: JsonObject, use: string): boolean {
  return jwk["use"] === use && keyTypes.includes(jwk["kty"]);
}

function readX509Authority(jwk: JsonObject): Certificate[] {
  refusePrivateKey(jwk);
  const x5c = jwk["x5c"];
  if (x5c === undefined) return [];
  if (!Array.isArray(x5c)) throw malformed("x5c is not a list");
  if (x5c.length === 0) return [];
  const [first]: unknown[] = x5c;
  const der = typeof first === "string" ? Buffer.from(first, "base64") : undefined;
  // Node takes base64url and skips what it does not know; only canonical base64 comes back as it went in (RFC 7517 4.7).
  if (der === undefined || der.toString("base64") !== first) throw malformed("x5c is not base64 of a certificate");
  try {
    const certificate = parseCertificate(der);
    const { publicKey } = certificate;
    comparePublicMembers(jwk, { ...publicKey.export({ format: "jwk" }) });
    return [certificate];
  } catch (cause) {
    return leaveOutUnsupported(cause, "certificate in x5c");
  }
}

function readJwtAuthority(jwk: JsonObject): JwtAuthority[] {
  refusePrivateKey(jwk);
  const { kty, crv, x, y, n, e, kid } = jwk;
  if (kid === undefined || kid === "") return [];
  if (typeof kid !== "string") throw malformed("kid is not a text");
  try {
    const publicKey = createPublicKey({ key: { kty, crv, x, y, n, e } as webcrypto.JsonWebKey, format: "jwk" });
    describeSpki(publicKey.export({ format: "der", type: "spki" }));
    return [{ keyId: kid, publicKey }];
  } catch (cause) {
    return leaveOutUnsupported(cause, "JWT key");
  }
}

/** A published private key is everybody's key: no use of the set it came in is safe. */
function refusePrivateKey(jwk: JsonObject): void {
  if (privateMembers.some((member) => Object.hasOwn(jwk, member))) {
    throw malformed("a key comes with its private half; treat that key as compromised");
  }
}

/** RFC 7517 4.7: the members describe the key in the certificate. */
function comparePublicMembers(jwk: JsonObject, publicKey: JsonObject): void {
  for (const member of ["kty", "crv", "x", "y", "n", "e"]) {
    if (jwk[member] !== undefined && jwk[member] !== publicKey[member]) throw malformed("a key is not that of its certificate");
  }
}

function leaveOutUnsupported(cause: unknown, what: string): never[] {
  if (cause instanceof PkiError && unsupported.has(cause.code)) return [];
  if (cause instanceof PkiError && cause.code === "bundle_malformed") throw cause;
  const reason = cause instanceof PkiError ? cause.message : "unreadable";
  throw new PkiError("bundle_malformed", `bundle is not valid: ${what}: ${reason}`, { cause });
}

function malformed(detail: string): PkiError {
  return new PkiError("bundle_malformed", `bundle is not valid: ${detail}`);
}

function limitExceeded(detail: string): PkiError {
  return new PkiError("bundle_limit_exceeded", `bundle is too large: ${detail}`);
}

/** ECMAScript 2026, in Node since 22; not yet in the types. */
const rawJson = (JSON as typeof JSON & { readonly rawJSON: (text: string) => unknown }).rawJSON;
const unsupported: ReadonlySet<PkiErrorCode> = new Set(["algorithm_unsupported", "public_key_unsupported", "public_key_weak"]);
const keyTypes: readonly unknown[] = ["EC", "RSA", "OKP"];
const privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
const maxSequence = 2n ** 64n - 1n;
/** A root in rotation means two or three keys; Mesh-wide federations publish tens. 1 MiB holds about 500 certificates. */
const maxBundleChars = 1024 * 1024;
const maxKeys = 256;
