import type { OidcAttestor } from "../config/attestors.ts";
import { isObject } from "../pki/json.ts";
import { sha256 } from "../pki/sha256.ts";
import { parseSpiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import { recordOf, type Evidence } from "./evidence.ts";
import { trustDomainOf, verifyForeignJwt } from "./foreign-jwt.ts";
import { keySetOf, type KeySetDeps } from "./key-set.ts";
import type { Facts } from "./name-template.ts";

/** Verifies ID tokens of one issuer. Each is good for one certificate, unless the operator lets them be used again. */
export function oidcVerifier(config: OidcAttestor, deps: KeySetDeps, keys = keySetOf(config.name, config, deps)): (token: string) => Promise<Evidence> {
  const { name, issuer, audience, once } = config;
  return async (token) => {
    const nowMs = deps.now().getTime();
    const claims = await verifyForeignJwt(token, { attestor: name, issuer, audience, keys, nowMs });
    const { sub, jti, exp = 0 } = claims;
    if (once && exp * 1000 > nowMs + maxRememberedMs) {
      throw new Refusal("attestation_refused", `The attestor "${name}" refuses the token: it is good for more than a day, too long to remember that it was used. Ask for one that ends sooner, or set once to false for this attestor.`);
    }
    return {
      facts: factsOfClaims(trustDomainOf(issuer) === undefined ? claims : { ...claims, workload: workloadOf(sub ?? "") }),
      record: recordOf({ issuer, subject: sub, tokenId: typeof jti === "string" ? jti : undefined }),
      ...(once && { once: { nonce: typeof jti === "string" && jti !== "" ? `jti ${hashOf(jti)}` : `token ${hashOf(signedPart(token))}`, untilMs: exp * 1000 + marginMs } }),
    };
  };
}

/** Path of a SPIFFE ID without its slash, for templates: `ns/shop/sa/cart`. */
function workloadOf(uri: string): string {
  return parseSpiffeId(uri).path.slice(1);
}

/** Claims by name, those within objects by `outer.inner`. An issuer's own names with dots go before. */
function factsOfClaims(claims: Readonly<Record<string, unknown>>): Facts {
  const facts = new Map<string, readonly string[]>();
  const add = (prefix: string, values: Readonly<Record<string, unknown>>, depth: number): void => {
    for (const [name, value] of Object.entries(values)) {
      if (facts.size >= maxFacts) return;
      const path = `${prefix}${name}`;
      const texts = (Array.isArray(value) ? value : [value]).filter((one) => ["string", "number", "boolean"].includes(typeof one)).map(String);
      if (texts.length > 0 && !facts.has(path)) facts.set(path, texts);
      else if (isObject(value) && depth < maxDepth) deeper.push(() => add(`${path}.`, value, depth + 1));
    }
  };
  const deeper: (() => void)[] = [];
  add("", claims, 0);
  for (let next = deeper.shift(); next !== undefined; next = deeper.shift()) next();
  return facts;
}

/** Without the signature: of an ECDSA signature anybody can make a second one that is good. */
function signedPart(token: string): string {
  return token.slice(0, token.lastIndexOf("."));
}

function hashOf(text: string): string {
  return sha256(text).toString("base64url");
}

const maxRememberedMs = 24 * 3_600_000;
/** Leeway of the verification, and clocks of replicas that differ. */
const marginMs = 2 * 60_000;
const maxFacts = 256;
const maxDepth = 4;
