import type { Role } from "./contract/roles.ts";
import { isDnsName } from "./issuance/names.ts";
import { PkiError } from "./pki/errors.ts";
import { parseSpiffeIdPattern, parseTrustDomain } from "./pki/spiffe-id.ts";
import { Refusal } from "./refusal.ts";

/** The SPIFFE ID patterns of a scope; its DNS patterns and the trust domains of its issuers without their prefixes. */
export function splitScope(scope: readonly string[]): readonly [ids: readonly string[], dnsPatterns: readonly string[], issuers: readonly string[]] {
  const behind = (prefix: string): string[] => scope.filter((text) => text.startsWith(prefix)).map((text) => text.slice(prefix.length));
  return [scope.filter((text) => !text.startsWith(dnsPrefix) && !text.startsWith(issuerPrefix)), behind(dnsPrefix), behind(issuerPrefix)];
}

/**
 * Checks the scope that comes with a role.
 * @throws {Refusal} invalid_request | dns_name_refused | spiffe_id_refused
 */
export function checkRoleScope(trustDomain: string, role: Role, scope: readonly string[]): readonly string[] {
  if (role !== "operator" && scope.length > 0) {
    throw new Refusal(
      "invalid_request",
      `A scope is for operators; the role ${role} is for the whole trust domain, so a scope would promise what does not hold.`,
    );
  }
  if (scope.length > maxScopePatterns) {
    throw new Refusal(
      "invalid_request",
      `A scope has at most ${maxScopePatterns} patterns.`,
    );
  }
  const [ids, dnsPatterns, issuers] = splitScope(scope);
  for (const pattern of dnsPatterns) {
    if (isDnsName(pattern.startsWith("*.") ? pattern.slice(2) : pattern)) continue;
    throw new Refusal(
      "dns_name_refused",
      `The scope "${dnsPrefix}${pattern}" is refused: after ${dnsPrefix} comes a DNS name in lower case, or *. and what the names end in.`,
    );
  }
  for (const name of issuers) {
    if (isTrustDomain(name) && name !== trustDomain) continue;
    throw new Refusal("spiffe_id_refused", `The scope "${issuerPrefix}${name}" is refused: after ${issuerPrefix} comes another CA's trust domain.`);
  }
  for (const text of ids) {
    try {
      if (parseSpiffeIdPattern(text).trustDomain !== trustDomain) {
        throw new Refusal("spiffe_id_refused", `The scope "${text}" is not of this CA's trust domain, ${trustDomain}.`);
      }
    } catch (cause) {
      if (cause instanceof PkiError) {
        throw new Refusal(
          "spiffe_id_refused",
          `The scope is refused: ${cause.message}.`,
          { cause },
        );
      }
      throw cause;
    }
  }
  return scope;
}

function isTrustDomain(text: string): boolean {
  try {
    return parseTrustDomain(text) === text;
  } catch (error) {
    if (error instanceof PkiError) return false;
    throw error;
  }
}

const dnsPrefix = "dns:";
const issuerPrefix = "issuer:";
const maxScopePatterns = 64;
