import type { Handler } from "hono";
import { loadOnce } from "../load-once.ts";
import { access, type RouteName } from "./authenticate.ts";
import type { MetricsRegistry } from "./metrics-registry.ts";
import { pipeline, splitRoute, type Operation, type PipelineOptions } from "./operation.ts";
import type { CaServices } from "./services.ts";

/**
 * The API in parts, each a file that is loaded, with its schemas, when one of its routes is first asked for: a function that starts for one
 * certificate is no slower for all it could do besides. Building a schema costs a hundred times what checking by it does.
 */
export interface Part {
  readonly routes: readonly RouteName[];
  /** Its operations; loaded once. */
  operations(): Promise<readonly Operation[]>;
}

/** Every part, in the order of the documents about them. */
export function apiParts(services: CaServices, registry: MetricsRegistry): readonly Part[] {
  const parts: readonly Part[] = [
    part(["POST /v1/certificates"], async () => (await import("./issuing.ts")).issuingOperations(services)),
    part(["/v1/certificates"], async () => (await import("./certificates.ts")).certificateOperations(services)),
    part(["/v1/workloads"], async () => (await import("./workloads.ts")).workloadOperations(services)),
    part(["/v1/revocations"], async () => (await import("./revocations.ts")).revocationOperations(services)),
    part(["/v1/tokens"], async () => (await import("./tokens.ts")).tokenOperations(services)),
    part(["/v1/operators"], async () => (await import("./operators.ts")).operatorOperations(services)),
    part(["/v1/policies", "/v1/services", "/v1/policy"], async () => (await import("./policies.ts")).policyOperations(services)),
    part(["/v1/authorities", "/v1/bundle", "/v1/acknowledgements"], async () => (await import("./trust.ts")).trustOperations(services)),
    part(["/v1/federation", "/v1/federated-bundles", "/v1/bundle-map"], async () => (await import("./federation.ts")).federationOperations(services)),
    part(["/v1/hubs", "/v1/hub-bundle", "/v1/hub-holdings"], async () => (await import("./hubs.ts")).hubOperations(services)),
    part(["/v1/watch"], async () => (await import("./watch.ts")).watchOperations(services)),
    part(["/v1/issuers"], async () => (await import("./issuers.ts")).issuerOperations(services)),
    part(["/v1/reports", "/v1/taps", "/v1/proxies", "/v1/edges", "/v1/edge-groups"], async () => (await import("./reports.ts")).reportOperations(services)),
    part(["/v1/jwt-svids"], async () => (await import("./jwt-svids.ts")).jwtSvidOperations(services)),
    part(["/v1/audit"], async () => (await import("./audit.ts")).auditOperations(services)),
    part(["/v1/witness"], async () => (await import("./witness.ts")).witnessOperations(services)),
    statusPart(services),
    part(["/v1/clock"], async () => (await import("./clock.ts")).clockOperations(services)),
    part(["/v1/sign-ins"], async () => (await import("./sign-ins.ts")).signInOperations(services)),
    part(["/v1/vitals"], async () => (await import("./vitals.ts")).vitalsOperations(services)),
    part(["/healthz", "/readyz", "/metrics"], async () => (await import("./health.ts")).healthOperations(services, registry)),
    part(["/openapi.json", "/docs"], async () => (await import("./docs.ts")).docsOperations(services, everyOperation)),
  ];
  const everyOperation = async (): Promise<readonly Operation[]> => (await Promise.all(parts.map((one) => one.operations()))).flat();
  return parts;
}

/** CRLs, OCSP and the certificates of authorities. */
export function statusPart(services: CaServices): Part {
  return part(["/crl", "/authority", "/ocsp"], async () => (await import("./status.ts")).statusOperations(services));
}

/** Answers one route of a part, whose file is loaded with the first request. */
export function answerFrom({ operations }: Part, route: RouteName, services: CaServices, options: PipelineOptions): Handler {
  let handler: Handler | undefined;

  async function load(): Promise<Handler> {
    const definition = (await operations()).find((one) => one.route === route);
    if (definition === undefined) throw new Error(`nothing answers ${route}`);
    return (handler = pipeline(definition, services, options));
  }

  return async (context, next) => (handler ?? (await load()))(context, next);
}

/** @param at  whole routes, or paths with all below them */
function part(at: readonly string[], load: () => Promise<readonly Operation[]>): Part {
  return {
    routes: everyRoute.filter(({ route, path }) => at.some((place) => route === place || path === place || path.startsWith(`${place}/`))).map(({ route }) => route),
    operations: loadOnce(load),
  };
}

const everyRoute = (Object.keys(access) as RouteName[]).map((route) => ({ route, path: splitRoute(route).path }));
