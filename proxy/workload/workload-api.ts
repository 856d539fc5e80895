import { constants, createServer, type Http2Server, type Http2Session, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { IdentitySource } from "../identity/source.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { isStreamed, streamAnswer, type Answer, type Method, type StreamedMethod } from "./answers.ts";
import { decodeFrame, encodeFrame, grpcCode, grpcContentType, statusHeaders, type GrpcStatus } from "../../ca/pki/grpc.ts";
import { jwtCalls } from "./jwt-calls.ts";
import type { JwtSvids } from "./jwt-svids.ts";

/** The Workload API over HTTP/2, not yet listening. */
export interface WorkloadApi {
  readonly server: Http2Server;
  /** Ends every stream with UNAVAILABLE, closes every connection. */
  close(): void;
}

export interface WorkloadApiDeps {
  readonly source: IdentitySource;
  readonly jwtSvids: JwtSvids;
  readonly now: () => number;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * Makes the SPIFFE Workload API: each stream gets the whole state at once, and again whenever it changes. A stream that reads slowly
 * gets the newest state when it has read the last.
 * @source SPIFFE Workload API and Workload Endpoint; grpc/grpc doc/PROTOCOL-HTTP2.md
 */
export function workloadApi({ source, jwtSvids, now, log, metrics }: WorkloadApiDeps): WorkloadApi {
  const calls = metrics.counter("workload_api_calls_total", "Calls of the Workload API, by method and gRPC status.", ["method", "status"]);
  const sessions = new Set<ServerHttp2Session>();
  const watchers = new Set<Watcher>();
  const jwt = jwtCalls({ source, jwtSvids, now });
  let unaryCalls = 0;
  /** One encoding for all streams. */
  const latest = new Map<StreamedMethod, Answer>();
  let hadIdentity = false;
  let due = false;

  function answerOf(method: StreamedMethod): Answer {
    const known = latest.get(method);
    if (known !== undefined) return known;
    const answer = streamAnswer(method, source, hadIdentity);
    latest.set(method, answer);
    return answer;
  }

  function publish(): void {
    due = false;
    latest.clear();
    hadIdentity ||= source.identity() !== undefined;
    for (const watcher of [...watchers]) watcher.send();
  }

  /** A renewal is two swaps in one turn, and one message. */
  const unsubscribe = source.onChange(() => {
    // Not later: a call that comes before the others are told must not get what is no longer so.
    latest.clear();
    if (due) return;
    due = true;
    queueMicrotask(publish);
  });
  hadIdentity = source.identity() !== undefined;

  const server = createServer({
    settings: { maxConcurrentStreams: maxStreamsOfConnection, maxHeaderListSize: maxHeaderBytes, enablePush: false },
    maxHeaderListPairs: maxHeaders,
  });
  server.maxConnections = maxConnections;
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => undefined); // its streams end with it; there is nobody to tell
    // Streams are silent for hours: only a connection without any is idle.
    session.setTimeout(idleTimeoutMs, () => void (session.closed || [...watchers].some((watcher) => watcher.session === session) || session.close()));
  });
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on("error", () => undefined); // a client that went away
    const method = methodOf(headers);
    const fail = (status: GrpcStatus): void => {
      calls.inc({ method: method ?? "other", status: String(status.code) });
      end(stream, status);
    };
    const fault = headersFault(headers) ?? (method === undefined ? unknownMethod : undefined);
    if (fault !== undefined) return fail(fault);
    void readRequest(stream).then((message) => {
      if (stream.destroyed || stream.closed || method === undefined) return;
      if ("code" in message) return fail(message);
      if (watchers.size + unaryCalls >= maxStreams) return fail({ code: grpcCode.unavailable, message: `${maxStreams} calls are open; try again later` });
      if (!isStreamed(method)) return void answerOnce(stream, () => jwt.answer(method, message, hadIdentity), fail, () => calls.inc({ method, status: String(grpcCode.ok) }));
      const watcher = watch(stream, () => answerOf(method), (code) => calls.inc({ method, status: String(code) }));
      watchers.add(watcher);
      stream.once("close", () => watchers.delete(watcher));
      watcher.send();
    });
  });

  async function answerOnce(stream: ServerHttp2Stream, answer: () => Promise<Answer>, fail: (status: GrpcStatus) => void, succeed: () => void): Promise<void> {
    unaryCalls++;
    try {
      const message = await answer();
      if (stream.destroyed || stream.closed) return;
      if ("code" in message) return fail(message);
      stream.respond({ ":status": 200, "content-type": grpcContentType }, { waitForTrailers: true });
      stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": String(grpcCode.ok) }));
      stream.end(encodeFrame(message));
      succeed();
    } catch (err) {
      log.error({ err }, "a call of the Workload API failed");
      fail({ code: grpcCode.internal, message: "a fault of the proxy, whose log has it" });
    } finally {
      unaryCalls--;
    }
  }

  return {
    server,
    close() {
      unsubscribe();
      for (const { stop } of watchers) stop();
      server.close();
      for (const session of sessions) {
        session.close();
        const timer = setTimeout(() => session.destroy(), lingerMs);
        session.once("close", () => clearTimeout(timer));
      }
    },
  };
}

interface Watcher {
  readonly session: Http2Session | undefined;
  send(): void;
  stop(): void;
}

/** Keeps a stream at the newest answer; one that may have none any more ends. */
function watch(stream: ServerHttp2Stream, answer: () => Answer, onEnd: (code: number) => void): Watcher {
  let sent: Uint8Array | undefined;
  let ended = false;

  function finish(status: GrpcStatus): void {
    if (ended) return;
    ended = true;
    onEnd(status.code);
    end(stream, status);
  }

  function send(): void {
    if (ended || stream.destroyed || stream.writableNeedDrain) return;
    const next = answer();
    if ("code" in next) return finish(next);
    if (sent !== undefined && Buffer.compare(sent, next) === 0) return;
    if (sent === undefined) {
      stream.respond({ ":status": 200, "content-type": grpcContentType }, { waitForTrailers: true });
    }
    sent = next;
    stream.write(encodeFrame(next));
  }

  stream.on("drain", send);
  // A client that cancels has ended the call itself.
  stream.once("close", () => void (ended ||= (onEnd(grpcCode.cancelled), true)));
  return { session: stream.session, send, stop: () => finish({ code: grpcCode.unavailable, message: "the proxy is shutting down" }) };
}

/** Workload Endpoint section 3: without this header it may be a request that somebody tricked another program into (SSRF). */
function headersFault(headers: IncomingHttpHeaders): GrpcStatus | undefined {
  if (headers[":method"] !== "POST" || !/^application\/grpc(?:[+;]|$)/.test(headers["content-type"] ?? "")) {
    return { code: grpcCode.invalidArgument, message: "this is a gRPC endpoint: POST with content-type application/grpc" };
  }
  if (headers["workload.spiffe.io"] !== "true") {
    return { code: grpcCode.invalidArgument, message: "the metadata workload.spiffe.io: true is missing; SPIFFE libraries send it" };
  }
  return undefined;
}

function methodOf({ ":path": path }: IncomingHttpHeaders): Method | undefined {
  return methods.find((method) => path === `/SpiffeWorkloadAPI/${method}`);
}

/** Reads the request to its end, bounded in bytes and time. @returns the message, or what is wrong with it */
function readRequest(stream: ServerHttp2Stream): Promise<Answer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const timer = setTimeout(() => resolve({ code: grpcCode.deadlineExceeded, message: "the request did not end" }), requestTimeoutMs);
    const done = (request: Answer): void => {
      clearTimeout(timer);
      resolve(request);
    };
    stream.on("data", (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes > maxRequestBytes) {
        chunks.length = 0;
        return done({ code: grpcCode.resourceExhausted, message: `the request has more than ${maxRequestBytes} bytes` });
      }
      chunks.push(chunk);
    });
    stream.once("end", () => done(decodeFrame(Buffer.concat(chunks))));
    stream.once("close", () => done({ code: grpcCode.cancelled, message: "the client went away" }));
  });
}

/** Ends a call with its status: in trailers after messages, else in the only headers. */
function end(stream: ServerHttp2Stream, ended: GrpcStatus): void {
  const status = statusHeaders(ended);
  if (stream.destroyed) return;
  if (stream.headersSent) {
    stream.once("wantTrailers", () => stream.sendTrailers(status));
    stream.end();
  } else {
    stream.respond({ ":status": 200, "content-type": grpcContentType, ...status }, { endStream: true });
  }
  if (stream.readableEnded) return;
  // A request that is under way may end; one that does not is told to (RFC 9113 8.1: NO_ERROR after a whole answer).
  stream.resume();
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), lingerMs);
  stream.once("close", () => clearTimeout(timer));
}

const methods: readonly Method[] = ["FetchX509SVID", "FetchX509Bundles", "FetchJWTSVID", "FetchJWTBundles", "ValidateJWTSVID"];
const unknownMethod: GrpcStatus = { code: grpcCode.unimplemented, message: `this endpoint has ${methods.join(", ")}` };
/** A token to validate has 16 KiB at most, its audience far less. */
const maxRequestBytes = 20 * 1024;
const requestTimeoutMs = 10_000;
const idleTimeoutMs = 300_000;
/** What has been answered may end by itself for this long. */
const lingerMs = 1000;
const maxConnections = 256;
const maxStreamsOfConnection = 32;
const maxStreams = 1024;
const maxHeaders = 64;
const maxHeaderBytes = 16_384;
