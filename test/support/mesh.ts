import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pino } from "pino";
import { readConfig as readCaConfig } from "../../ca/config/config.ts";
import type { Caller } from "../../ca/http/services.ts";
import { serveCa, type ServedCa } from "../../ca/runtime/node.ts";
import type { Edge } from "../../proxy/edges.ts";
import { readConfig } from "../../proxy/config/config.ts";
import { createMetrics, type Metrics } from "../../proxy/metrics.ts";
import { runProxy, type RunningProxy } from "../../proxy/run.ts";
import { recordedLog } from "./recorded-log.ts";

/** A real CA and real proxies, all in this process. */
export interface Mesh {
  /** For what a test writes; removed at the end. */
  readonly folder: string;
  readonly served: ServedCa;
  readonly admin: Caller;
  /** Starts the proxy of `spiffe://<trust domain>/<name>`; it has its identity and knows its policy when this resolves. */
  proxy(name: string, ...args: readonly string[]): Promise<MeshProxy>;
  /** Something to end with the mesh, before its proxies. */
  atEnd(end: () => unknown): void;
  close(): Promise<void>;
}

export interface MeshProxy extends RunningProxy {
  readonly spiffeId: string;
  readonly log: ReturnType<typeof recordedLog>;
  edges(): Promise<readonly Edge[]>;
  metrics(): Promise<string>;
  readonly registry: Metrics;
}

/** Starts the CA of a trust domain. @param flags  further settings of the CA */
export async function startMesh({ trustDomain = "east", flags = {} }: { readonly trustDomain?: string; readonly flags?: Readonly<Record<string, string>> } = {}): Promise<Mesh> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-mesh-"));
  const ends: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const config = readCaConfig({ flags: { "data-dir": join(folder, "ca"), "trust-domain": trustDomain, listen: "127.0.0.1:0", ...flags } });
  const served = await serveCa(config, pino({ level: "silent" }));
  ends.push(() => served.stop());
  const admin: Caller = { actor: "token:test", name: "test", role: "admin", scope: [`spiffe://${trustDomain}/*`] };
  return {
    folder, served, admin,
    async proxy(name, ...args) {
      const spiffeId = `spiffe://${trustDomain}/${name}`;
      const { bootstrap = "" } = await served.ca.createToken({ type: "join", spiffeId }, admin);
      const log = recordedLog();
      const free = ["inbound", "outbound", "admin"].filter((listener) => !args.includes(`--${listener}`)).flatMap((listener) => [`--${listener}`, "127.0.0.1:0"]);
      const registry = createMetrics();
      const running = await runProxy({ config: readConfig({ args: [...free, ...args], env: { COUNTERSIGN_BOOTSTRAP: bootstrap } }), log, metrics: registry });
      ends.push(() => running.close());
      const read = async (path: string): Promise<Response> => fetch(`http://${running.admin}${path}`);
      for (const deadline = Date.now() + readyTimeoutMs; !(await read("/readyz")).ok; await delay(readyPollMs)) {
        if (Date.now() > deadline) throw new Error(`the proxy of ${spiffeId} did not become ready:\n${log.text()}`);
      }
      return {
        ...running, spiffeId, log, registry,
        edges: async () => ((await (await read("/edges")).json()) as { readonly edges: readonly Edge[] }).edges,
        metrics: async () => (await read("/metrics")).text(),
      };
    },
    atEnd: (end) => void ends.push(end),
    async close() {
      for (const end of ends.reverse()) await end();
    },
  };
}

const readyTimeoutMs = 30_000;
const readyPollMs = 20;
