import type { Answer } from "../http/answer.ts";
import type { PipeEnd } from "../pipe.ts";
import type { Http2Error } from "./frames.ts";
import type { FieldText } from "./hpack-encoder.ts";
import type { Http2Request } from "./message.ts";

/** As what a request goes on. */
export interface Http2Route {
  /** Fields that are added, the identity among them. */
  readonly added: readonly FieldText[];
  /** It goes nowhere, and this is what the client is told. */
  readonly refusal?: Answer;
}

/** What the owner of a client's connection decides and wants to know. */
export interface Http2Owner<R extends Http2Route> {
  /** Asked with each request before anything of it is sent on. */
  route(request: Http2Request): R;
  /** Opens the one connection that carries what this client asks */
  open(route: R): PipeEnd | Promise<PipeEnd>;
  /** Whether a request under way would still be let in. @returns what it is told if not */
  recheck(route: R): Answer | undefined;
  /** The server failed before it answered: what the client is told. */
  failed(route: R, error: unknown): Answer;
  /** The head of a response, ours included, is on its way; no route where the request was refused. */
  answered(route: R | undefined, status: number): void;
  /** Nothing of what `route` began is to come. @param whole its response has been passed on to its end */
  ended(route: R, whole: boolean): void;
  /** The client broke the rules, and its connection ends. */
  refused(error: Http2Error): void;
  bug(error: unknown): void;
}

export interface Http2Limits {
  /** A connection on which nothing moves for this long is closed. */
  readonly idleTimeoutMs: number;
  /** How long the preface or a header block may take. Default 10 s. */
  readonly headTimeoutMs?: number;
}

/** A connection on which requests are read. */
export interface ServedHttp2 {
  /** Tells the client to open no more streams, and closes when those that are open have ended. */
  retire(): void;
  /** Ends the streams that policy no longer allows. */
  recheck(): void;
}
