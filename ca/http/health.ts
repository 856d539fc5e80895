import { mediaType } from "../contract/headers.ts";
import type { Readiness } from "../contract/vitals.ts";
import { json, type Answer } from "./answer.ts";
import type { MetricsRegistry } from "./metrics-registry.ts";
import { operation, type Operation } from "./operation.ts";
import { readiness } from "./schemas/readiness.ts";
import type { CaServices } from "./services.ts";

/** What orchestrators and Prometheus ask. */
export function healthOperations(services: CaServices, registry: MetricsRegistry): readonly Operation[] {
  let looking: Promise<Readiness> | undefined;

  return [
    operation({
      route: "GET /healthz",
      tag: "operations",
      summary: "Alive?",
      description: "200 as long as the process answers. Restart it when it does not.",
      success: { status: 200, description: "Alive.", content: { "text/plain": undefined } },
      handle: (): Answer => ({ status: 200, body: "ok\n", contentType: "text/plain; charset=utf-8" }),
    }),
    operation({
      route: "GET /readyz",
      tag: "operations",
      summary: "Ready to issue?",
      description:
        "200 when a certificate could be issued now, otherwise 503 with the reasons. A restart does not help; look " +
        "at the reasons.",
      success: { status: 200, description: "Ready.", content: { [mediaType.json]: readiness } },
      async handle() {
        // It asks the database, and anybody may ask it, however often: those who come meanwhile share one look.
        const state = await (looking ??= services.readiness().finally(() => (looking = undefined)));
        return json(state, state.ready ? 200 : 503);
      },
    }),
    operation({
      route: "GET /metrics",
      tag: "operations",
      summary: "Prometheus metrics",
      description:
        "Needs an API token, also from loopback: give Prometheus one of the role auditor (`authorization` in its " +
        "scrape_config).",
      success: {
        status: 200,
        description: "Metrics in Prometheus's text format.",
        content: { "text/plain": undefined },
      },
      handle: async (): Promise<Answer> => ({
        status: 200,
        body: await registry.metrics(),
        contentType: registry.contentType,
      }),
    }),
  ];
}
