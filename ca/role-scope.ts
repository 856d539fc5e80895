import type { Role } from "./contract/roles.ts";
import { isDnsName } from "./issuance/names.ts";
import { PkiError } from "./pki/errors.ts";
import { isTrustDomain, parseSpiffeIdPattern } from "./pki/spiffe-id.ts";
import { Refusal } from "./refusal.ts";

/** A scope taken apart, without the prefixes of its parts; what is not there is left out, but for the IDs. */
export interface CallerScope {
  /** SPIFFE ID patterns. */
  readonly scope: readonly string[];
  /** DNS names, or `*.` and what they end in. */
  readonly dnsScope?: readonly string[];
  /** Trust domains it may have issuers signed for. */
  readonly issuerScope?: readonly string[];
  /** Those of them whose CA it is: its issuers may give any DNS name, or those of `dnsScope`, and any address. */
  readonly clusterScope?: readonly string[];
  /** Those of them whose issuers have no URI constraint. */
  readonly unconstrainedScope?: readonly string[];
}

/** Takes a scope as it is stored apart, by what each of its texts is about. */
export function splitScope(scope: readonly string[]): CallerScope {
  const behind = (...prefixes: readonly string[]): string[] => (
    prefixes.flatMap((prefix) => scope.filter((text) => text.startsWith(prefix)).map((text) => text.slice(prefix.length)))
  );
  const named = {
    dnsScope: behind(dnsPrefix), issuerScope: behind(...issuerPrefixes), clusterScope: behind(clusterPrefix, unconstrainedPrefix), unconstrainedScope: behind(unconstrainedPrefix),
  };
  return {
    scope: scope.filter((text) => ![dnsPrefix, ...issuerPrefixes].some((prefix) => text.startsWith(prefix))),
    ...Object.fromEntries(Object.entries(named).filter(([, patterns]) => patterns.length > 0)),
  };
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
  const { scope: ids, dnsScope = [], issuerScope = [] } = splitScope(scope);
  for (const pattern of dnsScope) {
    if (isDnsName(pattern.startsWith("*.") ? pattern.slice(2) : pattern)) continue;
    throw new Refusal(
      "dns_name_refused",
      `The scope "${dnsPrefix}${pattern}" is refused: after ${dnsPrefix} comes a DNS name in lower case, or *. and what the names end in.`,
    );
  }
  for (const name of issuerScope) {
    if (isTrustDomain(name) && name !== trustDomain) continue;
    throw new Refusal("spiffe_id_refused", `The scope for issuers of "${name}" is refused: after ${issuerPrefixes.join(" and ")} comes another CA's trust domain.`);
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
          `The scope "${text}" is refused: ${cause.message}.`,
          { cause },
        );
      }
      throw cause;
    }
  }
  return scope;
}

const dnsPrefix = "dns:";
const clusterPrefix = "cluster:";
const unconstrainedPrefix = "cluster-unconstrained:";
const issuerPrefixes = ["issuer:", clusterPrefix, unconstrainedPrefix];
const maxScopePatterns = 64;
