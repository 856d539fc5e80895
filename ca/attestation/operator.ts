import type { Actor } from "../audit/event.ts";
import type { CallerRole } from "../contract/roles.ts";
import { PkiError } from "../pki/errors.ts";
import { parseIpAddress } from "../pki/ip-address.ts";
import { matchesSpiffeIdPattern, parseSpiffeIdPattern, type SpiffeId } from "../pki/spiffe-id.ts";
import { checkPrivilege, type HasRole } from "../privilege.ts";
import { Refusal } from "../refusal.ts";
import type { AttestedIdentity, Claim } from "./identity.ts";
import { parseRequestedId } from "./requested-id.ts";

/** What of an API caller bears on issuing. */
export interface Operator {
  readonly actor: Actor;
  readonly name: string;
  readonly role: CallerRole;
  /** SPIFFE ID patterns. */
  readonly scope: readonly string[];
  /** DNS names it may give, or `*.` and what they end in; an admin may give any. */
  readonly dnsScope?: readonly string[];
}

export interface OperatorDeps {
  readonly hasRole: HasRole;
}

/**
 * An API caller with the role admin or operator vouches for an identity within its scope.
 * @throws {Refusal} unauthenticated | spiffe_id_refused; from `attest`: forbidden
 */
export function claimByOperator({ hasRole }: OperatorDeps, caller: Operator | undefined, asked: AskedNames): Claim {
  if (caller === undefined) {
    throw new Refusal(
      "unauthenticated",
      `The attestation "operator" needs an API token that may issue this ID, sent as "Authorization: Bearer <token>".`,
    );
  }
  const { actor } = caller;
  const { dnsNames = [], ipAddresses = [] } = asked;
  const spiffeId = parseRequestedId(asked.spiffeId);
  return {
    scope: actor,
    actor,
    spiffeId,
    asked: `operator ${spiffeId.uri} ${[...dnsNames, ...ipAddresses].join(" ")}`,
    attest() {
      checkScope(caller, spiffeId, dnsNames);
      const identity: AttestedIdentity = { spiffeId, dnsNames, ipAddresses: readIpAddresses(caller, ipAddresses), method: "operator", actor };
      const privileged = hasRole(spiffeId);
      if (privileged instanceof Promise) return privileged.then((role) => checkPrivilege(role, caller, spiffeId, "vouch for") ?? identity);
      checkPrivilege(privileged, caller, spiffeId, "vouch for");
      return identity;
    },
  };
}

interface AskedNames {
  readonly spiffeId: string;
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
}

/** No scope speaks of addresses, so only an admin gives them; which ones at all, the profile says. */
function readIpAddresses({ name, role }: Operator, ipAddresses: readonly string[]): readonly Uint8Array[] {
  if (ipAddresses.length > 0 && role !== "admin") {
    throw new Refusal("forbidden", `The caller "${name}" has the role ${role} and may not give IP addresses; do without them, or ask an admin.`);
  }
  return ipAddresses.map((text) => {
    try {
      return parseIpAddress(text);
    } catch (cause) {
      if (cause instanceof PkiError) throw new Refusal("ip_address_refused", `An IP address is refused: ${cause.message}.`, { cause });
      throw cause;
    }
  });
}

/**
 * Whether this API caller may vouch for the ID and the DNS names: also asked before it may create a join token for them. An ID
 * within the scope says nothing of DNS names: whoever trusts our root by them, as databases do, would be deceived.
 * @throws {Refusal} forbidden
 */
export function checkScope({ name, role, scope, dnsScope = [] }: Operator, id: SpiffeId, dnsNames: readonly string[] = []): void {
  if (role !== "admin" && role !== "operator") {
    throw new Refusal(
      "forbidden",
      `The caller "${name}" has the role ${role}, which vouches for no identity; ask as one with the role operator.`,
    );
  }
  if (!scope.some((pattern) => matchesSpiffeIdPattern(parseSpiffeIdPattern(pattern), id))) {
    const covers = scope.length === 0 ? "is empty" : `covers ${scope.join(", ")}`;
    throw new Refusal(
      "forbidden",
      `The caller "${name}" may not vouch for ${id.uri}: its scope ${covers}. ` +
        (role === "admin" ? "No CA vouches for more than the workloads of its own trust domain: look at the ID." : "Ask an admin for a token with this ID in its scope."),
    );
  }
  const foreign = dnsNames.find((dnsName) => role !== "admin" && !dnsScope.some((pattern) => matchesDnsPattern(pattern, dnsName)));
  if (foreign !== undefined) {
    const covers = dnsScope.length === 0 ? "has no DNS names" : `covers ${dnsScope.map((pattern) => `dns:${pattern}`).join(", ")}`;
    throw new Refusal(
      "forbidden",
      `The caller "${name}" may not give the DNS name "${foreign}": its scope ${covers}. Do without the name, or ask an admin ` +
        `for a token with dns:${foreign} in its scope.`,
    );
  }
}

/** `*.` stands for one label or more, and only it. */
function matchesDnsPattern(pattern: string, dnsName: string): boolean {
  return pattern.startsWith("*.") ? dnsName.endsWith(pattern.slice(1)) : dnsName === pattern;
}
