import { Hono } from "hono";
import { randomBytes } from "node:crypto";
import { loadOnce } from "../load-once.ts";
import { Refusal } from "../refusal.ts";
import { acmeHandler } from "./acme.ts";
import { toResponse, type Answer } from "./answer.ts";
import type { RouteName } from "./authenticate.ts";
import type { MetricsRegistry } from "./metrics-registry.ts";
import { refuse, splitRoute, type PipelineOptions } from "./operation.ts";
import { answerFrom, apiParts, statusPart, type Part } from "./parts.ts";
import { properRequest } from "./plain.ts";
import { exactFirst } from "./router.ts";
import type { CaServices } from "./services.ts";

export interface AppOptions extends Pick<PipelineOptions, "log" | "denied" | "forwarders"> {
  readonly registry: MetricsRegistry;
  /** Default: the API's, none of them loaded yet. */
  readonly parts?: readonly Part[];
  /** Largest request body; default 64 KiB. */
  readonly bodyLimitBytes?: number;
}

/**
 * The REST API as a Hono app: `fetch` for a listener or a Lambda, `request` for tests. Each route is one handler
 * (`pipeline`); there is no middleware.
 */
export function createApp(
  services: CaServices,
  { bodyLimitBytes = defaultBodyLimitBytes, registry, parts = apiParts(services, registry), ...rest }: AppOptions,
): Hono {
  const app = new Hono({ router: exactFirst() });
  const options: PipelineOptions = { ...rest, bodyLimitBytes, nextRequestId: requestIds() };
  route(app, parts, services, options);
  if (services.acme !== undefined) app.on(["GET", "HEAD", "POST"], "/acme/*", acmeHandler(services.acme, options));
  const dashboard = loadOnce(() => loadDashboard(services, app, options));
  app.on(["GET", "POST"], ["/ui", "/ui/*"], async ({ req, env }) => (await dashboard())(properRequest(req.raw), env as object));
  // Whoever types the address into a browser is a person.
  app.get("/", ({ redirect }) => redirect("/ui", 303));
  return app;
}

type DashboardFetch = (request: Request, env: object) => Response | Promise<Response>;

/** When it is first looked at: a CA that serves proxies alone has no use for it. */
async function loadDashboard(services: CaServices, app: Hono, { log, nextRequestId, forwarders }: PipelineOptions): Promise<DashboardFetch> {
  const { dashboard } = await import("../dashboard/app.ts");
  return dashboard(services, { fetchApi: (request, env) => app.fetch(request, env), log, nextRequestId, forwarders });
}

/** CRLs, OCSP and the certificates of authorities alone: what may be served over plain HTTP. */
export function createStatusApp(services: CaServices, { bodyLimitBytes = defaultBodyLimitBytes, registry: _, ...rest }: AppOptions): Hono {
  const app = new Hono({ router: exactFirst() });
  route(app, [statusPart(services)], services, { ...rest, bodyLimitBytes, nextRequestId: requestIds() });
  return app;
}

function route(app: Hono, parts: readonly Part[], services: CaServices, options: PipelineOptions): void {
  const routed = new Set<RouteName>();
  for (const part of parts) {
    for (const name of part.routes) {
      // The first part that has it: those that follow have the rest of its path.
      if (routed.has(name)) continue;
      routed.add(name);
      const { method, path } = splitRoute(name);
      app.on(method, pathPattern(path), answerFrom(part, name, services, options));
    }
  }
  app.notFound((context) => {
    const requestId = options.nextRequestId();
    const { method, path } = context.req;
    const allowed = methods.filter((candidate) => app.router.match(candidate, path)[0].length > 0);
    return toResponse(
      answerUnrouted(method, allowed.includes("GET") ? [...allowed, "HEAD"] : allowed, requestId),
      requestId,
      context.req.raw,
    );
  });
  // Handlers answer their own errors; what arrives here broke in between.
  app.onError((error, context) => {
    const requestId = options.nextRequestId();
    return toResponse(refuse(error, requestId, "unknown", options), requestId, context.req.raw);
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
