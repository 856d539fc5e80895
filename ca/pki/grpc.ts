/** How a call ends that is not answered. */
export interface GrpcStatus {
  readonly code: number;
  /** For the log of whoever called: what is wrong and what to do. */
  readonly message: string;
}

/** The codes that we send. @source grpc/grpc doc/statuscodes.md */
export const grpcCode = {
  ok: 0, cancelled: 1, unknown: 2, invalidArgument: 3, deadlineExceeded: 4, permissionDenied: 7, resourceExhausted: 8, failedPrecondition: 9, unimplemented: 12, internal: 13, unavailable: 14,
} as const;
export const grpcContentType = "application/grpc";

/** A status as headers or trailers. @source grpc/grpc doc/PROTOCOL-HTTP2.md, Status-Message: percent-encoded */
export function statusHeaders({ code, message }: GrpcStatus): Readonly<Record<string, string>> {
  const text = [...Buffer.from(message, "utf8")].map((byte) => (byte >= 0x20 && byte <= 0x7e && byte !== 0x25 ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`));
  return { "grpc-status": String(code), "grpc-message": text.join("") };
}

/** A message as it goes over the wire, not compressed. @source grpc/grpc doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message */
export function encodeFrame(message: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(prefixBytes + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, prefixBytes);
  return frame;
}

/**
 * Takes a whole request body, which has to be one message, out of its frame.
 * @returns the message, or what is wrong
 */
export function decodeFrame(body: Uint8Array): Uint8Array | GrpcStatus {
  if (body.length < prefixBytes) return { code: grpcCode.invalidArgument, message: "the request has no message" };
  if (body[0] !== 0) return { code: grpcCode.unimplemented, message: "the message is compressed; send it as it is" };
  if (new DataView(body.buffer, body.byteOffset).getUint32(1) !== body.length - prefixBytes) {
    return { code: grpcCode.invalidArgument, message: "the request is not exactly one message" };
  }
  return body.subarray(prefixBytes);
}

const prefixBytes = 5;
