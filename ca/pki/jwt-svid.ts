import { constants, verify, type KeyObject } from "node:crypto";
import type { Bundle } from "./bundle.ts";
import { PkiError } from "./errors.ts";
import { parseSpiffeId, type SpiffeId } from "./spiffe-id.ts";
import { parseStrictObject } from "./strict-json.ts";

/** A token whose signature, time and audience were verified. */
export interface VerifiedJwtSvid {
  readonly id: SpiffeId;
  readonly audience: readonly string[];
  readonly expiresAtMs: number;
  /** Every claim, as it was signed. */
  readonly claims: Readonly<Record<string, unknown>>;
}

export interface JwtSvidVerification {
  readonly token: string;
  /** Who asks: has to be among the token's audience. */
  readonly audience: string;
  /** By trust domain; only that of the token's subject is looked at. */
  readonly bundles: ReadonlyMap<string, Bundle>;
  readonly nowMs: number;
}

/** What is in a JWT-SVID of ours, and nothing else is. */
export interface JwtSvidContent {
  readonly keyId: string;
  readonly spiffeId: string;
  readonly audience: readonly string[];
  /** Whole seconds since the epoch, as is `expiresAt`. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Tells one token from the next in logs. */
  readonly jwtId: string;
}

/**
 * Verifies a JWT-SVID by the keys of its subject's own trust domain, with 30 s of leeway between clocks.
 * @throws {PkiError} jwt_svid_* | spiffe_id_malformed | svid_id_without_path | svid_trust_domain_unknown
 * @source JWT-SVID sections 2 to 6, RFC 8725 section 3
 */
export function verifyJwtSvid({ token, audience, bundles, nowMs }: JwtSvidVerification): VerifiedJwtSvid {
  const { header, claims, signingInput, signature } = takeApart(token);
  // First of all: nothing else of a token is looked at whose algorithm nobody may use.
  const algorithm = algorithmOf(header["alg"]);
  const { typ, kid, crit } = header;
  if (typ !== undefined && typ !== "JWT" && typ !== "JOSE") throw malformed("its typ is neither JWT nor JOSE");
  if (crit !== undefined) throw malformed("its header has extensions that have to be understood");
  if (kid !== undefined && typeof kid !== "string") throw malformed("its kid is not a text");
  const id = subjectOf(claims);
  const bundle = bundles.get(id.trustDomain);
  if (bundle === undefined) throw new PkiError("svid_trust_domain_unknown", `the token is of the trust domain ${id.trustDomain}, of which there is no bundle`);
  verifySignature(keysFor(bundle, kid, algorithm), algorithm, signingInput, signature);
  const expiresAtMs = checkTime(claims, nowMs);
  return { id, audience: checkAudience(claims["aud"], audience), expiresAtMs, claims };
}

/**
 * Writes what is signed of a JWT-SVID by a P-256 key: header and claims, each base64url.
 * @source JWT-SVID sections 2 and 3: `alg`, `kid` and `typ` are all the header has
 */
export function encodeJwtSvid({ keyId, spiffeId, audience, issuedAt, expiresAt, jwtId }: JwtSvidContent): string {
  const header = { alg: "ES256", kid: keyId, typ: "JWT" };
  return [header, { sub: spiffeId, aud: audience, exp: expiresAt, iat: issuedAt, jti: jwtId }].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
}

/** Header and claims of a token's first two parts, believed in nothing. @throws {PkiError} jwt_svid_malformed */
export function parseJwtSvidInput(input: string): { readonly header: Readonly<Record<string, unknown>>; readonly claims: Readonly<Record<string, unknown>> } {
  const [header, claims, ...more] = input.split(".");
  if (!header || !claims || more.length > 0) throw malformed("it is not header and claims");
  return {
    header: parseStrictObject(decodeCanonical(header), "jwt_svid_malformed", "the token's header"),
    claims: parseStrictObject(decodeCanonical(claims), "jwt_svid_malformed", "the token's claims"),
  };
}

interface Algorithm {
  readonly name: string;
  readonly digest: string;
  /** Of the key: a curve for `ec`. */
  readonly fits: (key: KeyObject) => boolean;
  readonly padding?: number;
}

function takeApart(token: string) {
  if (token.length > maxTokenLength) throw malformed(`it has more than ${maxTokenLength} characters`);
  const end = token.lastIndexOf(".");
  const [input, signature] = [token.slice(0, Math.max(end, 0)), token.slice(end + 1)];
  if (end <= 0 || signature === "") throw malformed("it is not a JWS in compact form");
  return { ...parseJwtSvidInput(input), signingInput: Buffer.from(input), signature: decodeCanonical(signature) };
}

function algorithmOf(alg: unknown): Algorithm {
  const algorithm = algorithms.find(({ name }) => name === alg);
  if (algorithm === undefined) throw new PkiError("jwt_svid_algorithm_refused", `the token's algorithm is none of ${algorithms.map(({ name }) => name).join(", ")}`);
  return algorithm;
}

function subjectOf({ sub }: Readonly<Record<string, unknown>>): SpiffeId {
  if (typeof sub !== "string") throw malformed("it has no subject");
  const id = parseSpiffeId(sub);
  if (id.path === "") throw new PkiError("svid_id_without_path", "the token's subject is a trust domain, not a workload");
  return id;
}

/** JWT-SVID 2.2: without a kid every key of the trust domain that fits is tried. */
function keysFor({ jwtAuthorities, trustDomain }: Bundle, kid: string | undefined, { fits, name }: Algorithm): readonly KeyObject[] {
  const keys = jwtAuthorities.filter(({ keyId }) => kid === undefined || kid === keyId).map(({ publicKey }) => publicKey).filter(fits);
  if (keys.length === 0) throw new PkiError("jwt_svid_key_unknown", `${trustDomain} publishes no such key for ${name}; the token is of a key that was replaced, revoked, or is not known here yet`);
  return keys.slice(0, maxTriedKeys);
}

function verifySignature(keys: readonly KeyObject[], { digest, padding }: Algorithm, signingInput: Uint8Array, signature: Uint8Array): void {
  const saltLength = constants.RSA_PSS_SALTLEN_DIGEST;
  const isGood = (key: KeyObject): boolean => verify(digest, signingInput, { key, dsaEncoding: "ieee-p1363", ...(padding !== undefined && { padding, saltLength }) }, signature);
  if (!keys.some(isGood)) throw new PkiError("jwt_svid_signature_invalid", "the token was not signed by a key of its trust domain");
}

function checkTime({ exp, nbf, iat }: Readonly<Record<string, unknown>>, nowMs: number): number {
  const expiresAtMs = timeOf(exp, "exp");
  if (expiresAtMs === undefined) throw malformed("it does not say when it expires");
  if (nowMs >= expiresAtMs + leewayMs) throw new PkiError("jwt_svid_expired", `the token expired ${Math.round((nowMs - expiresAtMs) / 1000)} s ago`);
  for (const beginsAtMs of [timeOf(nbf, "nbf"), timeOf(iat, "iat")]) {
    if (beginsAtMs !== undefined && nowMs < beginsAtMs - leewayMs) throw new PkiError("jwt_svid_not_yet_valid", `the token begins in ${Math.round((beginsAtMs - nowMs) / 1000)} s; check the clocks`);
  }
  return expiresAtMs;
}

/** RFC 7519 2: a NumericDate may have a fraction. */
function timeOf(value: unknown, name: string): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isFinite(value) || Math.abs(value) > maxTime) throw malformed(`its ${name} is not a time`);
  return value * 1000;
}

function checkAudience(aud: unknown, own: string): readonly string[] {
  const audience: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (aud === undefined || !audience.every((one) => typeof one === "string" && one !== "")) throw malformed("its audience is not a text or a list of texts");
  if (!audience.includes(own)) throw new PkiError("jwt_svid_audience_refused", "the token is for another audience");
  return audience as readonly string[];
}

/** Buffer.from skips what is not base64url; only what encodes back to the same text is taken, so a token has one form. */
function decodeCanonical(text: string): Buffer {
  const octets = Buffer.from(text, "base64url");
  if (octets.toString("base64url") !== text) throw malformed("a part of it is not base64url");
  return octets;
}

function malformed(detail: string): PkiError {
  return new PkiError("jwt_svid_malformed", `not a JWT-SVID: ${detail}`);
}

const ofCurve = (curve: string) => (key: KeyObject): boolean => key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === curve;
const isRsa = (key: KeyObject): boolean => key.asymmetricKeyType === "rsa";
/** JWT-SVID 2.1. No key of ours is on P-521, so ES512 finds none. */
const algorithms: readonly Algorithm[] = [
  { name: "ES256", digest: "sha256", fits: ofCurve("prime256v1") },
  { name: "ES384", digest: "sha384", fits: ofCurve("secp384r1") },
  { name: "ES512", digest: "sha512", fits: ofCurve("secp521r1") },
  ...[256, 384, 512].flatMap((bits) => [
    { name: `RS${bits}`, digest: `sha${bits}`, fits: isRsa },
    { name: `PS${bits}`, digest: `sha${bits}`, fits: isRsa, padding: constants.RSA_PKCS1_PSS_PADDING },
  ]),
];
/** Clocks that follow NTP are within a second; go-jose, of go-spiffe, takes a minute. */
const leewayMs = 30_000;
/** Headers of HTTP servers end at 8 or 16 KiB, and a token has to fit into one. */
const maxTokenLength = 16 * 1024;
/** A trust domain in rotation has two or three; a token that names none of them may not cost more. */
const maxTriedKeys = 8;
/** As far as JavaScript's dates reach. */
const maxTime = 8_640_000_000_000;
