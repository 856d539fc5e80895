import { chunkedBody, readChunks } from "./chunked.ts";
import { writeLastChunk, type Pieces } from "./forwarded.ts";
import type { HeadFault, RequestHead } from "./head.ts";

/** What is still to come of a request. */
export interface RequestBody {
  readonly done: boolean;
  /**
   * Takes what belongs to the body from the start of `bytes`, and writes it on.
   * @param to undefined: it is dropped
   * @returns how many bytes that were, or a fault
   */
  take(bytes: Buffer, to: Pieces | undefined): number | HeadFault;
}

/** Of a request without one. */
export const noBody: RequestBody = { done: true, take: () => 0 };

/** The body that this head announces. */
export function requestBody({ framing, length }: RequestHead): RequestBody {
  if (framing === "chunked") return chunked();
  return framing === "none" || length === 0 ? noBody : lengthy(length);
}

function lengthy(length: number): RequestBody {
  let left = length;
  return {
    get done() { return left === 0; },
    take(bytes, to) {
      const taken = Math.min(bytes.length, left);
      left -= taken;
      to?.bytes(bytes, 0, taken);
      return taken;
    },
  };
}

function chunked(): RequestBody {
  const body = chunkedBody();
  return {
    get done() { return body.state === "done"; },
    take(bytes, to) {
      const taken = readChunks(body, bytes, 0, (from, until) => {
        to?.text(`${(until - from).toString(16)}\r\n`);
        to?.bytes(bytes, from, until);
        to?.text("\r\n");
      });
      if (body.state === "done" && to !== undefined) writeLastChunk(to, body.trailers);
      return taken;
    },
  };
}
