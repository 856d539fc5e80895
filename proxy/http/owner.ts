import type { Answer } from "./answer.ts";
import type { RequestChanges } from "./forwarded.ts";
import type { RequestHead } from "./head.ts";
import type { UpstreamPool } from "./pool.ts";

/** Where a request goes, and as what. */
export interface Route extends RequestChanges {
  readonly pool: UpstreamPool;
}

/** What the owner of a client's connection decides and wants to know. */
export interface ClientOwner<R extends Route> {
  /** Asked with a whole head before anything is sent. */
  route(head: RequestHead): R | Answer;
  /** The connection begins as HTTP/2 does. It is handed over, paused, with all that came; where left out it is refused. */
  http2?(first: Buffer): void;
  /** A CONNECT. The function is handed the connection, paused, with what came behind the head. */
  connect(head: RequestHead): Answer | ((rest: Buffer) => void);
  /** The upstream failed before it answered: what the client is told. `route` is what `route` gave. */
  failed(route: R, error: unknown): Answer;
  /** The head of a response, ours included, is on its way; no route where the request was refused. */
  answered(route: R | undefined, status: number): void;
  /** Nothing of the exchange that `route` began is to come. @param whole its response has been passed on to its end */
  ended(whole: boolean): void;
  /** An exchange was broken off because our own code threw. */
  bug(error: unknown): void;
}

export interface ClientLimits {
  /** An exchange in which nothing moves for this long is broken off. */
  readonly idleTimeoutMs: number;
  /** How long a request's head may take. Default 10 s. */
  readonly headTimeoutMs?: number;
}

/** A connection on which requests are read. */
export interface ServedClient {
  /** No request after the one under way; closes now if there is none. */
  retire(): void;
}
