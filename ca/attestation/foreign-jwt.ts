import { decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from "jose";
import { parseSpiffeId } from "../pki/spiffe-id.ts";
import type { KeySet } from "./key-set.ts";
import { TokenFault } from "./token-fault.ts";

/** Which tokens are taken. */
export interface TokenRules {
  /** Of the attestor, for messages. */
  readonly attestor: string;
  /** Its URL; `spiffe://west` for JWT-SVIDs of the trust domain west, which name no issuer, but whose subject is of it. Undefined: whoever has these keys. */
  readonly issuer: string | undefined;
  readonly audience: string;
  readonly keys: KeySet;
  readonly nowMs: number;
}

/**
 * Verifies another issuer's token by that issuer's published keys alone: what a token says of where its key is (jku, x5u, jwk, x5c) is not looked at.
 * @returns its claims
 * @throws {TokenFault}, {Refusal} attestor_unavailable
 * @source RFC 8725 section 3; JWT-SVID sections 3 and 5
 */
export async function verifyForeignJwt(token: string, { attestor, issuer, audience, keys, nowMs }: TokenRules): Promise<JWTPayload> {
  const refuse = (why: string, cause?: unknown): TokenFault => new TokenFault(attestor, why, cause);
  if (token.length > maxTokenLength) throw refuse(`it has more than ${maxTokenLength} characters`);
  checkHeader(token, refuse);
  const trustDomain = issuer === undefined ? undefined : trustDomainOf(issuer);
  const options = { ...(trustDomain === undefined && issuer !== undefined && { issuer }), audience, algorithms: [...algorithms], currentDate: new Date(nowMs), clockTolerance: leewaySeconds, requiredClaims: ["exp", "sub"] };
  const verify = async (afresh: boolean): Promise<JWTPayload> => (await jwtVerify(token, await keys.keys(afresh), options)).payload;
  try {
    const claims = await verify(false).catch((error: unknown) => {
      // A new key, perhaps.
      if (error instanceof errors.JWKSNoMatchingKey) return verify(true);
      throw error;
    });
    if (trustDomain !== undefined && !isOfTrustDomain(claims.sub, trustDomain)) throw refuse(`its subject is no SPIFFE ID of the trust domain ${trustDomain}`);
    if (claims.iat !== undefined && claims.iat > nowMs / 1000 + leewaySeconds) throw refuse("it was made in the future; check the clocks");
    return claims;
  } catch (error) {
    if (error instanceof errors.JOSEError) throw refuse(reasonOf(error, issuer ?? "the cluster", audience), error);
    // Key material that Node does not take: RSA of 512 bits, a point off its curve.
    if (error instanceof TypeError || (error as { name?: unknown } | null)?.name === "DataError") throw refuse("the key that it names is unfit for its algorithm", error);
    throw error;
  }
}

/** Of an issuer that is a trust domain and not a URL: what its JWT-SVIDs are of. */
export function trustDomainOf(issuer: string): string | undefined {
  return issuer.startsWith("spiffe://") ? issuer.slice("spiffe://".length) : undefined;
}

function isOfTrustDomain(subject: string | undefined, trustDomain: string): boolean {
  try {
    return parseSpiffeId(subject ?? "").trustDomain === trustDomain;
  } catch {
    return false;
  }
}

/** Header of a token whose signature is its sender's say-so until it was verified. */
function checkHeader(token: string, refuse: (why: string) => TokenFault): void {
  let header: ReturnType<typeof decodeProtectedHeader>;
  try {
    header = decodeProtectedHeader(token);
  } catch {
    throw refuse("it is no JWT in compact form");
  }
  const { alg, typ } = header;
  if (alg === undefined || !algorithms.includes(alg)) throw refuse(`its algorithm is none of ${algorithms.join(", ")}`);
  // Access tokens and proofs of other kinds are signed by the same keys, and are no identity (RFC 8725 3.11).
  if (typ !== undefined && !["JWT", "JOSE"].includes(typ.toUpperCase())) throw refuse("its typ is not JWT");
}

function reasonOf(error: errors.JOSEError, issuer: string, audience: string): string {
  if (error instanceof errors.JWTExpired) return "it has expired; take a new one";
  if (error instanceof errors.JWKSNoMatchingKey) return `${issuer} publishes no such key`;
  if (error instanceof errors.JWKSMultipleMatchingKeys) return "it does not say which of its issuer's keys it is by";
  if (error instanceof errors.JWSSignatureVerificationFailed) return "its signature is not by the key it names";
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === "aud") return `it is not for the audience ${audience}; ask the platform for one that is`;
    if (error.claim === "iss") return `it is not by ${issuer}`;
    if (error.claim === "nbf") return "it does not begin yet; check the clocks";
    return `its claim "${error.claim}" is missing or wrong`;
  }
  return "it is malformed";
}

/** Those of tokens that are taken: no `none`, and nothing that a public key would be the secret of. */
export const algorithms: readonly string[] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
const leewaySeconds = 30;
const maxTokenLength = 16 * 1024;
