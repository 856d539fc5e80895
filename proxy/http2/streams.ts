import type { Answer } from "../http/answer.ts";
import { answerFields, grpcTrailers } from "./answer.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { headersFrames, resetFrame, type Http2ErrorCode } from "./frames.ts";
import { encodeBlock, type FieldText } from "./hpack-encoder.ts";
import type { Http2Owner, Http2Route } from "./owner.ts";
import type { ServerSide } from "./server-side.ts";

/** A request that goes on, and its response. */
export interface Stream<R> {
  readonly route: R;
  readonly isGrpc: boolean;
  clientEnded: boolean;
  serverEnded: boolean;
  answered: boolean;
  /** What is to come by Content-Length; undefined where there is none. */
  left: number | undefined;
}

/** The streams of a client's connection, and how each of them ends: by its two sides, or told why it is over before. */
export interface Streams<R> {
  readonly byId: ReadonlyMap<number, Stream<R>>;
  open(streamId: number, stream: Stream<R>): void;
  clientEnds(streamId: number, stream: Stream<R>): void;
  serverEnds(streamId: number, stream: Stream<R>): void;
  /** @returns false: it is gone already */
  drop(streamId: number, whole: boolean): boolean;
  /** The client has broken its own request, by its form. */
  takeBack(streamId: number): void;
  /** The client is told why, as far as what it has got already lets that be told. */
  breakOff(streamId: number, stream: Stream<R>, told: Answer, code?: Http2ErrorCode): void;
  /** @param code of the RST_STREAM that tells who is still sending that nobody reads it */
  answer(streamId: number, told: Answer, isGrpc: boolean, code: Http2ErrorCode | undefined, route: R | undefined): void;
  headersToClient(streamId: number, fields: readonly FieldText[], endsStream: boolean): void;
}

export interface StreamsDeps<R extends Http2Route> {
  readonly owner: Pick<Http2Owner<R>, "answered" | "ended">;
  readonly toClient: FrameWriter;
  /** Undefined while there is none. */
  readonly server: () => ServerSide | undefined;
  /** The client has cost a stream without use. */
  readonly countReset: () => void;
}

/** Makes the table of a connection's streams. */
export function streamsOf<R extends Http2Route>({ owner, toClient, server, countReset }: StreamsDeps<R>): Streams<R> {
  const byId = new Map<number, Stream<R>>();
  let isFirstBlock = true;

  function clientEnds(streamId: number, stream: Stream<R>): void {
    stream.clientEnded = true;
    if (stream.serverEnded) byId.delete(streamId);
  }

  function serverEnds(streamId: number, stream: Stream<R>): void {
    stream.serverEnded = true;
    owner.ended(stream.route, true);
    if (stream.clientEnded) byId.delete(streamId);
  }

  function drop(streamId: number, whole: boolean): boolean {
    const stream = byId.get(streamId);
    if (stream === undefined) return false;
    byId.delete(streamId);
    if (!stream.serverEnded) owner.ended(stream.route, whole);
    return true;
  }

  function takeBack(streamId: number): void {
    countReset();
    toClient.frame(resetFrame(streamId, "protocolError"));
    server()?.reset(streamId, "cancel");
    drop(streamId, false);
  }

  function breakOff(streamId: number, stream: Stream<R>, told: Answer, code: Http2ErrorCode = "internalError"): void {
    const { answered, serverEnded, clientEnded, isGrpc, route } = stream;
    const stop = clientEnded ? undefined : "noError";
    if (!answered) answer(streamId, told, isGrpc, stop, route);
    else if (serverEnded || !isGrpc) toClient.frame(resetFrame(streamId, serverEnded ? "noError" : code));
    else endWith(streamId, grpcTrailers(told), stop);
    server()?.reset(streamId, "cancel");
    drop(streamId, !answered);
  }

  function answer(streamId: number, told: Answer, isGrpc: boolean, code: Http2ErrorCode | undefined, route: R | undefined): void {
    owner.answered(route, told.status);
    endWith(streamId, answerFields(told, isGrpc), code);
  }

  function endWith(streamId: number, fields: readonly FieldText[], code: Http2ErrorCode | undefined): void {
    headersToClient(streamId, fields, true);
    if (code !== undefined) toClient.frame(resetFrame(streamId, code));
  }

  function headersToClient(streamId: number, fields: readonly FieldText[], endsStream: boolean): void {
    toClient.frame(headersFrames(streamId, encodeBlock(fields, isFirstBlock), endsStream));
    isFirstBlock = false;
  }

  return { byId, open: (streamId, stream) => void byId.set(streamId, stream), clientEnds, serverEnds, drop, takeBack, breakOff, answer, headersToClient };
}
