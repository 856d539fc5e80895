import { once } from "node:events";
import { constants, performServerHandshake, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { hostToListenOn } from "../config/values.ts";
import { decodeFrame, encodeFrame, grpcCode, grpcContentType, statusHeaders, type GrpcStatus } from "../pki/grpc.ts";
import { connectionPlaces } from "./connection-places.ts";
import { RuntimeError } from "./errors.ts";

/** Unary gRPC over TLS 1.3, for clients that know that it is HTTP/2 and those that ask. */
export interface GrpcListener {
  readonly port: number;
  /** Presents this key and chain from the next handshake on. */
  present(credentials: { readonly key: string; readonly chain: string }): void;
  /** From now on calls are answered; before, they are UNAVAILABLE. */
  serve(answer: (path: string, message: Uint8Array) => Promise<Uint8Array | GrpcStatus>): void;
  /** Takes no new connection and cuts what is left at the deadline. */
  drain(deadlineMs: number): Promise<void>;
}

export interface GrpcListenerLimits {
  readonly requestTimeoutMs: number;
  readonly maxConnections: number;
}

/**
 * Opens the listener. It asks for no client certificate: a proxy whose certificate has expired has to get in.
 * @throws {RuntimeError} listen_failed
 * @source linkerd2-proxy, linkerd/app/core/src/control.rs: HTTP/2 with prior knowledge, without ALPN
 */
export async function openGrpcListener(host: string, port: number, flag: string, { requestTimeoutMs, maxConnections }: GrpcListenerLimits): Promise<GrpcListener> {
  const sessions = new Set<ServerHttp2Session>();
  let answer: Parameters<GrpcListener["serve"]>[0] = async () => ({ code: grpcCode.unavailable, message: "the CA is starting; try again" });
  const server = createServer({ handshakeTimeout: handshakeTimeoutMs, ALPNProtocols: ["h2"], minVersion: "TLSv1.3", noDelay: true });
  const places = connectionPlaces(server, maxConnections);
  // A peer that breaks its handshake is its own problem and no event of ours.
  server.on("tlsClientError", (_, socket) => void socket.destroy());
  server.on("secureConnection", (socket) => {
    socket.on("error", () => undefined);
    const session = performServerHandshake(socket, {
      settings: { maxConcurrentStreams: maxStreamsOfConnection, maxHeaderListSize: maxHeaderBytes, enablePush: false }, maxHeaderListPairs: maxHeaders,
    });
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => undefined); // its streams end with it; there is nobody to tell
    session.setTimeout(idleTimeoutMs, () => session.destroy());
    session.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void serveStream(stream, headers, socket));
  });

  async function serveStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, socket: TLSSocket): Promise<void> {
    stream.on("error", () => undefined); // a client that went away
    const fault = headersFault(headers);
    const request = fault ?? (await readRequest(stream, requestTimeoutMs));
    if (!stream.closed) stream.once("close", places.begin(socket));
    const answered = "code" in request ? request : await answer(headers[":path"] ?? "", request).catch((): GrpcStatus => ({ code: grpcCode.internal, message: "a fault of the CA" }));
    if (!stream.destroyed && !stream.closed) respond(stream, answered);
  }

  server.listen(port, hostToListenOn(host));
  await Promise.race([once(server, "listening"), once(server, "error").then(([cause]: NodeJS.ErrnoException[]) => {
    throw new RuntimeError("listen_failed", `cannot listen on ${host}:${port} (${cause?.code}); choose another address with ${flag}`, { cause });
  })]);
  return {
    port: (server.address() as AddressInfo).port,
    present: ({ key, chain }) => server.setSecureContext({ key, cert: chain, minVersion: "TLSv1.3" }),
    serve: (next) => void (answer = next),
    async drain(deadlineMs) {
      const closed = once(server, "close");
      server.close();
      for (const session of sessions) session.close();
      const deadline = setTimeout(() => sessions.forEach((session) => session.destroy()), deadlineMs);
      await closed;
      clearTimeout(deadline);
    },
  };
}

function headersFault(headers: IncomingHttpHeaders): GrpcStatus | undefined {
  if (headers[":method"] === "POST" && /^application\/grpc(?:[+;]|$)/.test(headers["content-type"] ?? "")) return undefined;
  return { code: grpcCode.invalidArgument, message: "this is a gRPC endpoint: POST with content-type application/grpc" };
}

/** Reads the request to its end, bounded in bytes and time. @returns the message, or what is wrong with it */
function readRequest(stream: ServerHttp2Stream, timeoutMs: number): Promise<Uint8Array | GrpcStatus> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const timer = setTimeout(() => done({ code: grpcCode.deadlineExceeded, message: "the request did not end" }), timeoutMs);
    const done = (request: Uint8Array | GrpcStatus): void => {
      clearTimeout(timer);
      resolve(request);
    };
    stream.on("data", (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes <= maxRequestBytes) return void chunks.push(chunk);
      chunks.length = 0;
      done({ code: grpcCode.resourceExhausted, message: `the request has more than ${maxRequestBytes} bytes` });
    });
    stream.once("end", () => done(decodeFrame(Buffer.concat(chunks))));
    stream.once("close", () => done({ code: grpcCode.cancelled, message: "the client went away" }));
  });
}

function respond(stream: ServerHttp2Stream, answer: Uint8Array | GrpcStatus): void {
  const head = { ":status": 200, "content-type": grpcContentType };
  if ("code" in answer) {
    stream.respond({ ...head, ...statusHeaders(answer) }, { endStream: true });
    if (stream.readableEnded) return;
    // A request that is under way may end; one that does not is told to (RFC 9113 8.1: NO_ERROR after a whole answer).
    stream.resume();
    const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), lingerMs);
    stream.once("close", () => clearTimeout(timer));
    return;
  }
  stream.respond(head, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": String(grpcCode.ok) }));
  stream.end(encodeFrame(answer));
}

const handshakeTimeoutMs = 10_000;
/** A client makes one call in hours. */
const idleTimeoutMs = 60_000;
/** A token has up to 16 KiB, a CSR 8. */
const maxRequestBytes = 32 * 1024;
/** What has been answered may end by itself for this long. */
const lingerMs = 1000;
const maxStreamsOfConnection = 16;
const maxHeaders = 64;
const maxHeaderBytes = 16_384;
