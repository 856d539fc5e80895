import type { IncomingMessage, ServerResponse } from "node:http";
import type { TapFilter } from "../../ca/contract/taps.ts";
import type { Exchanges } from "../exchanges.ts";
import { tapExchanges } from "./tapped.ts";

/**
 * Makes `/tap` of the admin listener: live requests, one JSON object a line, until the reader leaves or a limit is reached. Query:
 * `direction`, `method`, `path` (what it begins with), `limit` (records) and `seconds`. A last line says how many were left out.
 */
export function tapPage(exchanges: Exchanges): (request: IncomingMessage, response: ServerResponse) => void {
  let readers = 0;
  return (request, response) => {
    const { searchParams: query } = new URL(request.url ?? "/", "http://localhost");
    const limit = boundedNumber(query.get("limit"), maxRecords);
    const seconds = boundedNumber(query.get("seconds"), maxSeconds);
    const filter = readFilter(query);
    if (limit === undefined || seconds === undefined || filter === undefined) {
      return plain(response, 400, `limit is up to ${maxRecords}, seconds up to ${maxSeconds}, direction inbound or outbound, method and path up to 512 characters\n`);
    }
    if (readers >= maxReaders) return plain(response, 503, `${maxReaders} others are looking already\n`);
    readers += 1;
    response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
    response.flushHeaders();
    const tap = tapExchanges(exchanges, {
      filter, limit, perSecond: maxPerSecond, onLimit: finish,
      take(record) {
        if (response.writableNeedDrain) return false;
        response.write(`${JSON.stringify(record)}\n`);
        return true;
      },
    });
    const deadline = setTimeout(finish, seconds * 1000);
    response.once("close", () => {
      readers -= 1;
      clearTimeout(deadline);
      tap.stop();
    });

    function finish(): void {
      tap.stop();
      response.end(`${JSON.stringify({ leftOut: tap.takeLeftOut() })}\n`);
    }
  };
}

function readFilter(query: URLSearchParams): TapFilter | undefined {
  const [direction, method, path] = ["direction", "method", "path"].map((name) => query.get(name) ?? undefined);
  if (direction !== undefined && direction !== "inbound" && direction !== "outbound") return undefined;
  if ((method ?? "").length > maxFilterLength || (path ?? "").length > maxFilterLength) return undefined;
  return { ...(direction !== undefined && { direction }), ...(method !== undefined && { method: method.toUpperCase() }), ...(path !== undefined && { path }) };
}

function boundedNumber(text: string | null, max: number): number | undefined {
  if (text === null) return max;
  const value = Number(text);
  return /^\d{1,9}$/.test(text) && value > 0 && value <= max ? value : undefined;
}

function plain(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

const maxReaders = 4;
/** Some 300 bytes each: what a terminal shows is long past. */
const maxPerSecond = 1000;
const maxRecords = 100_000;
const maxSeconds = 3600;
const maxFilterLength = 512;
