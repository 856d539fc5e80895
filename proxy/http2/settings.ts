import { frameFlag, frameOf, frameType, Http2Error } from "./frames.ts";

/** By identifier. @source RFC 9113 section 6.5.2 */
export type Settings = ReadonlyMap<number, number>;

/** What we tell a client before its server can. */
export const ownSettings = (): Settings => new Map([[settingId.maxConcurrentStreams, maxConcurrentStreams], [settingId.maxHeaderListSize, maxHeaderListBytes]]);

/** Reads a SETTINGS frame that is no acknowledgement. @throws {Http2Error} frameSizeError */
export function readSettings(payload: Buffer): Settings {
  if (payload.length % settingBytes !== 0) throw new Http2Error("frameSizeError", "SETTINGS of a wrong size");
  const settings = new Map<number, number>();
  for (let at = 0; at < payload.length; at += settingBytes) settings.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
  return settings;
}

/** SETTINGS. @source RFC 9113 6.5 */
export function settingsFrame(settings: Settings): Buffer {
  const payload = Buffer.alloc(settings.size * settingBytes);
  let at = 0;
  for (const [id, value] of settings) {
    payload.writeUInt16BE(id, at);
    payload.writeUInt32BE(value, at + 2);
    at += settingBytes;
  }
  return frameOf(frameType.settings, 0, 0, payload);
}

export const settingsAck: Buffer = frameOf(frameType.settings, frameFlag.ack, 0);

/** What a server is told of what its client says: the windows and sizes that concern it. No table, no push, no larger frames. */
export function forServer(settings: Settings): Settings {
  return new Map([[settingId.enablePush, 0], ...[...settings].filter(([id]) => id === settingId.initialWindowSize || id === settingId.maxHeaderListSize)]);
}

/** What a client is told of what its server says, never more than we take ourselves. */
export function forClient(settings: Settings): Settings {
  const told = new Map<number, number>();
  for (const [id, value] of settings) {
    if (id === settingId.initialWindowSize) told.set(id, value);
    else if (id === settingId.maxConcurrentStreams) told.set(id, Math.min(value, maxConcurrentStreams));
    else if (id === settingId.maxHeaderListSize) told.set(id, Math.min(value, maxHeaderListBytes));
  }
  return told;
}

const settingBytes = 6;
const settingId = { enablePush: 2, maxConcurrentStreams: 3, initialWindowSize: 4, maxHeaderListSize: 6 } as const;
/** A stream holds its method and path here; the rest of it is the app's, which may allow fewer. Envoy allows 1024. */
export const maxConcurrentStreams = 1000;
/** Of a request, a response or their trailers, 32 bytes for each field included; HTTP/1 takes 16 KiB without. */
export const maxHeaderListBytes = 32 * 1024;
