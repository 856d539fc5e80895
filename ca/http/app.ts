import { OpenAPIHono } from "@hono/zod-openapi";
import { randomBytes } from "node:crypto";
import { Refusal } from "../refusal.ts";
import { toResponse, type Answer } from "./answer.ts";
import { auditOperations } from "./audit.ts";
import { certificateOperations } from "./certificates.ts";
import { docsOperations } from "./docs.ts";
import { healthOperations, type MetricsRegistry } from "./health.ts";
import { issuerOperations } from "./issuers.ts";
import { describeOperation } from "./openapi.ts";
import { pipeline, refuse, splitRoute, type Operation, type PipelineOptions } from "./operation.ts";
import { revocationOperations } from "./revocations.ts";
import type { CaServices } from "./services.ts";
import { tokenOperations } from "./tokens.ts";
import { trustOperations } from "./trust.ts";
import { watchOperations } from "./watch.ts";

export interface AppOptions extends Pick<PipelineOptions, "log" | "denied"> {
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
  const app = new OpenAPIHono();
  const options: PipelineOptions = { ...rest, bodyLimitBytes, nextRequestId: requestIds() };
  const operations: readonly Operation[] = [
    ...certificateOperations(services),
    ...revocationOperations(services),
    ...tokenOperations(services),
    ...trustOperations(services),
    ...watchOperations(services),
    ...issuerOperations(services),
    ...auditOperations(services),
    ...healthOperations(services, registry),
    ...docsOperations(app, services),
  ];
  for (const operation of operations) {
    const { method, path } = splitRoute(operation.route);
    app.openAPIRegistry.registerPath(describeOperation(operation));
    app.on(method, path.replaceAll(/\{(\w+)\}/g, ":$1"), pipeline(operation, services, options));
  }
  app.openAPIRegistry.registerComponent("securitySchemes", "apiToken", {
    type: "http",
    scheme: "bearer",
    description: "An API token of `countersign token create --type api`.",
  });

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
  return app;

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

/** Unique over restarts and replicas, and cheap: a random prefix and a count. */
function requestIds(): () => string {
  const prefix = randomBytes(6).toString("hex");
  let count = 0;
  return () => `${prefix}-${(++count).toString(36)}`;
}

const methods = ["GET", "POST", "DELETE"];
/** A CSR of an RSA-4096 key and a renewal proof with a chain of three stay below 16 KiB. */
const defaultBodyLimitBytes = 64 * 1024;
