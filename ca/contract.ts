/**
 * The HTTP contract between the CA and everyone who calls it: paths, shapes, problem codes.
 * Types only, so that the proxy can share it without carrying a schema library; `ca/http/schemas.ts` holds the zod
 * schemas and is checked against these types by the compiler.
 */

/** Paths of the REST API, relative to the CA's URL. */
export const paths = {
  certificates: "/v1/certificates",
  revocations: "/v1/revocations",
  tokens: "/v1/tokens",
  operators: "/v1/operators",
  policies: "/v1/policies",
  services: "/v1/services",
  policyTest: "/v1/policies/test",
  policy: "/v1/policy",
  clock: "/v1/clock",
  signIns: "/v1/sign-ins",
  authorities: "/v1/authorities",
  issuers: "/v1/issuers",
  jwtSvids: "/v1/jwt-svids",
  bundle: "/v1/bundle",
  federation: "/v1/federation",
  federationInvitations: "/v1/federation/invitations",
  federationAcceptances: "/v1/federation/acceptances",
  federationJoins: "/v1/federation/joins",
  federationAcknowledgements: "/v1/federation/acknowledgements",
  federatedBundles: "/v1/federated-bundles",
  witness: "/v1/witness",
  witnessAddCheckpoint: "/v1/witness/add-checkpoint",
  witnessCheckpoint: "/v1/witness/checkpoint",
  acknowledgements: "/v1/acknowledgements",
  watch: "/v1/watch",
  reports: "/v1/reports",
  workloads: "/v1/workloads",
  edges: "/v1/edges",
  taps: "/v1/taps",
  proxies: "/v1/proxies",
  vitals: "/v1/vitals",
  auditEntries: "/v1/audit/entries",
  auditCheckpoint: "/v1/audit/checkpoint",
  auditProof: "/v1/audit/proof",
  openapi: "/openapi.json",
  docs: "/docs",
  healthz: "/healthz",
  readyz: "/readyz",
  metrics: "/metrics",
} as const;

export const mediaType = {
  json: "application/json",
  problem: "application/problem+json",
  pem: "application/x-pem-file",
  eventStream: "text/event-stream",
  crl: "application/pkix-crl",
  certificate: "application/pkix-cert",
  ocspRequest: "application/ocsp-request",
  ocspResponse: "application/ocsp-response",
} as const;

/** Who is asking, and the proof of it. */
export type Attestation =
  /** `proof`, a renewal proof by the key of the last certificate this token gave, makes a redeemed token usable again. */
  | { readonly type: "join-token"; readonly token: string; readonly proof?: string }
  /** A JWS over the CSR by the key of a certificate that is still valid (`ca/pki/renewal-proof.ts`). */
  | { readonly type: "svid"; readonly proof: string }
  /** Sent with `Authorization: Bearer`, an API token that may issue this ID. IP addresses are an admin's to give, and the profile's. */
  | { readonly type: "operator"; readonly spiffeId: string; readonly dnsNames?: readonly string[]; readonly ipAddresses?: readonly string[] }
  /** A projected service-account token. `attestor` names one of those that this CA has of the type; needed where there are several. */
  | { readonly type: "kubernetes"; readonly attestor?: string; readonly token: string }
  /** An ID token, for this CA's audience. */
  | { readonly type: "oidc"; readonly attestor?: string; readonly token: string }
  /** A proof for the purpose `attestation` by the key of another PKI's certificate, bound to the CSR. */
  | { readonly type: "x509"; readonly attestor?: string; readonly proof: string }
  /** A signature over a `GetCallerIdentity` request that names this CA and the CSR (`ca/pki/aws-iam-request.ts`). */
  | ({ readonly type: "aws-iam"; readonly attestor?: string } & AwsIamSignature);

export interface AwsIamSignature {
  readonly region: string;
  /** `x-amz-date`. */
  readonly date: string;
  /** AWS Signature Version 4. */
  readonly authorization: string;
  readonly sessionToken?: string;
}

/**
 * How a certificate's holder proved its identity; `system` is the CA's own API certificate, which nobody can ask for, and `issuer` one
 * that an API caller had signed for another CA (`POST /v1/issuers`).
 */
export type AttestationMethod = Attestation["type"] | "acme" | "system" | "issuer";

/** Which bundle of its CA a holder holds. */
export interface HeldBundle {
  /** As the CA told it: a sequence says nothing to a CA that was restored from a backup since. */
  readonly feedEpoch: string;
  /** Decimal, 64 bits. */
  readonly bundleSequence: string;
}

/** `POST /v1/acknowledgements`: what the holder of a certificate has made its own. No anchor is activated before all hold it. */
export interface AcknowledgeRequest extends HeldBundle {
  /** A proof for the purpose `acknowledgement` by the certificate's key, bound to `acknowledgedText`. */
  readonly proof: string;
}

/** What an acknowledgement's proof is bound to. */
export function acknowledgedText({ feedEpoch, bundleSequence }: HeldBundle): string {
  return JSON.stringify([feedEpoch, bundleSequence]);
}

export interface IssueRequest extends Partial<HeldBundle> {
  /** PKCS#10, PEM or base64 DER. Only its key is used; the names come from the attestation. */
  readonly csr: string;
  readonly attestation: Attestation;
  /** Asked-for lifetime in seconds; default and ceiling are the profile's. */
  readonly lifetimeSeconds?: number;
}

export interface IssuedCertificate {
  /** Lower-case hex. */
  readonly serialNumber: string;
  readonly spiffeId: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** PEM: the certificate, then its issuer; the root is in the bundle, not here. */
  readonly chain: string;
  /** SPIFFE bundles (JWK Sets) by trust domain name. */
  readonly bundles: Readonly<Record<string, unknown>>;
  /** Sequence of the own trust domain's bundle; a decimal string, 64 bits. */
  readonly bundleSequence: string;
  readonly feedEpoch: string;
  /** Index of this issuance in the audit log. */
  readonly logIndex: number;
}

/** `POST /v1/jwt-svids`: a token that says who its bearer is. */
export interface IssueJwtSvidRequest {
  /** Who is to believe it. */
  readonly audience: readonly string[];
  /** Default: the caller's own, which a workload may leave out and nobody else has. */
  readonly spiffeId?: string | undefined;
  /** Default and ceiling are settings of the CA. */
  readonly lifetimeSeconds?: number | undefined;
}

export interface IssuedJwtSvid {
  /** JWS in compact form: a secret until it expires. */
  readonly token: string;
  readonly spiffeId: string;
  readonly audience: readonly string[];
  readonly issuedAt: string;
  readonly expiresAt: string;
  /** `kid`. */
  readonly keyId: string;
  /** Index of this issuance in the audit log. */
  readonly logIndex: number;
}

/** Software that an issuer can be signed for; each wants its certificate a little different. */
export const issuerProfiles = ["countersign", "linkerd", "istio", "cert-manager"] as const;
export type IssuerProfile = (typeof issuerProfiles)[number];

/** `POST /v1/issuers`: a subordinate issuer for another CA, with path length 0. */
export interface IssueIssuerRequest {
  /** PKCS#10, PEM or base64 DER. Only its key is used. */
  readonly csr: string;
  readonly profile: IssuerProfile;
  /** The trust domain the other CA issues for; never this CA's own. */
  readonly trustDomain: string;
  /** Default 48 h; the ceiling is the CA's `foreignIssuerLifetimeMax`. */
  readonly lifetimeSeconds?: number;
  /** Whether it may issue URI names (SPIFFE IDs) of its trust domain only. Default: for `countersign` yes, otherwise no. */
  readonly uriConstraint?: boolean;
  /** Domains it may issue DNS names below. Default: `identity.linkerd.<trust domain>` for `linkerd`, otherwise any. */
  readonly dnsDomains?: readonly string[];
}

export interface IssuedIssuer {
  /** Lower-case hex. */
  readonly serialNumber: string;
  readonly trustDomain: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** PEM: the issuer, then what signed it unless that is a root. */
  readonly chain: string;
  /** PEM: the roots it chains to. */
  readonly anchors: string;
  readonly logIndex: number;
}

export interface IssuerSummary {
  readonly serialNumber: string;
  readonly trustDomain: string;
  readonly subject: string;
  readonly keyAlgorithm: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** Which root or intermediate signed it. */
  readonly authorityId: string;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  readonly status: CertificateStatus;
  readonly revokedAt?: string;
  readonly revocationReason?: RevocationReason;
  readonly logIndex: number;
}

/** `GET /v1/issuers`, newest first. */
export interface IssuerPage {
  readonly issuers: readonly IssuerSummary[];
  /** Opaque: the `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string;
}

export type CertificateStatus = "valid" | "expired" | "revoked";

export interface CertificateSummary {
  readonly serialNumber: string;
  readonly spiffeId: string;
  readonly dnsNames: readonly string[];
  readonly notBefore: string;
  readonly notAfter: string;
  readonly authorityId: string;
  readonly attestation: AttestationMethod;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
  readonly status: CertificateStatus;
  readonly revokedAt?: string;
  readonly revocationReason?: RevocationReason;
  readonly logIndex: number;
}

/** One certificate in full; with `Accept: application/x-pem-file` the answer is `chain` alone. */
export type CertificateDetail = CertificateSummary & {
  /** PEM: the certificate, then its issuer. */
  readonly chain: string;
};

/** `GET /v1/certificates`, newest first. */
export interface CertificatePage {
  readonly certificates: readonly CertificateSummary[];
  /** Opaque: the `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string;
}

/** `GET /v1/workloads`, by ID: who holds a certificate that lives and was neither renewed nor revoked. */
export interface WorkloadList {
  readonly workloads: readonly AuthorityHolder[];
  /** On all pages. */
  readonly total: number;
  /** There are more than are listed. */
  readonly truncated: boolean;
  /** Opaque: the `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string | undefined;
}

export interface RevokeRequest {
  readonly reason: RevocationReason;
}

/** RFC 5280 5.3.1, less the ones that make no sense for a short-lived end entity (7 is unused, 6 and 8 are for holds). */
export const revocationReasons = [
  "unspecified",
  "keyCompromise",
  "cACompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "privilegeWithdrawn",
  "aACompromise",
] as const;
export type RevocationReason = (typeof revocationReasons)[number];

export interface Revocation {
  /** Rises strictly; ask again with `?after=` the highest one you hold. */
  readonly sequence: number;
  readonly serialNumber: string;
  readonly reason: RevocationReason;
  readonly revokedAt: string;
  /** When the certificate would have expired; from then on the entry may be forgotten. */
  readonly notAfter: string;
}

/** What the watch event `revocation` carries: as many as fit, ascending. */
export interface RevocationBatch {
  readonly revocations: readonly Revocation[];
  /** The `after` of the next request; below the one asked for when the CA was restored from a backup: then begin again at 0. */
  readonly sequence: number;
  /** True when more entries wait behind `sequence`: ask again at once. */
  readonly more: boolean;
}

/** `GET /v1/revocations`: for whoever cannot follow `GET /v1/watch`, which says the rest by events of their own. */
export interface RevocationPage extends RevocationBatch {
  readonly feedEpoch: string;
  readonly renew: readonly RenewNotice[];
}

/**
 * What `GET /v1/watch` tells, a server-sent event each. `epoch` comes first and names the feed: where it is not the one that a
 * reader held so far, the CA was restored from a backup, and all that follows is to be read as if for the first time, older bundle
 * included. A reader ignores events that it does not know.
 */
export type WatchEvent =
  | { readonly event: "epoch"; readonly data: { readonly feedEpoch: string } }
  /** The own trust domain's bundle, a SPIFFE JWK Set. */
  | { readonly event: "bundle"; readonly data: unknown }
  | { readonly event: "revocation"; readonly data: RevocationBatch }
  | { readonly event: "renew"; readonly data: RenewNotice }
  | { readonly event: "policy"; readonly data: PolicyNotice }
  | { readonly event: "tap"; readonly data: TapNotice }
  | { readonly event: "federation"; readonly data: FederationNotice };
export type WatchEventName = WatchEvent["event"];

/**
 * The watch event `federation`: every trust domain that is federated with now, and the bundles of those that changed. What is not
 * named is no longer trusted; what is named and not in `bundles` is as it was.
 */
export interface FederationNotice {
  /** Rises with each change; what has a lower one than was read before is old. */
  readonly sequence: number;
  readonly trustDomains: readonly string[];
  /** SPIFFE bundles (JWK Sets) by trust domain, never pooled. */
  readonly bundles: Readonly<Record<string, unknown>>;
}

/** Some policy or service changed: the watch event `policy`. Whom it concerns learns it by `GET /v1/policy?sequence=`. */
export interface PolicyNotice {
  readonly sequence: number;
}

/**
 * Whoever holds a certificate with this authority in its chain gets a new one within the window, at an instant of its own choosing:
 * the authority's key may be known to others, and it will be revoked. Sent as the watch event `renew`, and by polled answers.
 */
export interface RenewNotice {
  /** Lower-case hex of the authority's subject key identifier. */
  readonly authorityId: string;
  readonly windowSeconds: number;
}

export const roles = ["admin", "operator", "auditor"] as const;
/** admin: everything. operator: issue, revoke, make join tokens and read, all within its scope. auditor: read everything. */
export type Role = (typeof roles)[number];

export type CreateTokenRequest =
  | {
      readonly type: "join";
      readonly spiffeId: string;
      readonly dnsNames?: readonly string[];
      /** How long the token may wait for its redemption; default 3600. */
      readonly expiresInSeconds?: number;
    }
  | {
      readonly type: "api";
      readonly name: string;
      readonly role: Role;
      /**
       * Operators only: SPIFFE IDs, or prefixes ending in `/*`, that it answers for; and the DNS names they may
       * carry: `dns:cart.shop.svc`, or `dns:*.shop.svc` for all below. Without these an operator gives no DNS names.
       */
      readonly scope?: readonly string[];
      readonly expiresInSeconds?: number;
    };

export const policyActions = ["allow", "deny", "audit"] as const;
export type PolicyAction = (typeof policyActions)[number];

/** Requests that a rule is about: those that fit each member that is there. */
export interface PolicyRule {
  /** For explanations; default its number in the policy, from 1. */
  readonly name?: string;
  /** deny goes before allow; audit decides nothing and has the request logged. */
  readonly action: PolicyAction;
  /**
   * Patterns of the clients' SPIFFE IDs: a star stands for one whole segment, as the last one for one or more. To deny or audit also
   * `*`: everybody, with an identity or without.
   */
  readonly from: readonly string[];
  /** Of the server's app. */
  readonly ports?: readonly number[];
  /** HTTP methods, upper case. */
  readonly methods?: readonly string[];
  /** Path patterns, decoded, without query: a star stands for one whole segment, as the last one for one or more; `/*` is every path. */
  readonly paths?: readonly string[];
  /** gRPC methods, `package.Service/Method` or `package.Service/*`; not together with methods or paths. */
  readonly grpc?: readonly string[];
}

/** Who may call the workloads it selects. If anything selects a workload, what no rule allows is denied. */
export interface Policy {
  readonly name: string;
  readonly description?: string;
  /** Patterns of the servers' SPIFFE IDs. */
  readonly workloads: readonly string[];
  readonly rules: readonly PolicyRule[];
}

/** Which identity must answer to a name. */
export interface Service {
  /** Host name as apps use it, lower case. */
  readonly name: string;
  /** Absent: on any port. */
  readonly port?: number;
  readonly spiffeId: string;
  /** Where it is, when DNS does not say. */
  readonly addresses?: readonly ServiceAddress[];
}

export interface ServiceAddress {
  /** IP address or DNS name. */
  readonly host: string;
  /** Of the server's proxy. */
  readonly port: number;
  /** Share of the connections, 1 to 1000; default 1. */
  readonly weight?: number;
}

/** `GET /v1/policy`: all that concerns one workload's proxy. It is taken whole or not at all. */
export interface PolicySet {
  /** Rises with each change of any policy or service. */
  readonly sequence: number;
  /** SPIFFE ID it was made for. */
  readonly workload: string;
  /** Those that select the workload. */
  readonly policies: readonly Policy[];
  readonly services: readonly Service[];
}

/** `POST /v1/policies`: all of it or none; what is not named stays. */
export interface ApplyRequest {
  readonly policies?: readonly Policy[];
  readonly services?: readonly Service[];
}

export interface ApplyResult {
  readonly sequence: number;
  /** `policy cart`, `service world`, as they changed; empty when all was so already. */
  readonly changed: readonly string[];
}

export interface Changed {
  readonly sequence: number;
  readonly changedAt: string;
  readonly changedBy: string;
}

/** `GET /v1/policies` and `GET /v1/services`, by name. */
export interface PolicyList {
  readonly sequence: number;
  readonly policies: readonly (Policy & { readonly changed: Changed })[];
}
export interface ServiceList {
  readonly sequence: number;
  readonly services: readonly (Service & { readonly changed: Changed })[];
}

/** `POST /v1/policies/test`: would this be let in, and by which rule? Without method and path it is a connection that is not HTTP. */
export interface PolicyTest {
  /** SPIFFE ID of the client. */
  readonly from: string;
  /** SPIFFE ID of the server. */
  readonly to: string;
  /** Of the server's app; needed where a rule is about ports. */
  readonly port?: number;
  readonly method?: string;
  readonly path?: string;
}

export interface PolicyTestResult extends PolicyDecision {
  readonly sequence: number;
  /** Policies that select the server. */
  readonly policies: readonly string[];
}

export interface PolicyDecision {
  readonly action: "allow" | "deny";
  /** `policy/rule` that decided; absent when none did. */
  readonly rule?: string;
  readonly reason: PolicyReason;
  /** Rules with the action audit that the request fits. */
  readonly audit: readonly string[];
}

/**
 * rule_allowed, rule_denied: by `rule`. path_ambiguous: denied by `rule`, which is about paths, because servers read this path
 * differently. not_http: denied by `rule`, which is about HTTP requests, because the connection is none that could be looked into.
 * no_rule_allows: something selects the workload. mesh_default: nothing does, and the client is of its trust domain; foreign: is not.
 * unauthenticated: the client has no identity.
 */
export type PolicyReason =
  | "rule_allowed" | "rule_denied" | "path_ambiguous" | "not_http" | "no_rule_allows" | "mesh_default" | "foreign" | "unauthenticated";

/** A caller's role; a workload has proved who it is, and is nobody's operator. */
export type CallerRole = Role | "workload";

/** `POST /v1/sign-ins`: the way into the dashboard for the caller, once and soon. */
export interface SignInLink {
  /** Of the page, below the CA's URL; a secret. */
  readonly path: string;
  readonly expiresAt: string;
}

/** `POST /v1/clock`. */
export interface ConfirmClockRequest {
  /** RFC 3339, UTC: by a clock that is not the CA's. */
  readonly time: string;
}

/** Its answer. */
export interface ClockConfirmation {
  /** The CA's. */
  readonly time: string;
  /** What was wrong with it until now. */
  readonly doubt?: string;
}

/** `POST /v1/operators`: whoever has a certificate for the ID, or one below the prefix, calls the API with this role. */
export interface CreateOperatorRequest {
  /** A SPIFFE ID, or a prefix ending in `/*`. */
  readonly spiffeId: string;
  readonly role: Role;
  /** As an API token's. */
  readonly scope?: readonly string[];
}

export interface OperatorSummary extends CreateOperatorRequest {
  readonly createdAt: string;
  readonly createdBy: string;
}

/** `GET /v1/operators`, by ID. */
export interface OperatorList {
  readonly operators: readonly OperatorSummary[];
}

export interface TokenSummary {
  readonly id: string;
  readonly type: "join" | "api";
  readonly createdAt: string;
  readonly createdBy: string;
  readonly expiresAt?: string;
  readonly spiffeId?: string;
  readonly dnsNames?: readonly string[];
  readonly redeemedAt?: string;
  readonly name?: string;
  readonly role?: Role;
  readonly scope?: readonly string[];
  /** API tokens, to the minute; absent when it was never used. */
  readonly lastUsedAt?: string;
}

/** `GET /v1/tokens`, newest first. */
export interface TokenPage {
  readonly tokens: readonly TokenSummary[];
  /** Opaque: the `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string;
}

/** The only answer that carries the secret; it is stored hashed. */
export type CreatedToken = TokenSummary & {
  readonly token: string;
  /** Join tokens: the one string `countersign-proxy` needs (`ca/pki/bootstrap.ts`). */
  readonly bootstrap?: string;
};

/** `jwt`: a key that signs JWT-SVIDs; its certificate is its own word and only carries key and dates. */
export const authorityTypes = ["root", "intermediate", "issuer", "jwt"] as const;
export type AuthorityType = (typeof authorityTypes)[number];

export const authorityStates = ["prepared", "active", "retiring", "retired", "tainted", "revoked"] as const;
/**
 * `prepared`: known (a root or JWT key: published), and signs nothing yet. `active`: signs. `retiring`: was replaced, what it signed is still
 * good. `retired`: nothing below it lives. `tainted`: its key may be known to others, what it signed is to be replaced at once.
 * `revoked`: what it signed is refused.
 */
export type AuthorityState = (typeof authorityStates)[number];

export interface AuthoritySummary {
  readonly id: string;
  readonly type: AuthorityType;
  readonly state: AuthorityState;
  readonly subject: string;
  readonly keyAlgorithm: string;
  readonly fingerprint: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly certificate: string;
  /** Where its private key is. */
  readonly key: "sealed" | "kms" | "pkcs11" | "offline";
  /** Whose key signed it; absent for a root. */
  readonly parentId?: string;
  /** Root or JWT key: sequence of the bundle that first had it. */
  readonly publishedSequence?: string;
  /** Prepared: takes over from then on, as soon as every holder has it; absent: when the settings say. */
  readonly activateAt?: string;
  /** When the last certificate or token that it signed for a workload ends. */
  readonly lastCertificateNotAfter?: string;
  /** Prepared root or JWT key: who does not trust it yet. */
  readonly waitsFor?: { readonly count: number; readonly holders: readonly AuthorityHolder[] };
}

/** Somebody that a step of an authority depends on, by its newest certificate. */
export interface AuthorityHolder {
  readonly spiffeId: string;
  /** Or `federatedCa`. */
  readonly serialNumber: string;
  /** Of the bundle it has; "0" for none. */
  readonly acknowledgedSequence: string;
  readonly notAfter: string;
}

/** A holder's serial number where it is no certificate of this CA, but the CA of another trust domain that holds our bundle. */
export const federatedCa = "federated CA";

/** An operator's step. `prepare` makes a root, `rotate` an issuer at once or a root or JWT key that takes over as soon as every holder has it. */
export type AuthorityCommand =
  | { readonly action: "prepare" }
  | { readonly action: "rotate"; readonly type: RotateAuthorityRequest["type"] }
  | { readonly action: "activate" | "taint" | "revoke" | "retire"; readonly id: string; readonly force?: boolean | undefined };

/** `POST /v1/authorities`: make a root and publish it. */
export interface PrepareAuthorityRequest {
  readonly type: "root";
}

/** `POST /v1/authorities/rotate`: an issuer is replaced at once, a root or JWT key as soon as every holder trusts the next one. */
export interface RotateAuthorityRequest {
  readonly type: "root" | "issuer" | "jwt";
}

/** `POST /v1/authorities/{id}/activate`, `taint`, `revoke` and `retire`. */
export interface AuthorityStepRequest {
  /** Also where holders are cut off by it; recorded as forced. */
  readonly force?: boolean;
}

export interface AuthorityAnswer {
  /** As they are now. */
  readonly authorities: readonly AuthoritySummary[];
  /** How many holders a forced step cut off, up to 1000. */
  readonly holdersAffected: number;
  /** The first ten of them. */
  readonly holders: readonly AuthorityHolder[];
}

export interface AuthorityList {
  readonly authorities: readonly AuthoritySummary[];
}

export interface AuditEntry {
  readonly index: number;
  /** The exact bytes that were hashed, as text: JSON (`ca/audit/event.ts`). */
  readonly body: string;
  /** RFC 6962 leaf hash, base64. */
  readonly leafHash: string;
}

/** `GET /v1/audit/entries?start=&limit=`, ascending; fewer than `limit` entries means the end of the log. */
export interface AuditEntryPage {
  readonly entries: readonly AuditEntry[];
}

/** `GET /v1/audit/proof?index=&size=`: entry `index` is in the tree of `size` entries (RFC 6962 2.1.1). */
export interface InclusionProof {
  readonly index: number;
  readonly size: number;
  /** Base64, from the leaf's sibling up. */
  readonly hashes: readonly string[];
}

/** `GET /v1/audit/proof?oldSize=&size=`: the tree of `oldSize` entries is a prefix of that of `size` (RFC 6962 2.1.2). */
export interface ConsistencyProof {
  readonly oldSize: number;
  readonly size: number;
  /** Base64. */
  readonly hashes: readonly string[];
}

/** `GET /readyz`; the status is 503 when `ready` is false. */
export interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  /** What works now and will not for ever, e.g. a root's key that does not answer. */
  readonly warnings?: readonly string[];
}

/** `GET /v1/vitals`: what one replica knows of its own health, and of the store that all of them share. */
export interface Vitals {
  /** By the clock that certificates are dated with. */
  readonly time: string;
  readonly trustDomain: string;
  readonly version: string;
  /** True when others than this machine reach the API. */
  readonly listensBeyondLoopback: boolean;
  /** What bootstrap strings carry. */
  readonly publicUrl: string;
  readonly store: StoreVitals & { readonly answeredInMs: number };
  /** Of the authorities that sign, or will. */
  readonly keys: readonly KeyVitals[];
  /** The newest CRL of each list. */
  readonly crls: readonly CrlVitals[];
  /** `witnessedSize`: of the checkpoint kept beside the database. */
  readonly log: { readonly size: number; readonly witnessedSize?: number };
}

export interface StoreVitals {
  readonly kind: "sqlite" | "postgres";
  /** Migrations: those the database has had, and those that this version knows. */
  readonly schema: { readonly applied: number; readonly known: number };
  /** Whether what was committed survives a power cut, as far as the database's settings say. */
  readonly durable: boolean;
  /** Of the file system with the database, where it is on this machine. */
  readonly disk?: { readonly freeBytes: number; readonly totalBytes: number };
  /** Streaming replicas of the database, and how far the last one is behind. */
  readonly standbys?: { readonly count: number; readonly lagSeconds: number };
  /** The database's clock less this machine's. */
  readonly clockOffsetMs?: number;
}

export interface KeyVitals {
  readonly authorityId: string;
  readonly location: AuthoritySummary["key"];
  /** What is wrong: it does not answer, or is not the key of the certificate. */
  readonly trouble?: string;
}

export interface CrlVitals {
  readonly authorityId: string;
  readonly list: string;
  readonly number: number;
  readonly thisUpdate: string;
  readonly nextUpdate: string;
}

/** A proxy as it reported itself within the last minutes, by the certificate whose key signed the report. */
export interface ProxySummary {
  readonly spiffeId: string;
  readonly serialNumber: string;
  readonly authorityId: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** By its clock, and by the CA's. */
  readonly reportedAt: string;
  readonly receivedAt: string;
  readonly version?: string;
  /** Of the newest revocation that it enforces. */
  readonly revocationSequence?: number;
}

/** `GET /v1/proxies` */
export interface ProxyList {
  readonly proxies: readonly ProxySummary[];
  /** Not all of them fit. */
  readonly truncated: boolean;
}

/** Stable code of every refusal, with its HTTP status. `ca/http/problem.ts` is the one place that turns one into the other. */
export const problemStatus = {
  invalid_request: 400,
  body_too_large: 413,
  headers_too_large: 431,
  media_type_unsupported: 415,
  csr_refused: 400,
  attestation_refused: 403,
  attestation_required: 403,
  attestor_unavailable: 503,
  token_unknown: 403,
  token_expired: 403,
  token_already_redeemed: 403,
  proof_refused: 403,
  certificate_expired: 403,
  certificate_revoked: 403,
  unauthenticated: 401,
  forbidden: 403,
  rate_limited: 429,
  operator_exists: 409,
  policy_refused: 400,
  changed_meanwhile: 409,
  spiffe_id_refused: 400,
  dns_name_refused: 400,
  ip_address_refused: 400,
  lifetime_refused: 400,
  issuer_refused: 409,
  key_reused: 409,
  idempotency_key_reused: 422,
  not_found: 404,
  method_not_allowed: 405,
  already_revoked: 409,
  certificate_not_revocable: 409,
  bundle_unknown: 409,
  federation_refused: 400,
  federation_exists: 409,
  federation_failed: 502,
  invitation_refused: 403,
  lint_failed: 500,
  authority_held_back: 409,
  authority_state: 409,
  issuer_unavailable: 503,
  clock_uncertain: 503,
  sealing_key_unavailable: 503,
  watchers_full: 503,
  store_busy: 503,
  store_unavailable: 503,
  request_timeout: 408,
  internal: 500,
} as const;
export type ProblemCode = keyof typeof problemStatus;

/** RFC 9457 problem document. */
export interface Problem {
  /** `urn:countersign:problem:` and the code. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** What happened, to what, why, and what to do next. */
  readonly detail: string;
  readonly code: ProblemCode;
}

/** On every answer: names the request in the CA's log. */
export const requestIdHeader = "x-request-id";

/** On the answer of `GET /v1/bundle`, whose body is not ours to add to. */
export const feedEpochHeader = "countersign-feed-epoch";

/** Idempotency-Key request header: 1 to 255 printable ASCII characters, kept 24 h per caller. */
export const idempotencyKeyHeader = "idempotency-key";

/** Who talks to whom, as one of the two proxies sees it. */
export interface SeenEdge {
  readonly direction: "inbound" | "outbound";
  /** SPIFFE ID; empty where nobody proved one. */
  readonly clientId: string;
  /** SPIFFE ID; empty where nobody was named. */
  readonly serverId: string;
  /** Absent until the first bytes have been looked at. */
  readonly protocol?: string;
  /** True: mutual TLS, both sides verified. */
  readonly secured: boolean;
  /** Why not; a word. */
  readonly reason?: string;
  /** Open now; 0: the last one has ended lately. */
  readonly connections: number;
}

/** One request that passed a proxy; nothing of a body, a header or a query. */
export interface TapRecord {
  readonly startedAt: string;
  readonly direction: "inbound" | "outbound";
  readonly clientId: string;
  readonly serverId: string;
  readonly tls: boolean;
  /** Why not; a word. */
  readonly noTlsReason?: string;
  readonly protocol: string;
  readonly method: string;
  readonly path: string;
  /** 0: it was broken off before there was a response. */
  readonly status: number;
  readonly latencyMs: number;
  /** False: it was broken off. */
  readonly whole: boolean;
}

/** What a proxy reports of the connections and requests of its own workload. */
export type Report =
  /** Stands in place of the one before it. `leftOut`: edges that did not fit. */
  | {
      readonly type: "edges";
      readonly reportedAt: string;
      readonly edges: readonly SeenEdge[];
      readonly leftOut?: number;
      /** Of the proxy's program. */
      readonly version?: string;
      /** Of the newest revocation that it enforces. */
      readonly revocationSequence?: number;
    }
  /** What a tap brought since the last report, and how much of it did not fit. */
  | { readonly type: "tap"; readonly reportedAt: string; readonly tap: string; readonly records: readonly TapRecord[]; readonly leftOut?: number };

/** `POST /v1/reports` */
export interface ReportRequest {
  /** JSON of a `Report`: as text, since a signature is over text. */
  readonly report: string;
  /** A proof for the purpose `report` by the certificate's key, bound to the bytes of `report`. */
  readonly proof: string;
}

/** Who talked to whom within the last minutes, put together from what both sides reported. */
export interface EdgeSummary {
  readonly clientId: string;
  readonly serverId: string;
  /** True only where each side that reported says so. */
  readonly secured: boolean;
  readonly reason?: string;
  readonly protocols: readonly string[];
  readonly connections: number;
  readonly seenBy: readonly ("client" | "server")[];
  readonly lastSeen: string;
}

/** `GET /v1/edges` */
export interface EdgeList {
  readonly edges: readonly EdgeSummary[];
  /** How many proxies reported within the last minutes. */
  readonly proxies: number;
  /** Not all of them fit. */
  readonly truncated: boolean;
}

/** A tapped request as one line for people. */
export function tapLine({ startedAt, direction, clientId, serverId, tls, noTlsReason, method, path, status, latencyMs, whole }: TapRecord): string {
  const name = (id: string): string => (id === "" ? "-" : id.replace("spiffe://", ""));
  const outcome = status === 0 ? "-" : `${status}${whole ? "" : " (broken off)"}`;
  const secured = tls ? "tls=true" : `tls=false (${(noTlsReason ?? "unknown").replaceAll("_", " ")})`;
  return `${startedAt.slice(11, 23)} ${direction === "inbound" ? "in " : "out"} ${method} ${path} ${outcome} ${latencyMs.toFixed(1)}ms ${name(clientId)} > ${name(serverId)} ${secured}`;
}

/** Which requests are wanted; what is left out is no condition. */
export interface TapFilter {
  readonly direction?: "inbound" | "outbound";
  /** Upper case. */
  readonly method?: string;
  /** What the path begins with. */
  readonly path?: string;
}

/** `POST /v1/taps`: show an operator live requests of one workload. The answer is a stream of `TapEvent`. */
export interface TapRequest extends TapFilter {
  readonly workload: string;
  /** Default 60. */
  readonly seconds?: number;
  /** Records; default 1000. */
  readonly limit?: number;
}

/** A server-sent event each: that it is open, what it brought, that it is over. */
export type TapEvent =
  | { readonly event: "tap"; readonly data: { readonly tap: string; readonly seconds: number; readonly limit: number } }
  | { readonly event: "records"; readonly data: { readonly records: readonly TapRecord[]; readonly leftOut: number } }
  | { readonly event: "end"; readonly data: { readonly reason: "time" | "limit" | "closing" | "failed" } };

/** The watch event `tap`: whom it concerns reports its requests until it is over or the CA no longer takes them. */
export interface TapNotice extends TapFilter {
  readonly tap: string;
  /** Names the workload to itself alone: `tapTarget`. */
  readonly target: string;
  /** From now on. */
  readonly seconds: number;
  readonly limit: number;
}

/** What the target of a tap is a hash of, SHA-256 in hex: the feed is public, and who is looked at is not. */
export function tapTarget(tap: string, workload: string): string {
  return `${tap} ${workload}`;
}

/** How a bundle endpoint proves itself: by a certificate of the Web PKI for its host name, or by its X509-SVID. */
export const federationProfiles = ["https_web", "https_spiffe"] as const;
export type FederationProfile = (typeof federationProfiles)[number];

/** `POST /v1/federation`: trust the workloads of another trust domain, by the bundle that its endpoint publishes. */
export interface AddFederationRequest {
  readonly trustDomain: string;
  readonly profile: FederationProfile;
  /** `https`, without user and fragment. */
  readonly endpointUrl: string;
  /** `https_spiffe`: the SPIFFE ID of the endpoint; of this trust domain, or of another one that is federated with. */
  readonly endpointSpiffeId?: string | undefined;
  /** Its bundle, a SPIFFE JWK Set or PEM; `https_spiffe` needs it where the endpoint's ID is of this trust domain. */
  readonly bundle?: string | undefined;
}

export interface FederationSummary {
  readonly trustDomain: string;
  readonly profile: FederationProfile;
  readonly endpointUrl: string;
  readonly endpointSpiffeId?: string;
  /** URL of its API, for a Countersign CA that was invited or invited us: it acknowledges our bundle, and we acknowledge its. */
  readonly apiUrl?: string;
  readonly addedAt: string;
  readonly addedBy: string;
  /** The last good one; absent: there was none yet, and nobody of this trust domain is believed. */
  readonly bundle?: ForeignBundleSummary;
  /** Absent: nobody has looked for it yet. */
  readonly refresh?: FederationRefresh;
  /** Which bundle of ours its CA has. */
  readonly acknowledged?: { readonly bundleSequence: string; readonly at: string };
  /** C2SP verifier keys of its CA's audit log, and of its CA as a witness of ours. */
  readonly logKey?: string;
  readonly witnessKey?: string;
  /** How far its CA has cosigned our audit log. */
  readonly cosigned?: FederationCosigned;
}

export interface FederationCosigned {
  /** Entries. */
  readonly size: number;
  readonly at?: string;
  /** Why it did not, the last time. */
  readonly error?: string;
  /** It says that our log is not the one it cosigned before. */
  readonly contradicts?: boolean;
}

/** `GET /v1/witness`: C2SP verifier keys. */
export interface WitnessKeys {
  /** Of this CA's audit log. */
  readonly logKey: string;
  /** Of this CA as a witness of others' logs. */
  readonly witnessKey: string;
}

export interface ForeignBundleSummary {
  /** Decimal, 64 bits. */
  readonly sequence?: string;
  readonly authorities: readonly { readonly fingerprint: string; readonly notAfter: string }[];
  readonly jwtKeys: number;
  readonly refreshHintSeconds?: number;
  readonly changedAt: string;
}

/** How the last look for a bundle went. */
export interface FederationRefresh {
  readonly attemptedAt: string;
  readonly succeededAt?: string;
  /** In a row. */
  readonly failures: number;
  /** Why the last one failed. */
  readonly error?: string;
  /** How long after an attempt the next one comes. */
  readonly intervalSeconds: number;
}

/** `GET /v1/federation`, by trust domain. */
export interface FederationList {
  readonly federation: readonly FederationSummary[];
}

/** `POST /v1/federation/invitations` */
export interface InviteFederationRequest {
  /** How long it may wait; default 3600. */
  readonly expiresInSeconds?: number | undefined;
}

export interface FederationInvitation {
  /** The one string that the other CA needs; a secret. */
  readonly invitation: string;
  readonly trustDomain: string;
  /** Of the root in it: to be compared with what the other side shows. */
  readonly rootFingerprint: string;
  readonly expiresAt: string;
}

/** `POST /v1/federation/acceptances`: federate both ways with the CA that made the invitation. */
export interface AcceptFederationRequest {
  readonly invitation: string;
}

/** Both directions stand. */
export interface FederationAcceptance {
  readonly federation: FederationSummary;
  readonly own: { readonly trustDomain: string; readonly rootFingerprints: readonly string[] };
  readonly peer: { readonly trustDomain: string; readonly rootFingerprints: readonly string[] };
}

/** `POST /v1/federation/joins`: from the CA that accepts an invitation to the one that made it. */
export interface JoinFederationRequest {
  readonly invitation: string;
  readonly secret: string;
  readonly trustDomain: string;
  readonly apiUrl: string;
  /** SPIFFE bundle, JWK Set. */
  readonly bundle: string;
}

/** `GET /v1/federated-bundles`: all of them, for whoever cannot follow `GET /v1/watch`. */
export type FederatedBundles = FederationNotice;
