import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readiness } from "../ca/contract/vitals.ts";
import { isLoopback, type SocketAddress } from "./address.ts";
import type { Metrics } from "./metrics.ts";
import { answerJson, answerMetrics, answerText, servePages, type Page, type PageServer } from "./pages.ts";

/** What the admin listener shows. */
export interface AdminDeps {
  /** Loopback only: nobody is asked who they are. */
  readonly listen: SocketAddress;
  /** Each says why no traffic can be served, or undefined. */
  readonly unready: readonly (() => string | undefined)[];
  readonly metrics: Metrics;
  /** Path -> what is shown there as JSON. */
  readonly pages: Readonly<Record<string, () => unknown>>;
  /** Path -> what answers it as long as the reader stays. */
  readonly streams?: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => void>>;
}

/**
 * Serves `/livez`, `/readyz`, `/metrics` and the given pages; listens when it resolves. Read only.
 * @throws what listening throws, e.g. EADDRINUSE
 */
export async function startAdmin({ listen, unready, metrics, pages, streams = {} }: AdminDeps): Promise<PageServer> {
  if (!isLoopback(listen.host)) throw new RangeError(`the admin listener stays on loopback, not ${listen.host}`);
  return servePages({
    listen,
    pages: new Map<string, Page>([
      ["/livez", (_request, response) => answerText(response, 200, "ok\n")],
      ["/readyz", (_request, response) => {
        const reasons = unready.flatMap((ask) => ask() ?? []);
        const readiness: Readiness = { ready: reasons.length === 0, reasons };
        answerJson(response, readiness.ready ? 200 : 503, readiness);
      }],
      ["/metrics", (_request, response) => answerMetrics(response, metrics.text())],
      ...Object.entries(pages).map(([path, read]): [string, Page] => [path, (_request, response) => answerJson(response, 200, read())]),
      ...Object.entries(streams),
    ]),
    // A page in a browser on this machine must not read this by a DNS name of its own (rebinding).
    misdirected: ({ headers }) => (isLoopback(hostOf(headers.host ?? "")) ? undefined : "ask by a loopback name, e.g. localhost\n"),
    prepare: (server) => void (server.maxConnections = maxConnections),
  });
}

function hostOf(header: string): string {
  return header.replace(/:\d+$/, "").replaceAll(/[[\]]/g, "");
}

/** A scraper, a probe and a few people. */
const maxConnections = 64;
