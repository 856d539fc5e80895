import { Buffer } from "node:buffer";
import { joinSockets, type PipeEnd } from "../pipe.ts";
import { writeNow } from "../write-soon.ts";
import { answerText, badResponse, refusalOf, type Answer } from "./answer.ts";
import { writeLastChunk, writeRequestHead, writeResponseHead } from "./forwarded.ts";
import { findHeadEnd, headIncomplete, parseRequestHead, type Framing, type HeadFault, type RequestHead } from "./head.ts";
import { outbox } from "./outbox.ts";
import type { ClientLimits, ClientOwner, Route, ServedClient } from "./owner.ts";
import { noBody, requestBody } from "./request-body.ts";
import { UpstreamError, type ResponseListener, type Upstream } from "./upstream.ts";
import type { IdleWatch } from "./watch.ts";

/**
 * Serves HTTP/1.1 on a connection: one request after another, in their order, each to the upstream its route names and its response
 * back; streamed, with backpressure both ways, 1xx, trailers, early responses and WebSocket; the failure of each side reaches the other.
 * @param first bytes already read
 */
export function serveClient<R extends Route>(end: PipeEnd, first: Buffer | undefined, owner: ClientOwner<R>, limits: ClientLimits, watch: IdleWatch): ServedClient {
  const { socket, lent = false } = end;
  const { idleTimeoutMs, headTimeoutMs = defaultHeadTimeoutMs } = limits;
  const out = outbox(socket);
  let phase: Phase = "head";
  let activeMs = watch.nowMs();
  /** When the head, the discarding or the closing under way began. */
  let sinceMs: number | undefined;
  let retired = false;
  let paused = false;
  /** Read but not understood yet. */
  let pending: Buffer | undefined = first;
  let scanned = 0;
  let skippedLine = false;
  let isFirst = true;
  // Of the exchange under way:
  let head: RequestHead | undefined;
  let route: R | undefined;
  let upstream: Upstream | undefined;
  let retries = 0;
  let body = noBody;
  /** Where the next request would begin is not known. */
  let unreadable = false;
  let continued = false;
  let closes = false;
  let answered = false;
  /** The owner knows of an exchange and not of its end. */
  let begun = false;
  let responseFraming: Framing = "none";

  // --- the request ---

  function onData(chunk: Buffer): void {
    activeMs = watch.nowMs();
    pending = pending === undefined ? chunk : Buffer.concat([pending, chunk]);
    consumeSafely();
    if (lent && pending !== undefined) pending = Buffer.from(pending);
  }

  function consumeSafely(): void {
    try {
      consume();
    } catch (error) {
      onBug(error);
    }
  }

  function consume(): void {
    let starved = false;
    while (pending !== undefined && !starved) {
      if (phase === "head") {
        // Answers that nobody reads are no reason to ask for more.
        if (socket.writableNeedDrain) break;
        starved = !takeHead(pending);
      } else if ((phase === "exchange" || phase === "discard") && !body.done) {
        takeBody(pending);
        if (phase === "discard" && body.done) nextRequest();
      } else break;
    }
    if (phase === "closing" || phase === "over") pending = undefined;
    const full = upstream !== undefined && !upstream.out.flush(lent);
    if (full || (pending !== undefined && !starved)) pause();
    else resume();
  }

  /** @returns false if more bytes are needed, or there will be no further request */
  function takeHead(bytes: Buffer): boolean {
    // RFC 9112 2.2: one empty line before a request is old clients' habit.
    if (!skippedLine && bytes[0] === cr) {
      if (bytes.length === 1) return wait(1);
      if (bytes[1] === lf) {
        skippedLine = true;
        scanned = 0;
        pending = bytes.length === 2 ? undefined : bytes.subarray(2);
        return true;
      }
    }
    const headEnd = findHeadEnd(bytes, 0, scanned);
    if (headEnd === headIncomplete) return wait(bytes.length);
    if (isFirst && owner.http2 !== undefined && !skippedLine && beginsHttp2(bytes)) {
      leave();
      owner.http2(Buffer.from(bytes));
      return false;
    }
    isFirst = false;
    // It may be written later, and more than once.
    const parsed = typeof headEnd === "string" ? headEnd : parseRequestHead(lent ? Buffer.from(bytes.subarray(0, headEnd)) : bytes, 0, headEnd);
    if (typeof parsed === "string") return refuse(parsed);
    pending = headEnd === bytes.length ? undefined : bytes.subarray(headEnd as number);
    scanned = 0;
    skippedLine = false;
    sinceMs = undefined;
    begin(parsed);
    return true;
  }

  function wait(length: number): false {
    scanned = length;
    sinceMs ??= watch.nowMs();
    return false;
  }

  function begin(parsed: RequestHead): void {
    head = parsed;
    route = undefined;
    upstream = undefined;
    retries = 0;
    continued = answered = false;
    // A client that wanted to switch and may not would go on in the other protocol.
    closes = !parsed.persistent || parsed.upgrade;
    body = requestBody(parsed);
    phase = "exchange";
    if (parsed.method === "CONNECT") return connect(parsed);
    begun = true;
    const found = owner.route(parsed);
    if ("status" in found) {
      closes ||= found.status === 400;
      return answer(found);
    }
    route = found;
    if (parsed.upgrade && parsed.framing !== "none") return answer(upgradeWithBody);
    attempt();
  }

  function connect(parsed: RequestHead): void {
    const taken = parsed.framing === "none" ? owner.connect(parsed) : connectWithBody;
    if (typeof taken !== "function") {
      closes = true;
      return answer(taken);
    }
    const rest = Buffer.from(pending ?? nothing);
    leave();
    taken(rest);
  }

  function attempt(): void {
    phase = "dialing";
    const asked = route!;
    const got = asked.pool.acquire();
    if (!(got instanceof Promise)) return send(got);
    // Its request may have been given up, and the next one, to another server, be waiting by then.
    const isAwaited = (): boolean => phase === "dialing" && route === asked;
    got.then((opened) => {
      if (!isAwaited()) return asked.pool.release(opened);
      send(opened);
      consumeSafely();
    }, (error: unknown) => {
      if (isAwaited()) failed(error);
    }).catch(onBug);
  }

  function send(to: Upstream): void {
    upstream = to;
    phase = "exchange";
    to.begin(listener, head!.method === "HEAD", head!.upgrade);
    writeRequestHead(to.out, head!, route!);
    if (body.done) {
      to.sent();
      to.out.flush(false);
    }
  }

  function takeBody(bytes: Buffer): void {
    const taken = body.take(bytes, upstream?.out);
    if (typeof taken === "string") return void refuse(taken);
    pending = taken === bytes.length ? undefined : bytes.subarray(taken);
    if (body.done) upstream?.sent();
  }

  // --- the response ---

  const listener: ResponseListener = {
    information(information) {
      activeMs = watch.nowMs();
      if (head!.minor === 0) return;
      if (information.status === 100) continued = true;
      writeResponseHead(out, information, "none", undefined);
    },
    head(response) {
      const { framing } = response;
      responseFraming = framing !== "chunked" && framing !== "close" ? framing : head!.minor === 0 ? "close" : "chunked";
      // The client will not send the body it was to be asked for, or would, and nobody knows which (RFC 9110 10.1.1).
      const unasked = head!.expectsContinue && !continued && !body.done;
      closes ||= retired || unasked || responseFraming === "close";
      answered = true;
      owner.answered(route, response.status);
      writeResponseHead(out, response, responseFraming, closes ? "close" : head!.minor === 0 ? "keep-alive" : undefined);
    },
    body(bytes, from, to) {
      if (responseFraming !== "chunked") return out.bytes(bytes, from, to);
      out.text(`${(to - from).toString(16)}\r\n`);
      out.bytes(bytes, from, to);
      out.text("\r\n");
    },
    flush() {
      activeMs = watch.nowMs();
      if (!out.flush(upstream!.borrowed)) upstream!.end.socket.pause();
    },
    ended(trailers) {
      activeMs = watch.nowMs();
      if (responseFraming === "chunked") writeLastChunk(out, trailers);
      out.flush(upstream!.borrowed);
      upstream = undefined;
      tellEnd(true);
      if (!body.done && !closes) {
        phase = "discard";
        sinceMs = watch.nowMs();
      } else nextRequest();
      consumeSafely();
    },
    switched(response, rest) {
      answered = true;
      owner.answered(route, 101);
      const server = upstream!.handOver();
      writeResponseHead(out, response, "none", undefined);
      if (rest.length > 0) out.bytes(rest, 0, rest.length);
      out.flush(upstream!.borrowed);
      if (pending !== undefined) server.socket.write(Buffer.from(pending));
      tellEnd(true);
      leave();
      joinSockets(end, server, idleTimeoutMs);
    },
    failed,
    drained() {
      if (paused) consumeSafely();
    },
    bug: onBug,
  };

  function failed(error: unknown): void {
    upstream = undefined;
    if (phase !== "exchange" && phase !== "dialing") return;
    // What the client has got must not pass for the whole.
    if (answered) return breakOff();
    // RFC 9112 9.3.1: the upstream closed an idle connection just as we used it, and the request may be sent twice.
    const stale = error instanceof UpstreamError && error.stale && head!.framing === "none" && idempotentMethods.has(head!.method);
    if (stale && retries++ < maxRetries) return attempt();
    answer(error instanceof UpstreamError && error.fault !== undefined ? badResponse(error.fault) : owner.failed(route!, error));
    consumeSafely();
  }

  function onDrain(): void {
    upstream?.end.socket.resume();
    if (pending !== undefined) consumeSafely();
  }

  function answer(given: Answer): void {
    answered = true;
    owner.answered(route, given.status);
    closes ||= retired || unreadable || !body.done || head?.minor !== 1;
    const text = Buffer.from(answerText(given, closes, head?.method === "HEAD"));
    out.bytes(text, 0, text.length);
    out.flush(false);
    tellEnd(true);
    nextRequest();
  }

  /** @returns false: nothing more is read from this client */
  function refuse(fault: HeadFault): false {
    upstream?.abandon();
    upstream = undefined;
    unreadable = true;
    if (phase !== "head" && answered) breakOff();
    else answer(refusalOf(fault));
    return false;
  }

  // --- what comes after it ---

  function tellEnd(whole: boolean): void {
    if (!begun) return;
    begun = false;
    owner.ended(whole);
  }

  function nextRequest(): void {
    head = route = undefined;
    sinceMs = undefined;
    activeMs = watch.nowMs();
    if (closes || retired) shut();
    else phase = "head";
  }

  /** Closes once everything is written. Who is still sending would be reset before the answer was read, so that is let run out. */
  function shut(): void {
    pending = undefined;
    if (body.done && !unreadable) {
      phase = "over";
      socket.destroySoon();
    } else {
      phase = "closing";
      sinceMs = watch.nowMs();
      socket.end();
      resume();
    }
  }

  function breakOff(): void {
    phase = "over";
    tellEnd(false);
    upstream?.abandon();
    upstream = undefined;
    // What came of the answer is the client's.
    writeNow(socket);
    end.reset();
  }

  function onBug(error: unknown): void {
    owner.bug(error);
    breakOff();
  }

  function onEnd(): void {
    // One who ends in the middle of an exchange does not wait for its answer.
    if (phase === "exchange" || phase === "dialing") return breakOff();
    phase = "over";
    socket.destroySoon();
  }

  function onClose(): void {
    unwatch();
    phase = "over";
    tellEnd(false);
    upstream?.abandon();
    upstream = undefined;
  }

  function check(nowMs: number): void {
    if (phase === "exchange" || phase === "dialing") {
      if (nowMs - activeMs < idleTimeoutMs) return;
      upstream?.abandon();
      upstream = undefined;
      if (answered) breakOff();
      else answer(notInTime);
    } else if (sinceMs !== undefined && phase === "head") {
      if (nowMs - sinceMs < headTimeoutMs) return;
      unreadable = true;
      answer(headNotInTime);
    } else if (phase === "head") {
      if (nowMs - activeMs >= keepAliveMs) shut();
    } else if (phase === "over") {
      // The last answer is written, and nobody reads it.
      if (nowMs - activeMs >= idleTimeoutMs) socket.destroy();
    } else if (sinceMs !== undefined && nowMs - sinceMs >= lingerMs) socket.destroy();
  }

  /** Leaves the connection to a tunnel. */
  function leave(): void {
    phase = "over";
    unwatch();
    socket.off("data", onData).off("drain", onDrain).off("end", onEnd).off("close", onClose).pause();
  }

  function pause(): void {
    if (paused) return;
    paused = true;
    socket.pause();
  }

  function resume(): void {
    if (!paused) return;
    paused = false;
    socket.resume();
  }

  const unwatch = watch.add(check);
  // What went wrong is told by 'close', which follows.
  socket.on("error", () => undefined).on("data", onData).on("drain", onDrain).on("end", onEnd).on("close", onClose);
  if (pending !== undefined) consumeSafely();
  return {
    retire() {
      retired = true;
      if (phase === "head" && sinceMs === undefined) shut();
    },
  };
}

/** The first line and the empty one, which no request of HTTP/1 is. @source RFC 9113 section 3.4 */
function beginsHttp2(bytes: Buffer): boolean {
  return bytes[0] === letterP && bytes[1] === letterR && bytes.length >= http2Preface.length && bytes.subarray(0, http2Preface.length).equals(http2Preface);
}

type Phase =
  /** Between requests, or within a head. */
  | "head"
  /** The request waits for a connection. */
  | "dialing"
  | "exchange"
  /** The response is out and the rest of the request is dropped. */
  | "discard"
  /** The last answer is out and whatever comes is dropped. */
  | "closing"
  | "over";

const [lf, cr, letterP, letterR] = [10, 13, 80, 82];
const http2Preface = Buffer.from("PRI * HTTP/2.0\r\n\r\n", "latin1");
const nothing = Buffer.alloc(0);
const idempotentMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);
/** Stale connections of one pool fail one after another, so a second and third may be stale too. */
const maxRetries = 3;
const defaultHeadTimeoutMs = 10_000;
/** Longer than any pool of ours keeps an idle connection, so that the side which sends is the side which closes. */
const keepAliveMs = 75_000;
/** How long a client may go on sending what nobody will read (nginx's lingering_timeout). */
const lingerMs = 5000;
const upgradeWithBody: Answer = { status: 400, text: "countersign-proxy: 400: an upgrade has no body" };
const connectWithBody: Answer = { status: 400, text: "countersign-proxy: 400: CONNECT has no body" };
const headNotInTime: Answer = { status: 408, text: "countersign-proxy: 408: the request head did not arrive in time" };
const notInTime: Answer = { status: 504, text: "countersign-proxy: 504: nothing moved for the idle timeout, and there is no answer yet" };
