import type { PipeEnd } from "../pipe.ts";
import { chunkedBody, readChunks, type ChunkedBody } from "./chunked.ts";
import type { Fields } from "./fields.ts";
import { findHeadEnd, headIncomplete, parseResponseHead, type HeadFault, type ResponseHead } from "./head.ts";
import { outbox, type Outbox } from "./outbox.ts";

/** Told of a response as it comes. What it throws is a bug of ours and ends the exchange. */
export interface ResponseListener {
  /** 1xx but 101. */
  information(head: ResponseHead): void;
  head(head: ResponseHead): void;
  /** Data of the body; where the upstream is `borrowed`, valid until this returns or `flush` does. */
  body(bytes: Buffer, from: number, to: number): void;
  /** For now there is no more. */
  flush(): void;
  /** The response is whole and the connection is no longer this exchange's. */
  ended(trailers: Fields | undefined): void;
  /** 101: `handOver` the connection now, and the bytes that came behind the head. */
  switched(head: ResponseHead, rest: Buffer): void;
  /** There will be no (more) response. */
  failed(error: UpstreamError): void;
  drained(): void;
  bug(error: unknown): void;
}

/** Why there was no whole response. */
export class UpstreamError extends Error {
  override readonly name = "UpstreamError";
  /** Of the system or ours. */
  readonly code: string | undefined;
  /** What was wrong with the response's form. */
  readonly fault: HeadFault | undefined;
  /** A connection that had carried exchanges before ended without a byte of response: the server closed it as we began. */
  readonly stale: boolean;

  constructor(message: string, { code, fault, stale = false, cause }: { readonly code?: string | undefined; readonly fault?: HeadFault; readonly stale?: boolean; readonly cause?: unknown }) {
    super(message, { cause });
    this.code = code;
    this.fault = fault;
    this.stale = stale;
  }
}

/** A connection to an HTTP server that carries one exchange at a time. */
export interface Upstream {
  readonly end: PipeEnd;
  readonly out: Outbox;
  /** True where the bytes of a response come in a buffer that is used again. */
  readonly borrowed: boolean;
  /** Begins an exchange. @param switches 101 may answer it */
  begin(listener: ResponseListener, toHead: boolean, switches: boolean): void;
  /** The request has been written to its end. */
  sent(): void;
  /** Ends exchange and connection; the server cannot take the request for whole. */
  abandon(): void;
  /** No further exchange after this one. */
  retire(): void;
  /** Ends it if no exchange is under way. */
  closeIdle(): void;
  /** Leaves the connection to a tunnel. */
  handOver(): PipeEnd;
}

/** Told when a connection may carry the next exchange, and when it never will again. */
export interface UpstreamKeeper {
  free(upstream: Upstream): void;
  gone(upstream: Upstream): void;
}

/**
 * Reads responses from a connection, strictly; whatever comes unasked, or behind a response, ends it, so that nothing can be taken
 * for the answer to the next request.
 * @param retired its first exchange is its last
 */
export function upstreamConnection(end: PipeEnd, keeper: UpstreamKeeper, retired = false): Upstream {
  const { socket } = end;
  let listener: ResponseListener | undefined;
  let toHead = false;
  let switches = false;
  let sent = false;
  let used = false;
  let gone = false;
  let informations = 0;
  /** Something of a response has come. */
  let begun = false;
  let response: ResponseHead | undefined;
  let left = 0;
  let chunks: ChunkedBody | undefined;
  /** A head that is not whole yet. */
  let held: Buffer | undefined;
  let problem: NodeJS.ErrnoException | undefined;

  const upstream: Upstream = {
    end,
    out: outbox(socket),
    borrowed: end.lent === true,
    begin(next, head, mayswitch) {
      listener = next;
      toHead = head;
      switches = mayswitch;
      sent = false;
      informations = 0;
      begun = false;
      response = undefined;
    },
    sent: () => void (sent = true),
    abandon() {
      listener = undefined;
      forget();
      end.reset();
    },
    retire() {
      retired = true;
      upstream.closeIdle();
    },
    closeIdle() {
      if (listener !== undefined) return;
      forget();
      socket.destroySoon();
    },
    handOver() {
      listener = undefined;
      forget();
      socket.off("data", onData).off("drain", onDrain).off("end", onEnd).off("error", onError).off("close", onClose);
      return end;
    },
  };

  function onData(bytes: Buffer): void {
    const told = listener;
    try {
      if (told === undefined) leave();
      else take(bytes);
    } catch (error) {
      upstream.abandon();
      told?.bug(error);
    }
  }

  function take(chunk: Buffer): void {
    const scanned = held?.length ?? 0;
    const bytes = held === undefined ? chunk : Buffer.concat([held, chunk]);
    held = undefined;
    begun = true;
    let at = 0;
    while (at < bytes.length) {
      if (response === undefined) {
        const headEnd = findHeadEnd(bytes, at, at === 0 ? scanned : at);
        if (typeof headEnd === "string") return refuse(headEnd);
        if (headEnd === headIncomplete) {
          held = Buffer.from(bytes.subarray(at));
          break;
        }
        const head = parseResponseHead(bytes, at, headEnd, toHead);
        if (typeof head === "string") return refuse(head);
        at = headEnd;
        if (head.upgrade && switches) return listener!.switched(head, bytes.subarray(at));
        if (head.status < 200) {
          if (head.status === 101 || ++informations > maxInformations) return refuse("malformed");
          listener!.information(head);
          continue;
        }
        response = head;
        left = head.length;
        chunks = head.framing === "chunked" ? chunkedBody() : undefined;
        listener!.head(head);
        if (head.framing === "none" || (head.framing === "length" && left === 0)) return finish(at < bytes.length);
      } else if (response.framing === "length") {
        const to = Math.min(bytes.length, at + left);
        listener!.body(bytes, at, to);
        left -= to - at;
        at = to;
        if (left === 0) return finish(at < bytes.length);
      } else if (chunks !== undefined) {
        const to = readChunks(chunks, bytes, at, (from, to) => listener!.body(bytes, from, to));
        if (typeof to === "string") return refuse(to);
        at = to;
        if (chunks.state === "done") return finish(at < bytes.length);
      } else {
        listener!.body(bytes, at, bytes.length);
        break;
      }
    }
    listener!.flush();
  }

  /** @param more bytes that nobody asked for */
  function finish(more: boolean): void {
    const told = listener!;
    listener = undefined;
    used = true;
    // It answered without reading the whole request, so where the next one would begin is its secret.
    if (more || !sent) leave();
    else if (retired || !response!.persistent) upstream.closeIdle();
    else keeper.free(upstream);
    told.ended(chunks?.trailers);
  }

  function refuse(fault: HeadFault): void {
    fail(new UpstreamError(`the response is malformed (${fault})`, { fault }));
  }

  function fail(error: UpstreamError): void {
    const told = listener;
    upstream.abandon();
    told?.failed(error);
  }

  /** No exchange will use it again. */
  function leave(): void {
    forget();
    socket.destroy();
  }

  function forget(): void {
    if (gone) return;
    gone = true;
    keeper.gone(upstream);
  }

  const onDrain = (): void => listener?.drained();

  function onEnd(): void {
    if (listener !== undefined && response?.framing === "close") return finish(false);
    if (listener === undefined) leave();
    else fail(new UpstreamError("the connection was closed", { code: "ECONNRESET", stale: used && !begun }));
  }

  const onError = (error: Error): void => void (problem = error);

  function onClose(): void {
    forget();
    const told = listener;
    listener = undefined;
    const [message, code] = problem === undefined ? ["the connection was closed", "ECONNRESET"] : [problem.message, problem.code];
    told?.failed(new UpstreamError(message, { code, stale: used && !begun, cause: problem }));
  }

  socket.on("data", onData).on("drain", onDrain).on("end", onEnd).on("error", onError).on("close", onClose);
  return upstream;
}

/** 100, 102 and a few 103 are what servers send; a stream of them would never end. */
const maxInformations = 32;
