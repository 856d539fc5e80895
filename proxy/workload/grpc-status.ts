/** How a call ends that is not answered. */
export interface GrpcStatus {
  readonly code: number;
  /** For the log of whoever called: what is wrong and what to do. ASCII, as it goes into a header as it is. */
  readonly message: string;
}

/** The codes that we send. @source grpc/grpc doc/statuscodes.md */
export const grpcCode = {
  ok: 0, invalidArgument: 3, deadlineExceeded: 4, permissionDenied: 7, resourceExhausted: 8, unimplemented: 12, unavailable: 14,
} as const;

/** A message as it goes over the wire, not compressed. @source grpc/grpc doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message */
export function encodeFrame(message: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(prefixBytes + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, prefixBytes);
  return frame;
}

/**
 * Looks at a whole request body, which has to be one message. What stands in it is not looked at: the messages of this API that
 * we answer have no fields, and fields of later versions are ignored.
 * @returns what is wrong; undefined when it may be answered
 */
export function requestFault(body: Uint8Array): GrpcStatus | undefined {
  if (body.length < prefixBytes) return { code: grpcCode.invalidArgument, message: "the request has no message" };
  if (body[0] !== 0) return { code: grpcCode.unimplemented, message: "the message is compressed; send it as it is" };
  if (new DataView(body.buffer, body.byteOffset).getUint32(1) !== body.length - prefixBytes) {
    return { code: grpcCode.invalidArgument, message: "the request is not exactly one message" };
  }
  return undefined;
}

const prefixBytes = 5;
