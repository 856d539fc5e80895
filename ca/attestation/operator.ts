import type { Role } from "../contract.ts";
import { matchesSpiffeIdPattern, parseSpiffeId, parseSpiffeIdPattern, type SpiffeId } from "../pki/spiffe-id.ts";
import { PkiError } from "../pki/errors.ts";
import { Refusal } from "../refusal.ts";
import type { Claim } from "./identity.ts";

/** What of an API token bears on issuing. */
export interface Operator {
  readonly tokenId: string;
  readonly name: string;
  readonly role: Role;
  readonly scope: readonly string[];
}

/**
 * An API token with the role admin or operator vouches for an identity within its scope.
 * @throws {Refusal} unauthenticated | spiffe_id_refused; from `attest`: forbidden
 */
export function claimByOperator(caller: Operator | undefined, asked: { readonly spiffeId: string; readonly dnsNames?: readonly string[] }): Claim {
  if (caller === undefined) {
    throw new Refusal(
      "unauthenticated",
      `The attestation "operator" needs an API token that may issue this ID, sent as "Authorization: Bearer <token>".`,
    );
  }
  const actor = `token:${caller.tokenId}`;
  const dnsNames = asked.dnsNames ?? [];
  const spiffeId = readSpiffeId(asked.spiffeId);
  return {
    scope: actor,
    actor,
    spiffeId,
    asked: `operator ${spiffeId.uri} ${dnsNames.join(" ")}`,
    attest() {
      checkScope(caller, spiffeId);
      return { spiffeId, dnsNames, method: "operator", actor };
    },
  };
}

/**
 * Whether this API token may vouch for the ID: also asked before it may create a join token for it.
 * @throws {Refusal} forbidden
 */
export function checkScope({ name, role, scope }: Operator, id: SpiffeId): void {
  if (role !== "admin" && role !== "operator") {
    throw new Refusal(
      "forbidden",
      `The API token "${name}" has the role ${role}, which vouches for no identity; use one with the role operator.`,
    );
  }
  if (!scope.some((pattern) => matchesSpiffeIdPattern(parseSpiffeIdPattern(pattern), id))) {
    const covers = scope.length === 0 ? "is empty" : `covers ${scope.join(", ")}`;
    throw new Refusal(
      "forbidden",
      `The API token "${name}" may not vouch for ${id.uri}: its scope ${covers}. Ask an admin for a token with this ID ` +
        "in its scope.",
    );
  }
}

function readSpiffeId(text: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (cause) {
    if (cause instanceof PkiError) {
      throw new Refusal(
        "spiffe_id_refused",
        `The SPIFFE ID is refused: ${cause.message}.`,
        { cause },
      );
    }
    throw cause;
  }
}
