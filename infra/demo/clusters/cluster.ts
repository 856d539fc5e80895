import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Place } from "../place.ts";
import { countersign, startCa, startProcess, startProxy, type RunningCa, type RunningProxy } from "../processes.ts";
import type { Stage } from "../stage.ts";
import { makeRoot, type Credentials, type MadeRoot } from "../strangers.ts";
import { worldName } from "./looks.ts";
import { startRunner, type Runner } from "./runner.ts";
import type { Spot } from "./spots.ts";
import type { Timekeeper } from "./timekeeper.ts";

/** A trust domain with a CA of its own, an app, and the app's proxy. */
export interface Cluster {
  readonly name: string;
  readonly place: Place;
  readonly runner: Runner;
  /** Its root with the key: what whoever operates this cluster could sign. */
  readonly root: MadeRoot;
  /** Of the app. */
  readonly spiffeId: string;
  readonly proxy: RunningProxy;
  readonly appPort: number;
  /** `host:port` of the forward proxy that the app uses. */
  readonly outbound: string;
  readonly ca: () => RunningCa;
  /** Runs a `countersign` command here. */
  run(...args: readonly string[]): Promise<string>;
  /** The same with `-o json`. */
  ask<T>(...args: readonly string[]): Promise<T>;
  /** Applies policies and services. */
  apply(documents: object): Promise<void>;
  stopCa(): Promise<void>;
  startCaAgain(): Promise<void>;
  /** What the proxy's admin page answers. */
  page(path: string): Promise<string>;
  /** What the app behind the proxy answers to whoever dials the inbound port with this certificate: the caller's name, or "refused". */
  present(credentials: Credentials): Promise<string>;
}

export interface ClusterSettings {
  readonly name: string;
  /** `hello` asks, `world` answers. */
  readonly app: "hello" | "world";
  readonly spot: Spot;
  readonly time: Timekeeper;
  readonly inbound: number;
  readonly caEnv?: Readonly<Record<string, string>>;
  readonly proxyArgs?: readonly string[];
}

/** Starts a CA with a root of its own, an app and its proxy; all of it is ready when this resolves. */
export async function startCluster(stage: Stage, { name, app, spot, time, inbound, caEnv = {}, proxyArgs = [] }: ClusterSettings): Promise<Cluster> {
  const { keep, dataDir } = stage;
  const folder = join(dataDir, name);
  const inFolder = (file: string): string => `${folder}-${file}`;
  const runner = keep(startRunner(spot));
  const place: Place = { ...spot, status: (url) => runner.run("status", { url }) };
  const root = makeRoot(name);
  writeFileSync(inFolder("root.pem"), root.cert);
  writeFileSync(inFolder("root.key"), root.key, { mode: 0o600 });
  const start = (port: number): Promise<RunningCa> => startCa({
    dataDir: folder, port, place, talks: true, program,
    args: ["--root-cert", inFolder("root.pem"), "--root-key", inFolder("root.key"), "--bundle-refresh-hint", "1s", "--federation-settle", "1s"],
    env: { COUNTERSIGN_TRUST_DOMAIN: name, ...caEnv, ...time.env() },
  }).then(time.tell).then(keep);
  let ca = await start(await place.port(8443));
  const port = Number(new URL(ca.url).port);
  const run = (...args: readonly string[]): Promise<string> => countersign(ca, ...args);

  const spiffeId = `spiffe://${name}/${app}`;
  const appPort = await place.port(7777);
  const proxy = keep(time.tell(await startProxy({
    bootstrap: (await run("token", "create", "--id", spiffeId)).trim(), app: appPort, place, talks: true, program,
    ports: { inbound: await place.port(inbound), outbound: await place.port(4140), admin: await place.port(4191) }, args: proxyArgs, env: time.env(),
  })));
  const outbound = `${place.loopback}:${proxy.outboundPort}`;
  keep(startProcess(`infra/demo/${app}.ts`, [], {
    HOST: place.loopback, PORT: String(appPort), WORLD: `http://${worldName}/`, http_proxy: `http://${outbound}`, NODE_USE_ENV_PROXY: "1",
  }, { place }));
  return {
    name, place, runner, root, spiffeId, proxy, appPort, outbound, ca: () => ca, run,
    ask: async (...args) => JSON.parse(await run(...args, "-o", "json")),
    async apply(documents) {
      writeFileSync(inFolder("documents.json"), JSON.stringify(documents));
      await run("policy", "apply", "-f", inFolder("documents.json"));
    },
    async stopCa() {
      await ca.stop();
    },
    async startCaAgain() {
      ca = await start(port);
    },
    page: async (path) => (await runner.run("get", { url: `http://${place.loopback}:${proxy.adminPort}${path}` })).body,
    async present(credentials) {
      const answer = await runner.run("present", { host: place.address, port: proxy.inboundPort, credentials });
      // What an app answers is known by the name of the caller in it, or its absence.
      return answer === "" ? refused : answer.split(/\r?\n/).find((line) => line.startsWith("spiffe://")) ?? answer;
    },
  };
}

export const refused = "refused";
const program = "infra/demo/clusters/simulated.ts";
