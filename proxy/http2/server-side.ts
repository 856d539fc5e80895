import type { PipeEnd } from "../pipe.ts";
import { frameReader, type DataHead } from "./frame-reader.ts";
import { frameFlag, frameOf, frameType, headersFrames, Http2Error, preface, resetFrame, windowUpdateFrame, type Http2ErrorCode } from "./frames.ts";
import { frameWriter, type FrameWriter } from "./frame-writer.ts";
import { headerBlocks } from "./header-block.ts";
import { hpackDecoder, type DecodedFields } from "./hpack-decoder.ts";
import { encodeBlock, type FieldText } from "./hpack-encoder.ts";
import { forServer, maxHeaderListBytes, readSettings, settingsFrame, type Settings } from "./settings.ts";

/** Told of what a server sends. What it throws ends the connection. */
export interface ServerListener {
  /** True: nothing more is handed over before `pump`. */
  blocked(): boolean;
  /** To be acknowledged once they are in force at the client: until then it keeps to the windows of before. */
  settings(settings: Settings): void;
  /** The client's SETTINGS are in force. */
  acknowledged(): void;
  headers(streamId: number, endsStream: boolean, decoded: DecodedFields): void;
  dataBegins(head: DataHead): void;
  data(bytes: Buffer, from: number, to: number): void;
  reset(streamId: number, frame: Buffer): void;
  windowUpdate(streamId: number, frame: Buffer): void;
  goaway(payload: Buffer): void;
  /** PING or its answer. */
  ping(frame: Buffer, payload: Buffer): void;
}

/** The connection that carries a client's requests to their server: one for one, so that every window and every limit is theirs. */
export interface ServerSide {
  readonly end: PipeEnd;
  readonly writer: FrameWriter;
  /** It has said something in HTTP/2. */
  readonly hasSpoken: boolean;
  /** @throws {Http2Error} */
  read(chunk: Buffer, borrowed: boolean): void;
  /** Goes on where it was blocked. @throws {Http2Error} */
  pump(): void;
  headers(streamId: number, fields: readonly FieldText[], endsStream: boolean): void;
  reset(streamId: number, code: Http2ErrorCode): void;
  /** Gives back window for bytes that went nowhere. */
  credit(length: number): void;
  /** SETTINGS of the client, whose acknowledgement goes back to it. */
  settings(settings: Settings): void;
}

/**
 * Begins HTTP/2 on a connection.
 * @param settings what the client has said so far
 * @param window   what it has added to the window of the connection
 */
export function serverSide(end: PipeEnd, settings: Settings, window: number, listener: ServerListener): ServerSide {
  const writer = frameWriter(end.socket);
  const blocks = headerBlocks();
  const decoder = hpackDecoder(maxHeaderListBytes);
  let isFirst = true;
  let hasSpoken = false;
  /** Of SETTINGS it has not acknowledged: whether the client waits for that. */
  const unacknowledged: boolean[] = [];

  function frame(type: number, flags: number, streamId: number, payload: Buffer): void {
    const isAck = (flags & frameFlag.ack) !== 0;
    if (!hasSpoken && (type !== frameType.settings || isAck)) throw new Http2Error("protocolError", "no SETTINGS first");
    hasSpoken = true;
    const block = blocks.take(type, flags, streamId, payload);
    if (block === "taken") return;
    if (block !== undefined) return listener.headers(streamId, block.endsStream, decoder.decode(block.block));
    const copy = (): Buffer => frameOf(type, flags & frameFlag.ack, streamId, payload);
    if (type === frameType.settings) {
      if (!isAck) listener.settings(readSettings(payload));
      else if (unacknowledged.shift() === true) listener.acknowledged();
    } else if (type === frameType.rstStream) listener.reset(streamId, copy());
    else if (type === frameType.windowUpdate) listener.windowUpdate(streamId, copy());
    else if (type === frameType.goaway && payload.length >= goawayBytes) listener.goaway(payload);
    else if (type === frameType.ping) listener.ping(copy(), payload);
    else if (type === frameType.pushPromise) throw new Http2Error("protocolError", "a push that was forbidden");
  }

  const reader = frameReader({
    blocked: listener.blocked,
    frame,
    dataBegins(head) {
      if (!hasSpoken || blocks.unfinished) throw new Http2Error("protocolError", "DATA where none may be");
      listener.dataBegins(head);
    },
    data: listener.data,
  });

  function tell(told: Settings, byClient: boolean): void {
    unacknowledged.push(byClient);
    writer.frame(settingsFrame(forServer(told)));
  }

  writer.frame(preface);
  tell(settings, false);
  if (window > 0) writer.frame(windowUpdateFrame(0, window));

  return {
    end,
    writer,
    get hasSpoken() { return hasSpoken; },
    read: reader.read,
    pump: reader.pump,
    headers(streamId, fields, endsStream) {
      writer.frame(headersFrames(streamId, encodeBlock(fields, isFirst), endsStream));
      isFirst = false;
    },
    reset: (streamId, code) => writer.frame(resetFrame(streamId, code)),
    credit(length) {
      if (length > 0) writer.frame(windowUpdateFrame(0, length));
    },
    settings: (told) => tell(told, true),
  };
}

const goawayBytes = 8;
