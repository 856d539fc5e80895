import { appendTo, startAccessLog } from "./access-log.ts";
import { formatSocketAddress, isLoopback, type SocketAddress } from "./address.ts";
import { startAdmin } from "./admin.ts";
import { CaError } from "./ca-error.ts";
import { systemClock, type Clock } from "./clock.ts";
import type { ProxyConfig } from "./config/config.ts";
import type { DataPath, DataPathDeps } from "./data-path.ts";
import { countExchanges } from "./exchanges.ts";
import { identityPage } from "./identity-page.ts";
import { identityHolder } from "./identity/source.ts";
import { startIdentity, type IdentityKeeper } from "./identity/start.ts";
import { startInbound } from "./inbound/server.ts";
import type { Log } from "./log.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { startOutbound } from "./outbound/start.ts";
import type { PageServer } from "./pages.ts";
import { startScraped } from "./scraped.ts";
import { tapPage } from "./tap/page.ts";
import { startSpanExporter } from "./tracing/exporter.ts";
import { tracer } from "./tracing/trace-context.ts";
import { startWorkload } from "./workload/start.ts";

/** A proxy in this process. */
export interface RunningProxy {
  readonly inbound: readonly string[];
  readonly outbound: readonly string[];
  readonly admin: string | undefined;
  /** Where scrapers and probes come from elsewhere. */
  readonly scraped: string | undefined;
  /** Stops accepting, waits for open connections up to the drain timeout, then closes everything; never rejects. */
  drain(): Promise<void>;
  /** Closes everything at once. */
  close(): void;
}

/** A configuration and what it runs on. */
export interface RunOptions {
  readonly config: ProxyConfig;
  readonly log: Log;
  /** Default: the machine's. */
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly metrics?: Metrics;
}

/**
 * Opens the listeners, which refuse everything until there is an identity, and sets out to get one.
 * @throws {ListenError | ConfigError | KeystoreError}
 */
export async function runProxy({ config, log, clock = systemClock, random = Math.random, metrics = createMetrics() }: RunOptions): Promise<RunningProxy> {
  const holder = identityHolder(clock.now);
  const { otlpEndpoint } = config;
  const exchanges = countExchanges(metrics, otlpEndpoint && tracer(config.traceEvery));
  const deps: DataPathDeps = { config, source: holder, metrics, exchanges, log };
  const spans = otlpEndpoint && startSpanExporter({ exchanges, endpoint: otlpEndpoint, serviceName: () => holder.identity()?.id.uri ?? "", metrics, log });
  const accessLog = config.accessLog === undefined ? undefined : startAccessLog({ exchanges, append: appendTo(config.accessLog), metrics, log });
  const paths: DataPath[] = [];
  let admin: PageServer | undefined;
  let scraped: PageServer | undefined;
  let keeper: IdentityKeeper | undefined;
  let stopWorkload: (() => void) | undefined;
  let draining = false;

  function close(): void {
    for (const path of paths) path.close();
    stopWorkload?.();
    void accessLog?.stop();
    void spans?.stop();
    keeper?.stop();
    admin?.close();
    scraped?.close();
  }

  try {
    const inbound = await listening("inbound", [config.inbound], () => startInbound(deps));
    paths.push(inbound);
    const outbound = await listening(
      "outbound", [config.outbound, config.transparent, ...config.tcpListeners.map(({ listen }) => listen)], () => startOutbound(deps),
    );
    paths.push(outbound);
    const unready = [() => (draining ? "shutting down" : undefined), () => keeper?.unready(), ...paths.map((path) => () => path.unready?.())];
    const { admin: listen, scraped: open } = config;
    if (open !== undefined) scraped = await listening("metrics", [open], () => startScraped({ listen: open, unready, metrics, now: () => performance.now() }));
    if (listen !== undefined) {
      admin = await listening("admin", [listen], () => startAdmin({
        listen, metrics, unready,
        pages: {
          "/identity": () => keeper && identityPage(holder, keeper.status()),
          "/edges": () => ({ edges: [inbound, outbound].flatMap(({ connections }) => connections.edges()) }),
        },
        streams: { "/tap": tapPage(exchanges) },
      }));
    }
    stopWorkload = await startWorkload({
      config, source: holder, clock, log, metrics,
      async issueJwtSvid(audience, identity) {
        if (keeper === undefined) throw new CaError("ca_unreachable", "the proxy is starting");
        return keeper.issueJwtSvid(audience, identity);
      },
    });
    // Last, so that a port in use does not cost a join token.
    keeper = startIdentity({
      config, holder, clock, random, log, metrics, traffic: { edges: () => [inbound, outbound].flatMap(({ connections }) => connections.recentEdges()), exchanges },
    });
    log.info({
      inbound: inbound.addresses, outbound: outbound.addresses, admin: admin?.address, metrics: scraped?.address, app: formatSocketAddress(config.app),
      ca: keeper.status().caUrl, trustDomain: keeper.status().trustDomain,
    }, "countersign-proxy started");
    for (const { host, port } of [config.outbound, ...config.tcpListeners.map(({ listen }) => listen)].flatMap((listen) => listen ?? [])) {
      if (!isLoopback(host)) log.warn({ listen: formatSocketAddress({ host, port }) }, "whoever reaches this listener speaks with this proxy's identity: keep it on loopback");
    }
    return {
      inbound: inbound.addresses, outbound: outbound.addresses, admin: admin?.address, scraped: scraped?.address, close,
      async drain() {
        draining = true;
        for (const path of paths) path.stopAccepting();
        log.info({ timeoutSeconds: config.drainTimeoutMs / 1000 }, "draining: no new connections, open ones may finish");
        await Promise.all(paths.map((path) => path.drained(config.drainTimeoutMs)));
        close();
        await Promise.all([accessLog?.stop(), spans?.stop()]);
        log.info({}, "countersign-proxy stopped");
      },
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** A listener that could not be opened; the message says which setting to change. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

async function listening<T>(what: string, addresses: readonly (SocketAddress | undefined)[], start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const reason = listenReasons[code ?? ""];
    if (reason === undefined) throw cause;
    const where = addresses.flatMap((address) => (address === undefined ? [] : formatSocketAddress(address))).join(", ");
    throw new ListenError(`cannot listen on ${where} (${what}): ${reason}`, { cause });
  }
}

const listenReasons: Readonly<Record<string, string>> = {
  EADDRINUSE: "the port is in use; stop what listens there or choose another port",
  EADDRNOTAVAIL: "this machine has no such address",
  EACCES: "not permitted; ports below 1024 need a privilege",
  ENOTFOUND: "there is no such host name",
};
