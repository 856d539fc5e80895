import { readFile } from "node:fs/promises";
import type { Agent } from "node:https";

/** One request to somebody who helps to find out who asks. */
export interface Outgoing {
  /** https, from the configuration or from what was fetched under it. */
  readonly url: string;
  /** PEM file: who may answer; undefined: the roots that Node comes with. Read at each use, since platforms replace it. */
  readonly caFile: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  /** POSTed; without it the request is a GET. */
  readonly body?: string;
}

export interface Fetched {
  readonly status: number;
  readonly text: string;
}

export interface Fetcher {
  /**
   * Follows no redirection: the caller gets its status.
   * @throws {FetchError}
   */
  fetch(outgoing: Outgoing): Promise<Fetched>;
  close(): void;
}

/** No answer. The message names the host and why, and holds nothing that was sent. */
export class FetchError extends Error {
  override readonly name = "FetchError";
}

/**
 * HTTPS within bounds of time, size and number.
 * @param keepAlive  not for a process that may be frozen: its connections are gone when it goes on
 */
export function httpsFetcher({ timeoutMs = defaultTimeoutMs, keepAlive = true }: { readonly timeoutMs?: number; readonly keepAlive?: boolean } = {}): Fetcher {
  let agent: Agent | undefined;
  const underWay = new Map<string, number>();

  async function fetch({ url, caFile, headers = {}, body }: Outgoing): Promise<Fetched> {
    const { protocol, host } = new URL(url);
    if (protocol !== "https:") throw new FetchError(`${host} is not asked over ${protocol.slice(0, -1)}: its answers would be anybody's`);
    const ca = caFile === undefined ? undefined : await readFile(caFile).catch((error: NodeJS.ErrnoException) => {
      throw new FetchError(`cannot read ${caFile}, by which ${host} is known (${error.code})`);
    });
    // With TLS come the roots of the web, which Node.js reads at once: a CA that asks nobody starts without.
    const { Agent, request } = await import("node:https");
    agent ??= new Agent({ keepAlive, maxSockets: maxSocketsEach });
    return new Promise((resolve, reject) => {
      const fail = ({ message }: Error): void => reject(new FetchError(`no answer from ${host}: ${message}`));
      const outgoing = request(url, {
        agent, method: body === undefined ? "GET" : "POST", ...(ca && { ca }), signal: AbortSignal.timeout(timeoutMs),
        headers: { ...headers, ...(body !== undefined && { "content-length": Buffer.byteLength(body) }) },
      }, (response) => {
        const chunks: Buffer[] = [];
        let sizeBytes = 0;
        response.on("data", (chunk: Buffer) => {
          sizeBytes += chunk.length;
          if (sizeBytes > maxAnswerBytes) response.destroy(new Error(`its answer is longer than ${maxAnswerBytes} bytes`));
          else chunks.push(chunk);
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") })).on("error", fail);
      });
      outgoing.on("error", fail).end(body);
    });
  }

  return {
    async fetch(outgoing) {
      const { host } = new URL(outgoing.url);
      const before = underWay.get(host) ?? 0;
      if (before >= maxUnderWayEach) throw new FetchError(`${maxUnderWayEach} requests to ${host} are under way already`);
      underWay.set(host, before + 1);
      try {
        return await fetch(outgoing);
      } finally {
        const left = (underWay.get(host) ?? 1) - 1;
        if (left > 0) underWay.set(host, left);
        else underWay.delete(host);
      }
    },
    close: () => agent?.destroy(),
  };
}

/** Whoever asks for a certificate waits for this, within the request's own time. */
const defaultTimeoutMs = 5000;
const maxSocketsEach = 16;
/** Strangers can have us ask: what is more than this is answered 503, and other hosts are asked all the same. */
const maxUnderWayEach = 32;
/** Key sets and reviews have some KiB. */
const maxAnswerBytes = 256 * 1024;
