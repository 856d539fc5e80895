import type { TapEvent } from "../contract/taps.ts";
import type { WatchEventName } from "../contract/watch.ts";

/**
 * One server-sent event as it goes over the wire.
 * @param id  what a reader resumes with; undefined for an event that leaves its position as it was
 * @source HTML Standard 9.2.6
 */
export function encodeFrame(event: WatchEventName | TapEvent["event"], data: string, id?: string): Uint8Array {
  const lines = data.split("\n").map((line) => `data: ${line}\n`).join("");
  return Buffer.from(`${id === undefined ? "" : `id: ${id}\n`}event: ${event}\n${lines}\n`);
}

/** A comment: says that the connection lives, to both ends and to what is between them. */
export const heartbeatFrame: Uint8Array = Buffer.from(": alive\n\n");
