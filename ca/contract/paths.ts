/**
 * The HTTP contract between the CA and everyone who calls it is this folder: paths, headers, problem codes, and a file of shapes a resource.
 * Types only, so that the proxy can share it without carrying a schema library; `ca/http/schemas/` holds the zod
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
