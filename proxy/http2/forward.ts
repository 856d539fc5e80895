import { randomBytes } from "node:crypto";
import type { Answer } from "../http/answer.ts";
import type { IdleWatch } from "../http/watch.ts";
import type { PipeEnd } from "../pipe.ts";
import { badResponse, faultAnswer } from "./answer.ts";
import { clientSide } from "./client-side.ts";
import { frameFlag, frameOf, frameType, goawayFrame, Http2Error, maxStreamId, resetFrame, windowUpdateFrame, type Http2ErrorCode } from "./frames.ts";
import { frameWriter } from "./frame-writer.ts";
import type { DecodedFields } from "./hpack-decoder.ts";
import type { FieldText } from "./hpack-encoder.ts";
import { readRequest, readResponse, readTrailers, type Http2Request } from "./message.ts";
import type { Http2Limits, Http2Owner, Http2Route, ServedHttp2 } from "./owner.ts";
import { serverSide, type ServerListener, type ServerSide } from "./server-side.ts";
import { forClient, maxConcurrentStreams, ownSettings, settingsAck, settingsFrame, type Settings } from "./settings.ts";
import { streamsOf, type Stream } from "./streams.ts";

/**
 * Carries a client's HTTP/2 over one connection to its server. Frames pass as they are, so streams, windows, PING and GOAWAY are
 * between the two of them and nothing is held here; only header blocks are read, judged and written anew.
 * @param first bytes already read
 */
export function serveHttp2<R extends Http2Route>(
  client: PipeEnd, first: Buffer, owner: Http2Owner<R>, { idleTimeoutMs, headTimeoutMs = defaultHeadTimeoutMs }: Http2Limits, watch: IdleWatch,
): ServedHttp2 {
  const { socket } = client;
  const toClient = frameWriter(socket);
  const streams = streamsOf<R>({ owner, toClient, server: () => server, countReset: () => fromClient.countReset() });
  const { byId, clientEnds, serverEnds, drop, takeBack, breakOff, answer, headersToClient } = streams;
  /** Of SETTINGS the client has not acknowledged: whether the server waits for that. */
  const unacknowledged: boolean[] = [];
  let phase: "preface" | "open" | "closing" | "over" = "preface";
  let activeMs = watch.nowMs();
  /** When what is unfinished began, or the closing. */
  let sinceMs: number | undefined = activeMs;
  let timedAt = 0;
  let stalled = false;
  /** The last stream the client knows to be served. */
  let toldLastId = maxStreamId;
  /** Sent with GOAWAY: when it comes back the client knows. */
  let drainPing: Buffer | undefined;
  /** Whether the bytes of the DATA frame under way go on; not if its stream is gone. */
  let isPassed = false;
  let isPassedBack = false;

  let server: ServerSide | undefined;
  let opening = false;
  /** What the server is told when there is one. */
  let said: Settings = new Map();
  let window = 0;

  const isEnding = (): boolean => phase === "closing" || phase === "over";
  const isBlocked = (): boolean => opening || isEnding() || toClient.full || (server?.writer.full ?? false);

  // --- what the client sends ---

  const fromClient = clientSide({
    blocked: () => (stalled = isBlocked()),
    began() {
      phase = "open";
      unacknowledged.push(false);
      toClient.frame(settingsFrame(ownSettings()));
    },
    settings(settings) {
      if (server !== undefined) return server.settings(settings);
      said = new Map([...said, ...settings]);
      toClient.frame(settingsAck);
    },
    acknowledged() {
      if (unacknowledged.shift() === true) server?.writer.frame(settingsAck);
    },
    request: onRequest,
    trailers(streamId, endsStream, decoded) {
      const stream = byId.get(streamId);
      // What was refused or taken back may still be on its way.
      if (stream === undefined) return;
      if (stream.clientEnded) throw new Http2Error("streamClosed", "HEADERS behind the end of a stream");
      const trailers = decoded.tooLarge ? "head_too_large" : readTrailers(decoded.fields);
      if (typeof trailers === "string" || !endsStream || (stream.left ?? 0) > 0) return takeBack(streamId);
      if (trailers.length > 0) server?.headers(streamId, trailers, true);
      else server?.writer.end(streamId);
      clientEnds(streamId, stream);
    },
    dataBegins(head) {
      const { flags, streamId, length, dataLength } = head;
      const stream = byId.get(streamId);
      const endsStream = (flags & frameFlag.endStream) !== 0;
      if (stream?.clientEnded === true) throw new Http2Error("streamClosed", "DATA behind the end of a stream");
      if (stream?.left !== undefined) {
        stream.left -= dataLength;
        if (stream.left < 0 || (endsStream && stream.left > 0)) takeBack(streamId);
      }
      isPassed = byId.has(streamId);
      if (!isPassed || stream === undefined) {
        // The server will never see these bytes, so it will not give their window back.
        if (length > 0) toClient.frame(windowUpdateFrame(0, length));
        return;
      }
      server?.writer.dataBegins(head);
      if (endsStream) clientEnds(streamId, stream);
    },
    data(bytes, from, to) {
      if (isPassed) server?.writer.data(bytes, from, to);
    },
    reset(streamId, frame) {
      if (drop(streamId, false)) server?.writer.frame(frame);
    },
    windowUpdate(streamId, increment, frame) {
      if (server === undefined && streamId === 0) {
        window += increment;
        if (window > maxStreamId - initialWindow) throw new Http2Error("flowControlError", "a window beyond its limit");
      } else if (streamId === 0 || byId.has(streamId)) server?.writer.frame(frame);
    },
    goaway: (frame) => server?.writer.frame(frame),
    ping(isAck, payload, frame) {
      if (isAck && drainPing?.equals(payload) === true) onDrainTold();
      else if (server !== undefined) server.writer.frame(frame);
      else if (!isAck) toClient.frame(frameOf(frameType.ping, frameFlag.ack, 0, payload));
    },
  }, watch.nowMs);

  function onData(chunk: Buffer): void {
    activeMs = watch.nowMs();
    if (!isEnding()) work(() => fromClient.read(client.lent === true ? Buffer.from(chunk) : chunk));
  }

  function onRequest(streamId: number, endsStream: boolean, decoded: DecodedFields): void {
    if (byId.size >= maxConcurrentStreams || streamId > toldLastId) {
      fromClient.countReset();
      return toClient.frame(resetFrame(streamId, "refusedStream"));
    }
    const request = decoded.tooLarge ? "head_too_large" : readRequest(decoded.fields, endsStream);
    if (typeof request === "string") {
      fromClient.countReset();
      return answer(streamId, faultAnswer(request), false, endsStream ? undefined : "protocolError", undefined);
    }
    const route = owner.route(request);
    const { isGrpc } = request;
    if (route.refusal !== undefined) {
      answer(streamId, route.refusal, isGrpc, endsStream ? undefined : "noError", route);
      return owner.ended(route, true);
    }
    streams.open(streamId, { route, isGrpc, clientEnded: endsStream, serverEnded: false, answered: false, left: request.contentLength });
    const fields = [...pseudoFields(request), ...request.fields, ...route.added];
    if (server !== undefined) return server.headers(streamId, fields, endsStream);
    open(route, () => server?.headers(streamId, fields, endsStream));
  }

  // --- what the server sends ---

  const listener: ServerListener = {
    blocked: () => toClient.full || isEnding(),
    settings(settings) {
      if (unacknowledged.length > maxUnacknowledged) throw new Http2Error("enhanceYourCalm", "too many SETTINGS");
      unacknowledged.push(true);
      toClient.frame(settingsFrame(forClient(settings)));
    },
    acknowledged: () => toClient.frame(settingsAck),
    headers(streamId, endsStream, decoded) {
      const stream = byId.get(streamId);
      if (stream === undefined) return;
      if (stream.answered) return onResponseTrailers(streamId, stream, endsStream, decoded);
      const response = decoded.tooLarge ? "head_too_large" : readResponse(decoded.fields);
      if (typeof response === "string") return breakOff(streamId, stream, badResponse(response));
      const { status, fields } = response;
      if (status < 200 && endsStream) return breakOff(streamId, stream, badResponse("pseudo_header_malformed"));
      if (status >= 200) {
        stream.answered = true;
        owner.answered(stream.route, status);
      }
      headersToClient(streamId, [{ name: ":status", value: String(status) }, ...fields], endsStream);
      if (endsStream) serverEnds(streamId, stream);
    },
    dataBegins(head) {
      const { flags, streamId, length } = head;
      const stream = byId.get(streamId);
      isPassedBack = stream !== undefined && stream.answered && !stream.serverEnded;
      // The client will never see these bytes, so it will not give their window back.
      if (!isPassedBack || stream === undefined) return server?.credit(length);
      toClient.dataBegins(head);
      if ((flags & frameFlag.endStream) !== 0) serverEnds(streamId, stream);
    },
    data(bytes, from, to) {
      if (isPassedBack) toClient.data(bytes, from, to);
    },
    reset(streamId, frame) {
      if (drop(streamId, false)) toClient.frame(frame);
    },
    windowUpdate(streamId, frame) {
      if (streamId === 0 || byId.has(streamId)) toClient.frame(frame);
    },
    // What it says at length is for the client: gRPC reads `too_many_pings`.
    goaway(payload) {
      const copy = Buffer.from(payload);
      toldLastId = Math.min(toldLastId, copy.readUInt32BE(0) & maxStreamId);
      copy.writeUInt32BE(toldLastId, 0);
      toClient.frame(frameOf(frameType.goaway, 0, 0, copy));
    },
    ping: (frame) => toClient.frame(frame),
  };

  function onResponseTrailers(streamId: number, stream: Stream<R>, endsStream: boolean, decoded: DecodedFields): void {
    const trailers = decoded.tooLarge ? "head_too_large" : readTrailers(decoded.fields);
    if (typeof trailers === "string" || !endsStream || stream.serverEnded) return breakOff(streamId, stream, badResponse("field_malformed"));
    if (trailers.length > 0) headersToClient(streamId, trailers, true);
    else toClient.end(streamId);
    serverEnds(streamId, stream);
  }

  // --- the connection to the server ---

  function open(route: R, opened: () => void): void {
    const got = owner.open(route);
    if (!(got instanceof Promise)) {
      join(got, route);
      return opened();
    }
    opening = true;
    got.then((end) => {
      opening = false;
      if (isEnding()) return end.reset();
      work(() => {
        join(end, route);
        opened();
        fromClient.pump();
      });
    }, (error: unknown) => {
      opening = false;
      work(() => loseServer(owner.failed(route, error)));
    });
  }

  function join(end: PipeEnd, route: R): void {
    const joined = serverSide(end, said, window, listener);
    server = joined;
    let problem: Error | undefined;
    const gone = (): void => {
      if (server !== joined) return;
      work(() => loseServer(owner.failed(route, problem ?? new Error(joined.hasSpoken ? "it closed the connection" : noHttp2))));
    };
    end.socket.on("data", (bytes: Buffer) => fromServer(bytes, end.lent === true));
    end.socket.on("error", (error) => void (problem = error)).on("end", gone).on("close", gone).on("drain", () => work(() => fromClient.pump()));
    end.socket.resume();
  }

  function fromServer(bytes: Buffer, borrowed: boolean): void {
    activeMs = watch.nowMs();
    work(() => readServer((from) => from.read(bytes, borrowed)), borrowed);
  }

  function readServer(read: (from: ServerSide) => void): void {
    if (server === undefined) return;
    try {
      read(server);
    } catch (error) {
      if (!(error instanceof Http2Error)) throw error;
      const [any] = byId.values();
      if (any !== undefined && !server.hasSpoken) return loseServer(owner.failed(any.route, new Error(noHttp2)));
      loseServer({ status: 502, text: `countersign-proxy: 502: what the server sent is refused: ${error.message}` });
    }
  }

  /** Streams without an answer get one; those that have one must not pass for whole. */
  function loseServer(told: Answer): void {
    const lost = server;
    server = undefined;
    for (const [streamId, stream] of [...byId]) breakOff(streamId, stream, told);
    lost?.end.reset();
    close("noError", "the server closed the connection");
  }

  // --- its end ---

  function retire(): void {
    if (drainPing !== undefined || isEnding()) return;
    const ping = randomBytes(pingBytes);
    drainPing = ping;
    work(() => {
      if (!fromClient.isOpen) return close("noError", "");
      // RFC 9113 6.8: first this, so that no request that is on its way is lost.
      toClient.frame(goawayFrame(toldLastId, "noError"));
      toClient.frame(frameOf(frameType.ping, 0, 0, ping));
    });
  }

  function onDrainTold(): void {
    toldLastId = Math.min(toldLastId, fromClient.lastId);
    toClient.frame(goawayFrame(toldLastId, "noError"));
  }

  function closeIfDrained(): void {
    if (drainPing === undefined || toldLastId > fromClient.lastId || byId.size > 0 || toClient.isAmidst || server?.writer.isAmidst === true) return;
    close("noError", "");
  }

  /** Says why, and lets run out what the client still sends: it would be reset before it has read that. */
  function close(code: Http2ErrorCode, reason: string): void {
    if (isEnding()) return;
    if (phase !== "preface") toClient.frame(goawayFrame(Math.min(toldLastId, fromClient.lastId), code, reason));
    phase = "closing";
    sinceMs = watch.nowMs();
    toClient.flush(false);
    socket.end();
    if (byId.size === 0 && code === "noError") server?.end.socket.destroySoon();
    else server?.end.reset();
    server = undefined;
    socket.resume();
  }

  function work(what: () => void, borrowed = false): void {
    try {
      what();
      flush(borrowed);
      while (stalled && !isBlocked()) {
        stalled = false;
        fromClient.pump();
        flush(borrowed);
      }
      closeIfDrained();
      readOn();
      timeHeads();
    } catch (error) {
      if (!(error instanceof Http2Error)) return onBug(error);
      owner.refused(error);
      close(error.code, error.message);
    }
  }

  function flush(borrowed: boolean): void {
    toClient.flush(borrowed);
    server?.writer.flush(false);
  }

  /** Each side is read while the other takes what it says. */
  function readOn(): void {
    if (phase === "over") return;
    if (isBlocked() && phase !== "closing") socket.pause();
    else socket.resume();
    if (server === undefined) return;
    if (toClient.full) server.end.socket.pause();
    else server.end.socket.resume();
  }

  /** A head has its time from its first byte, however it drips. */
  function timeHeads(): void {
    if (isEnding()) return;
    const { isUnfinished, progress } = fromClient;
    if (!isUnfinished || isBlocked()) sinceMs = undefined;
    else if (sinceMs === undefined || progress !== timedAt) sinceMs = watch.nowMs();
    timedAt = progress;
  }

  function onDrain(): void {
    work(() => {
      readServer((from) => from.pump());
      fromClient.pump();
    });
  }

  function onBug(error: unknown): void {
    owner.bug(error);
    server?.end.reset();
    server = undefined;
    phase = "over";
    client.reset();
  }

  function onEnd(): void {
    if (phase === "closing") return void socket.destroySoon();
    phase = "over";
    if (byId.size === 0) {
      server?.end.socket.destroySoon();
      socket.destroySoon();
    } else {
      server?.end.reset();
      socket.destroy();
    }
    server = undefined;
  }

  function onClose(): void {
    unwatch();
    phase = "over";
    server?.end.reset();
    server = undefined;
    for (const streamId of [...byId.keys()]) drop(streamId, false);
  }

  function check(nowMs: number): void {
    if (phase === "closing") {
      if (nowMs - (sinceMs ?? nowMs) >= lingerMs) socket.destroy();
    } else if (nowMs - activeMs >= idleTimeoutMs) {
      close("noError", "nothing moved for the idle timeout");
    } else if (sinceMs !== undefined && nowMs - sinceMs >= headTimeoutMs) {
      const error = new Http2Error("enhanceYourCalm", "a header block or preface that did not arrive in time");
      owner.refused(error);
      close(error.code, error.message);
    }
  }

  const unwatch = watch.add(check);
  // What went wrong is told by 'close', which follows.
  socket.on("error", () => undefined).on("data", onData).on("drain", onDrain).on("end", onEnd).on("close", onClose);
  onData(first);

  return {
    retire,
    recheck() {
      work(() => {
        for (const [streamId, stream] of [...byId]) {
          const told = owner.recheck(stream.route);
          if (told !== undefined) breakOff(streamId, stream, told, "inadequateSecurity");
        }
      });
    },
  };
}

function pseudoFields({ method, scheme, path, authority }: Http2Request): readonly FieldText[] {
  return [
    { name: ":method", value: method }, { name: ":scheme", value: scheme }, { name: ":path", value: path },
    ...(authority === undefined ? [] : [{ name: ":authority", value: authority }]),
  ];
}

const noHttp2 = "it does not speak HTTP/2 without TLS";
const pingBytes = 8;
const initialWindow = 65_535;
const defaultHeadTimeoutMs = 10_000;
/** How long a client may go on sending what nobody will read, as in HTTP/1. */
const lingerMs = 5000;
/** A server that changes its mind faster than the client can follow. */
const maxUnacknowledged = 100;
