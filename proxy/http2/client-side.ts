import { floodLimits } from "./floods.ts";
import { frameReader, type DataHead } from "./frame-reader.ts";
import { frameFlag, frameOf, frameType, Http2Error, maxStreamId, preface } from "./frames.ts";
import { headerBlocks } from "./header-block.ts";
import { hpackDecoder, type DecodedFields } from "./hpack-decoder.ts";
import { maxHeaderListBytes, readSettings, type Settings } from "./settings.ts";

/** Told of what a client sends, once it is known to be what a client may send. */
export interface ClientListener {
  /** True: nothing more is handed over before `pump`. */
  blocked(): boolean;
  /** The preface is whole. */
  began(): void;
  settings(settings: Settings): void;
  /** SETTINGS of ours, or of the server, are in force. */
  acknowledged(): void;
  /** On a stream that was never seen. */
  request(streamId: number, endsStream: boolean, decoded: DecodedFields): void;
  /** On a stream that was, whatever became of it. */
  trailers(streamId: number, endsStream: boolean, decoded: DecodedFields): void;
  dataBegins(head: DataHead): void;
  data(bytes: Buffer, from: number, to: number): void;
  reset(streamId: number, frame: Buffer): void;
  windowUpdate(streamId: number, increment: number, frame: Buffer): void;
  goaway(frame: Buffer): void;
  ping(isAck: boolean, payload: Buffer, frame: Buffer): void;
}

/** A client's half of a connection. All of it throws {Http2Error} for what breaks the rules, and the connection is to end then. */
export interface ClientSide {
  read(chunk: Buffer): void;
  /** Goes on where it was blocked. */
  pump(): void;
  /** A request was taken back or refused: counted, since it costs the client nothing. */
  countReset(): void;
  /** Streams up to here have been opened, or are closed for ever. */
  readonly lastId: number;
  /** SETTINGS have come. */
  readonly isOpen: boolean;
  /** Something has begun and waits for its end. */
  readonly isUnfinished: boolean;
  /** Changes with each frame that is whole and each header block. */
  readonly progress: number;
}

/**
 * Reads what a client sends, strictly and within limits: order of frames, streams and sizes, header blocks, floods.
 * @param nowMs milliseconds since some moment
 * @source RFC 9113 sections 3.4, 5.1, 6 and 10.5
 */
export function clientSide(listener: ClientListener, nowMs: () => number): ClientSide {
  const floods = floodLimits(nowMs);
  const blocks = headerBlocks();
  const decoder = hpackDecoder(maxHeaderListBytes);
  let prefaceRead = 0;
  let isOpen = false;
  let lastId = 0;
  let progress = 0;

  const reader = frameReader({
    blocked: listener.blocked,
    frame(type, flags, streamId, payload) {
      if (!isOpen && (type !== frameType.settings || (flags & frameFlag.ack) !== 0)) throw new Http2Error("protocolError", "no SETTINGS first");
      const block = blocks.take(type, flags, streamId, payload);
      if (block === "taken") return;
      progress += 1;
      if (block !== undefined) onHeaders(streamId, block.endsStream, decoder.decode(block.block));
      else onFrame(type, (flags & frameFlag.ack) !== 0, streamId, payload);
    },
    dataBegins(head) {
      const { flags, streamId, dataLength } = head;
      if (!isOpen || blocks.unfinished || streamId === 0) throw new Http2Error("protocolError", "DATA where none may be");
      refuseIdle(streamId);
      progress += 1;
      if (dataLength === 0 && (flags & frameFlag.endStream) === 0) floods.idleFrame();
      listener.dataBegins(head);
    },
    data: listener.data,
  });

  function onHeaders(streamId: number, endsStream: boolean, decoded: DecodedFields): void {
    if (streamId % 2 === 0) throw new Http2Error("protocolError", "a stream that no client may open");
    if (streamId <= lastId) return listener.trailers(streamId, endsStream, decoded);
    lastId = streamId;
    listener.request(streamId, endsStream, decoded);
  }

  function onFrame(type: number, isAck: boolean, streamId: number, payload: Buffer): void {
    const frame = (): Buffer => frameOf(type, isAck ? frameFlag.ack : 0, streamId, payload);
    const isOfConnection = connectionFrames.has(type);
    if ((isOfConnection && streamId !== 0) || (streamFrames.has(type) && streamId === 0)) {
      throw new Http2Error("protocolError", "a frame on a stream where it has none, or on none");
    }
    if (payload.length !== (fixedSizes.get(type) ?? payload.length)) throw new Http2Error("frameSizeError", "a frame of a wrong size");
    if (type === frameType.windowUpdate) {
      refuseIdle(streamId);
      listener.windowUpdate(streamId, payload.readUInt32BE(0) & maxStreamId, frame());
    } else if (type === frameType.rstStream) {
      refuseIdle(streamId);
      floods.reset();
      listener.reset(streamId, frame());
    } else if (type === frameType.settings) {
      onSettings(isAck, payload);
    } else if (type === frameType.ping) {
      if (!isAck) floods.idleFrame();
      listener.ping(isAck, payload, frame());
    } else if (type === frameType.goaway) {
      if (payload.length < goawayBytes) throw new Http2Error("frameSizeError", "a frame of a wrong size");
      floods.settings();
      listener.goaway(frame());
    } else if (type === frameType.pushPromise) {
      throw new Http2Error("protocolError", "a client does not push");
    } else floods.idleFrame();
  }

  function onSettings(isAck: boolean, payload: Buffer): void {
    if (isAck && payload.length > 0) throw new Http2Error("frameSizeError", "a frame of a wrong size");
    if (isAck) return listener.acknowledged();
    floods.settings();
    isOpen = true;
    listener.settings(readSettings(payload));
  }

  function refuseIdle(streamId: number): void {
    if (streamId > lastId || (streamId !== 0 && streamId % 2 === 0)) throw new Http2Error("protocolError", "a frame on a stream that was never opened");
  }

  /** @returns what came behind the preface */
  function takePreface(chunk: Buffer): Buffer {
    const length = Math.min(chunk.length, preface.length - prefaceRead);
    if (!preface.subarray(prefaceRead, prefaceRead + length).equals(chunk.subarray(0, length))) throw new Http2Error("protocolError", "a broken preface");
    prefaceRead += length;
    if (prefaceRead === preface.length) listener.began();
    return chunk.subarray(length);
  }

  return {
    read(chunk) {
      const rest = prefaceRead < preface.length ? takePreface(chunk) : chunk;
      if (rest.length > 0) reader.read(rest, false);
    },
    pump: reader.pump,
    countReset: floods.reset,
    get lastId() { return lastId; },
    get isOpen() { return isOpen; },
    get isUnfinished() { return !isOpen || blocks.unfinished || reader.waiting; },
    get progress() { return progress; },
  };
}

const connectionFrames: ReadonlySet<number> = new Set([frameType.settings, frameType.ping, frameType.goaway]);
const streamFrames: ReadonlySet<number> = new Set([frameType.rstStream, frameType.priority]);
const fixedSizes: ReadonlyMap<number, number> = new Map([[frameType.windowUpdate, 4], [frameType.rstStream, 4], [frameType.ping, 8], [frameType.priority, 5]]);
const goawayBytes = 8;
