import type { Server } from "node:http";
import type { Socket } from "node:net";
import { networkOf } from "../ca/pki/ip-address.ts";
import type { SocketAddress } from "./address.ts";
import type { Metrics } from "./metrics.ts";
import { answerMetrics, answerText, servePages, type Page, type PageServer } from "./pages.ts";

/** What is open to whoever reaches this proxy's network. */
export interface ScrapedDeps {
  readonly listen: SocketAddress;
  /** Each says why no traffic can be served, or undefined. The reasons are for the admin listener alone. */
  readonly unready: readonly (() => string | undefined)[];
  readonly metrics: Metrics;
  /** Milliseconds since some moment. */
  readonly now: () => number;
}

/**
 * Serves `/metrics`, `/livez` and `/readyz` to scrapers and probes that come from elsewhere, and nothing of the admin listener beside them:
 * nobody is asked who they are. Listens when it resolves.
 * @throws what listening throws, e.g. EADDRINUSE
 */
export function startScraped({ listen, unready, metrics, now }: ScrapedDeps): Promise<PageServer> {
  let shown = { text: "", untilMs: -Infinity };
  function textOfNow(): string {
    if (now() >= shown.untilMs) shown = { text: metrics.text(), untilMs: now() + textLifetimeMs };
    return shown.text;
  }
  return servePages({
    listen,
    pages: new Map<string, Page>([
      ["/livez", (_request, response) => answerText(response, 200, "ok\n")],
      ["/readyz", (_request, response) => (unready.every((ask) => ask() === undefined)
        ? answerText(response, 200, "ready\n") : answerText(response, 503, "not ready: /readyz of the admin listener says why\n"))],
      ["/metrics", (_request, response) => answerMetrics(response, textOfNow())],
    ]),
    prepare: makeRoom,
  });
}

/** Nobody keeps probes out by holding connections: the oldest goes, of the same network where that has its share. */
function makeRoom(server: Server): void {
  const open = new Set<Socket>();
  server.on("connection", (socket) => {
    const network = networkOf(socket.remoteAddress ?? "");
    const ofNetwork = [...open].filter(({ remoteAddress }) => networkOf(remoteAddress ?? "") === network);
    const [oldest] = ofNetwork.length >= maxConnectionsPerNetwork ? ofNetwork : open.size >= maxConnections ? open : [];
    if (oldest !== undefined) {
      open.delete(oldest);
      oldest.destroy();
    }
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
}

/** Making it costs, and anybody may ask. */
const textLifetimeMs = 1000;
/** Scrapers and kubelets, and some more. */
const maxConnections = 64;
const maxConnectionsPerNetwork = 16;
