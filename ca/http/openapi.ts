import { OpenAPIHono, type RouteConfig, type z } from "@hono/zod-openapi";
import { mediaType, requestIdHeader } from "../contract/headers.ts";
import { problemStatus, type ProblemCode } from "../contract/problem.ts";
import { access } from "./authenticate.ts";
import { splitRoute, type Operation } from "./operation.ts";
import { problemTitle } from "./problem.ts";
import { problem } from "./schemas/problem.ts";

/** The OpenAPI 3.1 document of the operations. */
export function openApiDocument(
  operations: readonly Operation[],
  trustDomain: string,
): ReturnType<OpenAPIHono["getOpenAPI31Document"]> {
  const app = new OpenAPIHono();
  for (const operation of operations) app.openAPIRegistry.registerPath(describeOperation(operation));
  for (const [name, scheme] of Object.entries(securitySchemes)) app.openAPIRegistry.registerComponent("securitySchemes", name, scheme);
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Countersign CA",
      version: "1",
      description:
        `Certificate authority of the trust domain \`${trustDomain}\`: short-lived X.509 identities, revocation, ` +
        "and an audit log that can be proved.",
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
    servers: [{ url: "/" }],
    tags: tagDescriptions,
  });
}

/** One operation as the registry wants it, with every refusal it can give. */
function describeOperation(operation: Operation): RouteConfig {
  const { route, tag, summary, description, params, query, headers, body, success } = operation;
  const { method, path } = splitRoute(route);
  const rule = access[route];
  return {
    method: method.toLowerCase() as "get",
    path,
    operationId: operationId(method, path),
    tags: [tag],
    summary,
    description: typeof rule === "string" ? description : `${description}\n\nFor the roles ${rule.join(", ")}.`,
    security: rule === "public" || rule === "probe" ? [] : rule === "attested" || rule === "feed" ? [{}, { apiToken: [] }, { signedBySvid: [] }] : [{ apiToken: [] }, { signedBySvid: [] }],
    request: {
      // The registry asks for the object schemas that these are; Operation only promises what pipeline needs.
      ...(params && { params: params as z.ZodObject }),
      ...(query && { query: query as z.ZodObject }),
      ...(headers && { headers: headers as z.ZodObject }),
      ...(body && {
        body: { required: true, content: { [mediaType.json]: { schema: body.schema, example: body.example } } },
      }),
    },
    responses: {
      [success.status]: {
        description: success.description,
        headers: {
          [requestIdHeader]: { description: "Names the request in the CA's log.", schema: { type: "string" } },
        },
        ...(success.content && {
          content: Object.fromEntries(
            Object.entries(success.content).map(([type, schema]) => [type, { schema: schema ?? textSchema(type) }]),
          ),
        }),
      },
      ...problemResponses(documentedCodes(operation)),
    },
  };
}

/** The codes an operation can answer with: its own, and those of the steps before it. */
export function documentedCodes({ route, params, query, body, refusals = [] }: Operation): readonly ProblemCode[] {
  const codes = new Set<ProblemCode>(refusals);
  if (params !== undefined || query !== undefined || body !== undefined) codes.add("invalid_request");
  if (body !== undefined)
    for (const code of ["body_too_large", "media_type_unsupported", "request_timeout"] as const) codes.add(code);
  if (typeof access[route] !== "string") for (const code of ["unauthenticated", "forbidden", "proof_refused", "certificate_expired", "certificate_revoked"] as const) codes.add(code);
  if (access[route] !== "probe") codes.add("rate_limited");
  if (route.includes(" /v1/")) for (const code of ["store_busy", "store_unavailable"] as const) codes.add(code);
  return [...codes.add("internal")];
}

function problemResponses(codes: readonly ProblemCode[]): RouteConfig["responses"] {
  const byStatus = Map.groupBy(codes, (code) => problemStatus[code]);
  return Object.fromEntries(
    [...byStatus]
      .sort(([a], [b]) => a - b)
      .map(([status, group]) => [
        status,
        {
          description: group.map((code) => `\`${code}\`: ${problemTitle[code]}.`).join("\n"),
          content: { [mediaType.problem]: { schema: problem } },
        },
      ]),
  );
}

/** `POST /v1/certificates/{serial}/revoke` as `postCertificatesSerialRevoke`. */
function operationId(method: string, path: string): string {
  const words = path
    .replace("/v1", "")
    .split(/[^A-Za-z]+/)
    .filter((word) => word !== "");
  return method.toLowerCase() + words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("");
}

function textSchema(type: string) {
  return type === mediaType.json ? ({ type: "object" } as const) : ({ type: "string" } as const);
}

const securitySchemes = {
  apiToken: {
    type: "http",
    scheme: "bearer",
    description: "An API token of `countersign token create --type api`.",
  },
  signedBySvid: {
    type: "http",
    scheme: "SVID",
    description:
      'The request signed by the key of an X509-SVID of this CA: `SVID proof="<JWS>", nonce="<22 or more characters of base64url>"`. The JWS ' +
      "has the type `countersign-request+jws`, the chain in `x5c`, and as claims `aud` (the trust domain), `iat`, and `request`: the SHA-256, " +
      "base64url, of method, target, nonce and body, each but the last followed by a line feed. Good for a minute, and for one act once.",
  },
} as const;
const tagDescriptions = [
  { name: "certificates", description: "Issue, renew, look up, revoke." },
  { name: "revocations", description: "The deny-list feed that proxies follow." },
  { name: "status", description: "CRLs and OCSP, for software that does not follow the deny-list." },
  { name: "tokens", description: "Join tokens for workloads, API tokens for callers." },
  { name: "operators", description: "Roles of those who call with their SVID." },
  { name: "policies", description: "Who may call whom, and who answers to a name." },
  { name: "traffic", description: "Who talks to whom." },
  { name: "trust", description: "Authorities and the bundle made of them." },
  { name: "federation", description: "Other trust domains: whom to believe, and how two CAs come to believe each other." },
  { name: "audit", description: "What was done, and the proof of it." },
  { name: "operations", description: "For orchestrators, Prometheus and people." },
];
