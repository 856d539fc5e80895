import { OpenAPIHono } from "@hono/zod-openapi";
import { randomBytes } from "node:crypto";
import { Refusal } from "../refusal.ts";
import { acmeHandler } from "./acme.ts";
import { toResponse, type Answer } from "./answer.ts";
import { auditOperations } from "./audit.ts";
import { clockOperations } from "./clock.ts";
import { certificateOperations } from "./certificates.ts";
import { docsOperations } from "./docs.ts";
import { federationOperations } from "./federation.ts";
import { witnessOperations } from "./witness.ts";
import { healthOperations, type MetricsRegistry } from "./health.ts";
import { issuerOperations } from "./issuers.ts";
import { jwtSvidOperations } from "./jwt-svids.ts";
import { describeOperation } from "./openapi.ts";
import { operatorOperations } from "./operators.ts";
import { policyOperations } from "./policies.ts";
import { exactFirst } from "./router.ts";
import { pipeline, refuse, splitRoute, type Operation, type PipelineOptions } from "./operation.ts";
import { reportOperations } from "./reports.ts";
import { statusOperations } from "./status.ts";
import { revocationOperations } from "./revocations.ts";
import type { CaServices } from "./services.ts";
import { signInOperations } from "./sign-ins.ts";
import { tokenOperations } from "./tokens.ts";
import { trustOperations } from "./trust.ts";
import { vitalsOperations } from "./vitals.ts";
import { watchOperations } from "./watch.ts";
import { workloadOperations } from "./workloads.ts";

export interface AppOptions extends Pick<PipelineOptions, "log" | "denied" | "forwarders"> {
  readonly registry: MetricsRegistry;
  /** Largest request body; default 64 KiB. */
  readonly bodyLimitBytes?: number;
}

/**
 * The REST API as a Hono app: `fetch` for a listener or a Lambda, `request` for tests. Each route is one handler
 * (`pipeline`); there is no middleware.
 */
export function createApp(
  services: CaServices,
  { bodyLimitBytes = defaultBodyLimitBytes, registry, ...rest }: AppOptions,
): OpenAPIHono {
  const app = new OpenAPIHono({ router: exactFirst() });
  const options: PipelineOptions = { ...rest, bodyLimitBytes, nextRequestId: requestIds() };
  const operations: readonly Operation[] = [
    ...certificateOperations(services),
    ...workloadOperations(services),
    ...revocationOperations(services),
    ...tokenOperations(services),
    ...operatorOperations(services),
    ...policyOperations(services),
    ...trustOperations(services),
    ...federationOperations(services),
    ...watchOperations(services),
    ...issuerOperations(services),
    ...reportOperations(services),
    ...jwtSvidOperations(services),
    ...auditOperations(services),
    ...witnessOperations(services),
    ...statusOperations(services),
    ...clockOperations(services),
    ...signInOperations(services),
    ...vitalsOperations(services),
    ...healthOperations(services, registry),
    ...docsOperations(app, services),
  ];
  for (const operation of operations) app.openAPIRegistry.registerPath(describeOperation(operation));
  app.openAPIRegistry.registerComponent("securitySchemes", "apiToken", {
    type: "http",
    scheme: "bearer",
    description: "An API token of `countersign token create --type api`.",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "signedBySvid", {
    type: "http",
    scheme: "SVID",
    description:
      'The request signed by the key of an X509-SVID of this CA: `SVID proof="<JWS>", nonce="<22 or more characters of base64url>"`. The JWS ' +
      "has the type `countersign-request+jws`, the chain in `x5c`, and as claims `aud` (the trust domain), `iat`, and `request`: the SHA-256, " +
      "base64url, of method, target, nonce and body, each but the last followed by a line feed. Good for a minute, and for one act once.",
  });
  route(app, operations, services, options);
  if (services.acme !== undefined) app.on(["GET", "HEAD", "POST"], "/acme/*", acmeHandler(services.acme, options));
  let dashboard: Promise<DashboardFetch> | undefined;
  app.on(["GET", "POST"], ["/ui", "/ui/*"], async ({ req, env }) => (await (dashboard ??= loadDashboard(services, app, options)))(req.raw, env as object));
  // Whoever types the address into a browser is a person.
  app.get("/", ({ redirect }) => redirect("/ui", 303));
  return app;
}

type DashboardFetch = (request: Request, env: object) => Response | Promise<Response>;

/** When it is first looked at: a CA that serves proxies alone has no use for it. */
async function loadDashboard(services: CaServices, app: OpenAPIHono, { log, nextRequestId }: PipelineOptions): Promise<DashboardFetch> {
  const { dashboard } = await import("../dashboard/app.ts");
  return dashboard(services, { fetchApi: (request, env) => app.fetch(request, env), log, nextRequestId });
}

/** CRLs, OCSP and the certificates of authorities alone: what may be served over plain HTTP. */
export function createStatusApp(services: CaServices, { bodyLimitBytes = defaultBodyLimitBytes, registry: _, ...rest }: AppOptions): OpenAPIHono {
  const app = new OpenAPIHono({ router: exactFirst() });
  route(app, statusOperations(services), services, { ...rest, bodyLimitBytes, nextRequestId: requestIds() });
  return app;
}

function route(app: OpenAPIHono, operations: readonly Operation[], services: CaServices, options: PipelineOptions): void {
  for (const operation of operations) {
    const { method, path } = splitRoute(operation.route);
    app.on(method, pathPattern(path), pipeline(operation, services, options));
  }
  app.notFound((context) => {
    const requestId = options.nextRequestId();
    const { method, path } = context.req;
    const allowed = methods.filter((candidate) => app.router.match(candidate, path)[0].length > 0);
    return toResponse(
      answerUnrouted(method, allowed.includes("GET") ? [...allowed, "HEAD"] : allowed, requestId),
      requestId,
    );
  });
  // Handlers answer their own errors; what arrives here broke in between.
  app.onError((error) => {
    const requestId = options.nextRequestId();
    return toResponse(refuse(error, requestId, "unknown", options), requestId);
  });

  function answerUnrouted(method: string, allowed: readonly string[], requestId: string): Answer {
    if (allowed.length === 0) {
      return refuse(
        new Refusal("not_found", "There is nothing at this path; /docs lists what there is."),
        requestId,
        "unrouted",
        options,
      );
    }
    const allow = [...allowed, "OPTIONS"].join(", ");
    if (method === "OPTIONS") return { status: 204, body: null, headers: { allow } };
    const answer = refuse(
      new Refusal("method_not_allowed", `This path answers ${allow}.`),
      requestId,
      "unrouted",
      options,
    );
    return { ...answer, headers: { ...answer.headers, allow } };
  }
}

/** A path of the contract as Hono has it; an OCSP request in base64 may hold slashes. */
function pathPattern(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ":$1").replace("/ocsp/:request", "/ocsp/:request{.+}");
}

/** Unique over restarts and replicas, and cheap: a random prefix and a count. */
function requestIds(): () => string {
  const prefix = randomBytes(6).toString("hex");
  let count = 0;
  return () => `${prefix}-${(++count).toString(36)}`;
}

const methods = ["GET", "POST", "DELETE"];
/** A CSR of an RSA-4096 key and a renewal proof with a chain of three stay below 16 KiB. */
const defaultBodyLimitBytes = 64 * 1024;
