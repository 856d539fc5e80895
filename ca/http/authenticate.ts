import type { CallerRole } from "../contract/roles.ts";
import { parseRequestAuthorization, type SignedRequest } from "../pki/request-authorization.ts";
import { Refusal } from "../refusal.ts";
import type { Caller, CaServices } from "./services.ts";

/** What tells who calls. */
export type Authenticators = Pick<CaServices, "authenticate" | "authenticateSigned" | "authenticatePeer" | "spendSigned"> & { readonly operators: Pick<CaServices["operators"], "noteUse"> };

/**
 * Who may call what: the only place that says so. `public` is for anyone, `feed` as well but counted apart, and who proves an identity
 * is not counted among strangers: what they do must not keep proxies from learning what is revoked. `probe` is for anyone and however often: an orchestrator that is told to wait restarts us. `attested` is for anyone who can prove an identity in the body, and an API token is looked at when
 * there is one. Otherwise one of the roles is needed; an `operator in scope` sees and does only what its scope covers, which the
 * use-case holds it to.
 */
export const access = {
  "POST /v1/certificates": "attested",
  "GET /v1/certificates": ["admin", "operator in scope", "auditor"],
  "GET /v1/workloads": ["admin", "operator in scope", "auditor"],
  "GET /v1/certificates/{serial}": ["admin", "operator in scope", "auditor"],
  "POST /v1/certificates/{serial}/revoke": ["admin", "operator in scope"],
  "GET /v1/revocations": "feed",
  "POST /v1/tokens": ["admin", "operator in scope"],
  "GET /v1/tokens": ["admin", "operator in scope", "auditor"],
  "DELETE /v1/tokens/{id}": ["admin", "operator in scope"],
  "POST /v1/operators": ["admin"],
  "GET /v1/operators": ["admin", "auditor"],
  "DELETE /v1/operators": ["admin"],
  "POST /v1/policies": ["admin", "operator in scope"],
  "GET /v1/policies": ["admin", "operator", "auditor"],
  "DELETE /v1/policies/{name}": ["admin", "operator in scope"],
  "POST /v1/policies/test": ["admin", "operator", "auditor"],
  "GET /v1/services": ["admin", "operator", "auditor"],
  "DELETE /v1/services/{name}": ["admin"],
  // Its own; whoever operates may look at any.
  "GET /v1/policy": ["workload", "admin", "operator", "auditor"],
  "GET /v1/authorities": ["admin", "operator", "auditor"],
  "POST /v1/authorities": ["admin"],
  "POST /v1/authorities/rotate": ["admin"],
  "POST /v1/authorities/{id}/activate": ["admin"],
  "POST /v1/authorities/{id}/taint": ["admin"],
  "POST /v1/authorities/{id}/revoke": ["admin"],
  "POST /v1/authorities/{id}/retire": ["admin"],
  "POST /v1/issuers": ["admin", "operator in scope"],
  "GET /v1/issuers": ["admin", "auditor"],
  // For its own ID; of others those who vouch for them.
  "POST /v1/jwt-svids": ["workload", "admin", "operator", "auditor"],
  // However often: it is answered from memory, for less than a refusal costs.
  "GET /v1/bundle": "probe",
  "GET /v1/federation": ["admin", "operator", "auditor"],
  "POST /v1/federation": ["admin"],
  "GET /v1/federation/{trustDomain}": ["admin", "operator", "auditor"],
  "DELETE /v1/federation/{trustDomain}": ["admin"],
  "POST /v1/federation/{trustDomain}/refresh": ["admin"],
  "POST /v1/federation/invitations": ["admin"],
  "POST /v1/federation/acceptances": ["admin"],
  // The invitation's secret is in the body, as the proof of a peer is.
  "POST /v1/federation/joins": "attested",
  "POST /v1/federation/acknowledgements": "attested",
  "GET /v1/federated-bundles": "feed",
  "GET /v1/bundle-map": "feed",
  "GET /v1/hubs": ["admin", "operator", "auditor"],
  "POST /v1/hubs": ["admin"],
  "DELETE /v1/hubs/{name}": ["admin"],
  // What is in a hub for everybody to read, signed.
  "GET /v1/hub-bundle": "public",
  // Whom this CA believes: for everybody only where it is put for everybody.
  "GET /v1/hub-holdings": ["admin", "operator", "auditor"],
  "POST /v1/acknowledgements": "attested",
  "POST /v1/reports": "attested",
  // Whoever sees requests sees paths.
  "POST /v1/taps": ["admin", "auditor"],
  "GET /v1/proxies": ["admin", "operator in scope", "auditor"],
  "GET /v1/edges": ["admin", "operator in scope", "auditor"],
  "GET /v1/edge-groups": ["admin", "operator in scope", "auditor"],
  // What it tells is public, each event by itself.
  "GET /v1/watch": "feed",
  "GET /v1/audit/entries": ["admin", "auditor"],
  // Hashes only: what a witness needs who keeps our checkpoints and holds no token.
  "GET /v1/audit/checkpoint": "public",
  "GET /v1/audit/proof": "public",
  "POST /v1/sign-ins": ["admin", "operator", "auditor"],
  // The log's own signature is what is looked at.
  "GET /v1/witness": "public",
  "POST /v1/witness/add-checkpoint": "public",
  "GET /v1/witness/checkpoint": "public",
  "POST /v1/clock": ["admin"],
  "GET /v1/vitals": ["admin", "auditor"],
  "GET /healthz": "probe",
  "GET /readyz": "probe",
  // No exception for loopback: behind a reverse proxy on the same host everybody comes from there.
  "GET /metrics": ["admin", "auditor"],
  // However often: what is cached costs little, and what is not has bounds of its own.
  "GET /crl/{authority}/{list}": "probe",
  "GET /authority/{certificate}": "probe",
  "POST /ocsp": "probe",
  "GET /ocsp/{request}": "probe",
  "GET /openapi.json": "public",
  "GET /docs": "public",
} as const satisfies Readonly<Record<string, Access>>;

export type AccessRole = CallerRole | "operator in scope";
export type Access = "public" | "feed" | "probe" | "attested" | readonly AccessRole[];
export type RouteName = keyof typeof access;

export interface Authenticated {
  readonly caller?: Caller;
  readonly refusal?: Refusal | undefined;
  /**
   * For an act signed by an SVID: takes down that it is done, once it is let in.
   * @throws {Refusal} proof_refused | rate_limited
   */
  readonly spend?: () => Promise<void>;
}

/**
 * The caller, and why the route's rule is not met if it is not. Nobody on public routes, and on attested ones without
 * a header.
 * @param header   the Authorization header, or null
 * @param request  reads the request for a header that signs it
 * @returns        `refusal` is data, so that the denial can be recorded with its caller: unauthenticated, forbidden, or for a signed
 *                 request proof_refused, certificate_expired, certificate_revoked
 */
export async function authenticate(
  services: Authenticators,
  rule: Access,
  header: string | null,
  request: () => Promise<SignedRequest>,
): Promise<Authenticated> {
  if (rule === "public" || rule === "probe" || ((rule === "attested" || rule === "feed") && header === null)) return nobody;
  if (header === null) return { refusal: unauthenticated("This needs a caller, known by") };
  if (rule === "feed") return follower(services, header, request);
  const token = bearer.exec(header)?.[1];
  if (token === undefined) return authenticateSigned(services, rule, header, request);
  const caller = await services.authenticate(token);
  if (caller === undefined) return { refusal: unauthenticated("The API token is unknown, deleted or expired; a caller is known by") };
  return { caller, refusal: roleRefusal(rule, caller) };
}

/** The same for a caller that is authenticated already (`vouched.ts`). */
export function admit(rule: Access, caller: Caller): Authenticated {
  if (rule === "public" || rule === "probe") return nobody;
  return { caller, refusal: rule === "feed" ? undefined : roleRefusal(rule, caller) };
}

/** Whoever proves nothing is a stranger there, and not refused: what is revoked is for everybody, also for one whose clock is wrong. */
async function follower(services: Authenticators, header: string, request: () => Promise<SignedRequest>): Promise<Authenticated> {
  const { caller, refusal } = await authenticate(services, anyRole, header, request);
  if (caller !== undefined && refusal === undefined) return { caller };
  const authorization = parseRequestAuthorization(header);
  return authorization === undefined ? nobody : federatedFollower(await services.authenticatePeer(authorization, await request()).catch(noPeer));
}

/** Only here, and with no role: a CA of another trust domain follows, and does nothing else. */
function federatedFollower(spiffeId: string | undefined): Authenticated {
  return spiffeId === undefined ? nobody : { caller: { actor: spiffeId, name: spiffeId, role: "workload", scope: [] } };
}

function noPeer(error: unknown): undefined {
  if (!(error instanceof Refusal)) throw error;
}

async function authenticateSigned(
  services: Omit<Authenticators, "authenticate" | "authenticatePeer">,
  rule: Access,
  header: string,
  request: () => Promise<SignedRequest>,
): Promise<Authenticated> {
  const authorization = parseRequestAuthorization(header);
  if (authorization === undefined) return { refusal: unauthenticated("The Authorization header is not of the form") };
  try {
    const signed = await request();
    const caller = await services.authenticateSigned(authorization, signed);
    const refusal = roleRefusal(rule, caller);
    if (refusal === undefined && caller.spiffeId !== undefined && needsRole(rule)) services.operators.noteUse(caller.spiffeId);
    // Whoever overhears a signed reading learns the answer anyway; an act must not be done twice.
    if (signed.method === "GET" || signed.method === "HEAD") return { caller, refusal };
    const { actor } = caller;
    return { caller, refusal, spend: () => services.spendSigned(authorization, actor) };
  } catch (error) {
    if (error instanceof Refusal) return { refusal: error };
    throw error;
  }
}

function roleRefusal(rule: Access, { name, role }: Caller): Refusal | undefined {
  if (rule === "attested") {
    if (role !== "workload") return undefined;
    return new Refusal("forbidden", "A workload attests in the request's body and signs no header for it.");
  }
  if (typeof rule === "string" || rule.includes(role) || (role === "operator" && rule.includes("operator in scope"))) return undefined;
  return new Refusal("forbidden", `The caller "${name}" has the role ${role}; this needs ${rule.join(" or ")}.`);
}

/** Not what a workload does as well: a proxy that follows the feed uses no role, whatever is bound to its ID. */
function needsRole(rule: Access): boolean {
  return rule === "attested" || (typeof rule !== "string" && !rule.includes("workload"));
}

function unauthenticated(reason: string): Refusal {
  return new Refusal(
    "unauthenticated",
    `${reason} "Authorization: Bearer <token>", from "countersign token create --type api", or by a signature of its SVID's key ` +
      '(countersign --svid-cert, --svid-key).',
  );
}

const anyRole = ["admin", "operator", "auditor", "workload"] as const satisfies Access;
const nobody = {};
/** RFC 6750 2.1, with a bound: our tokens have well below 128 characters. */
const bearer = /^Bearer +([A-Za-z0-9._~+/=-]{1,512})$/i;
