import { parseArgs } from "node:util";
import { parseListenAddress, parseSocketAddress, type SocketAddress } from "../address.ts";
import { startAdmin } from "../admin.ts";
import type { CommandOutput } from "../intercept/command.ts";
import { jsonLog } from "../log.ts";
import { createMetrics } from "../metrics.ts";
import { startScraped } from "../scraped.ts";
import { startGateway, type GatewaySettings } from "./gateway.ts";

/** Runs `countersign-proxy gateway ...` until it is asked to stop. @returns the exit code: 0 drained, 1 could not listen, 2 wrong command line */
export async function runGateway(args: readonly string[], { out, err }: CommandOutput): Promise<number> {
  if (args.includes("--help")) {
    out(gatewayHelp);
    return 0;
  }
  let settings: Settings;
  try {
    settings = readSettings(args);
  } catch (error) {
    err(`countersign-proxy gateway: ${(error as Error).message}\n`);
    return 2;
  }
  const metrics = createMetrics();
  const log = jsonLog({ level: "info", now: Date.now, write: err });
  let draining = false;
  try {
    const gateway = await startGateway(settings, { metrics, log });
    const unready = [() => (draining ? "shutting down" : undefined)];
    const scraped = settings.metrics && await startScraped({ listen: settings.metrics, unready, metrics, now: () => performance.now() });
    const admin = settings.admin && await startAdmin({
      listen: settings.admin, metrics, unready,
      pages: { "/routes": () => Object.fromEntries(settings.routes) },
    });
    log.info({ listen: gateway.address, admin: admin?.address, metrics: scraped?.address, routes: settings.routes.size }, "countersign-proxy gateway started");
    await new Promise((resolve) => process.once("SIGTERM", resolve).once("SIGINT", resolve));
    draining = true;
    log.info({ open: gateway.open() }, "draining: no new connections, open ones may finish");
    process.once("SIGTERM", gateway.close).once("SIGINT", gateway.close);
    await gateway.drain(drainTimeoutMs);
    admin?.close();
    scraped?.close();
    return 0;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    err(`countersign-proxy gateway: cannot listen (${code ?? message}); choose another --listen, --admin or --metrics, or stop what is there\n`);
    return 1;
  }
}

interface Settings extends GatewaySettings {
  readonly admin: SocketAddress | undefined;
  readonly metrics: SocketAddress | undefined;
}

function readSettings(args: readonly string[]): Settings {
  const { values } = parseArgs({ args: [...args], options, strict: true });
  const { listen = "*:4143", admin = "127.0.0.1:4191", metrics = "off", route = [], "max-connections": most = "10000" } = values;
  if (route.length === 0) throw new RangeError("--route NAME=ADDRESS:PORT says where a name leads; give at least one");
  if (!/^[1-9]\d{0,6}$/.test(most)) throw new RangeError(`--max-connections is a number above 0, not ${most}`);
  return {
    listen: addressOf("--listen", listen), admin: addressOrOff("--admin", admin), metrics: addressOrOff("--metrics", metrics), routes: new Map(route.map(readRoute)),
    maxConnections: Number(most), helloTimeoutMs, connectTimeoutMs, idleTimeoutMs,
  };
}

function readRoute(text: string): [name: string, to: SocketAddress] {
  const [, name = "", address = ""] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  const to = parseSocketAddress(address);
  if (!routeName.test(name) || to === undefined) throw new RangeError(`--route ${text} is not NAME=ADDRESS:PORT; NAME is a DNS name, or *. and what names end with`);
  return [name.toLowerCase(), to];
}

function addressOrOff(flag: string, text: string): SocketAddress | undefined {
  return text === "off" ? undefined : addressOf(flag, text);
}

function addressOf(flag: string, text: string): SocketAddress {
  const address = parseListenAddress(text);
  if (address === undefined) throw new RangeError(`${flag} ${text} is not HOST:PORT`);
  return address;
}

const options = {
  listen: { type: "string" }, admin: { type: "string" }, metrics: { type: "string" }, route: { type: "string", multiple: true }, "max-connections": { type: "string" },
} as const;
const routeName = /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]{0,250})$/i;
const helloTimeoutMs = 5000;
const connectTimeoutMs = 5000;
/** As a proxy's. */
const idleTimeoutMs = 3_600_000;
const drainTimeoutMs = 30_000;

/** What `countersign-proxy gateway --help` prints. */
export const gatewayHelp = `countersign-proxy gateway: one address for the services of a cluster

  countersign-proxy gateway --route NAME=ADDRESS:PORT ...
      [--listen "*:4143"] [--admin 127.0.0.1:4191|off]
      [--metrics "*:4192"|off] [--max-connections N]

  Connections go, as they are, to the proxy that the name in their TLS
  ClientHello leads to: world.default.west, or *.west for all that end so.
  The gateway has no key and no identity and can read nothing: mutual TLS is
  between the proxies at both ends, which see each other's identity.
  In the other cluster: countersign service apply, with the gateway's address.
  /livez, /readyz, /metrics and /routes on --admin; the first three also on
  --metrics, for scrapers and probes from elsewhere.

  For example, for all of cluster west behind two proxies:
    countersign-proxy gateway --route world.default.west=10.1.0.7:4143 \\
        --route '*.west=10.1.0.9:4143'
`;
