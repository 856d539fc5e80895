import type { Role } from "../contract.ts";
import { Refusal } from "../refusal.ts";
import type { Caller, CaServices } from "./services.ts";

/**
 * Who may call what: the only place that says so. `public` is for anyone, `probe` as well and however often: an orchestrator that
 * is told to wait restarts us. `attested` is for anyone who can prove an identity in the body, and an API token is looked at when
 * there is one. Otherwise one of the roles is needed; an `operator in scope` sees and does only what its scope covers, which the
 * use-case holds it to.
 */
export const access = {
  "POST /v1/certificates": "attested",
  "GET /v1/certificates": ["admin", "operator in scope", "auditor"],
  "GET /v1/certificates/{serial}": ["admin", "operator in scope", "auditor"],
  "POST /v1/certificates/{serial}/revoke": ["admin", "operator in scope"],
  "GET /v1/revocations": "public",
  "POST /v1/tokens": ["admin", "operator in scope"],
  "GET /v1/tokens": ["admin", "operator in scope", "auditor"],
  "DELETE /v1/tokens/{id}": ["admin", "operator in scope"],
  "GET /v1/authorities": ["admin", "operator", "auditor"],
  "POST /v1/issuers": ["admin", "operator in scope"],
  "GET /v1/issuers": ["admin", "auditor"],
  "GET /v1/bundle": "public",
  "POST /v1/acknowledgements": "attested",
  // What it tells is public, each event by itself.
  "GET /v1/watch": "public",
  "GET /v1/audit/entries": ["admin", "auditor"],
  // Hashes only: what a witness needs who keeps our checkpoints and holds no token.
  "GET /v1/audit/checkpoint": "public",
  "GET /v1/audit/proof": "public",
  "GET /healthz": "probe",
  "GET /readyz": "probe",
  // No exception for loopback: behind a reverse proxy on the same host everybody comes from there.
  "GET /metrics": ["admin", "auditor"],
  // However often: what is cached costs little, and OCSP bounds its own signatures.
  "GET /crl/{authority}/{list}": "probe",
  "GET /authority/{certificate}": "probe",
  "POST /ocsp": "probe",
  "GET /ocsp/{request}": "probe",
  "GET /openapi.json": "public",
  "GET /docs": "public",
} as const satisfies Readonly<Record<string, Access>>;

export type Access = "public" | "probe" | "attested" | readonly (Role | "operator in scope")[];
export type RouteName = keyof typeof access;

export interface Authenticated {
  readonly caller?: Caller;
  readonly refusal?: Refusal;
}

/**
 * The caller, and why the route's rule is not met if it is not. Nobody on public routes, and on attested ones without
 * a token.
 * @param header  the Authorization header, or null
 * @returns       `refusal` is unauthenticated or forbidden; data, so that the denial can be recorded with its caller
 */
export async function authenticate(
  services: Pick<CaServices, "authenticate">,
  rule: Access,
  header: string | null,
): Promise<Authenticated> {
  if (rule === "public" || rule === "probe" || (rule === "attested" && header === null)) return nobody;
  if (header === null) return { refusal: unauthenticated("This needs an API token, sent as") };
  const token = bearer.exec(header)?.[1];
  if (token === undefined) return { refusal: unauthenticated("The Authorization header is not of the form") };
  const caller = await services.authenticate(token);
  if (caller === undefined)
    return { refusal: unauthenticated("The API token is unknown, deleted or expired; one that is valid is sent as") };
  if (rule !== "attested" && !rule.includes(caller.role) && !(caller.role === "operator" && rule.includes("operator in scope"))) {
    return {
      caller,
      refusal: new Refusal(
        "forbidden",
        `The caller "${caller.name}" has the role ${caller.role}; this needs ${rule.join(" or ")}.`,
      ),
    };
  }
  return { caller };
}

function unauthenticated(reason: string): Refusal {
  return new Refusal(
    "unauthenticated",
    `${reason} "Authorization: Bearer <token>"; an admin makes one with "countersign token create --type api".`,
  );
}

const nobody = {};
/** RFC 6750 2.1, with a bound: our tokens have well below 128 characters. */
const bearer = /^Bearer +([A-Za-z0-9._~+/=-]{1,512})$/i;
