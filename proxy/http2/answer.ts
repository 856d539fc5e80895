import type { Answer } from "../http/answer.ts";
import { isValueByte } from "../http/fields.ts";
import type { FieldText } from "./hpack-encoder.ts";
import type { MessageFault } from "./message.ts";

/**
 * The fields of a response of our own. It has no body: bytes of ours would take from the window that belongs to the app. What was
 * wrong is told in a header; to gRPC by its status.
 * @source gRPC over HTTP/2, Responses (Trailers-Only)
 */
export function answerFields({ status, text }: Answer, isGrpc: boolean): readonly FieldText[] {
  if (isGrpc) {
    return [
      { name: ":status", value: "200" }, { name: "content-type", value: "application/grpc" }, ...grpcTrailers({ status, text }),
    ];
  }
  return [{ name: ":status", value: String(status) }, { name: "content-length", value: "0" }, { name: errorHeader, value: printable(text) }];
}

/** What ends a call of gRPC whose response has begun. */
export function grpcTrailers({ status, text }: Answer): readonly FieldText[] {
  return [{ name: "grpc-status", value: String(grpcStatuses[status] ?? grpcUnknown) }, { name: "grpc-message", value: percentEncoded(text) }];
}

/** What a client is told whose request is refused for its form. */
export function faultAnswer(fault: MessageFault | "head_too_large"): Answer {
  const status = fault === "head_too_large" ? 431 : fault === "target_too_long" ? 414 : 400;
  return { status, text: `countersign-proxy: ${status}: the request is refused (${fault}): two servers might read it differently; correct the client` };
}

/** What a client is told whose server answered with something that cannot be passed on. */
export function badResponse(fault: MessageFault | "head_too_large"): Answer {
  return { status: 502, text: `countersign-proxy: 502: the server's response is refused (${fault}): two clients might read it differently; correct the server` };
}

/** @source gRPC status codes: UNAVAILABLE is what clients may try again */
const grpcStatuses: Readonly<Record<number, number>> = { 403: 7, 431: 8, 501: 12, 502: 14, 503: 14, 504: 4, 400: 13, 405: 12, 414: 8, 421: 14 };
const grpcUnknown = 2;
/** Where the text of an answer goes that has no body. */
const errorHeader = "countersign-proxy-error";

function printable(text: string): string {
  return [...Buffer.from(text, "latin1")].map((byte) => (isValueByte(byte) ? String.fromCharCode(byte) : "?")).join("").trim();
}

function percentEncoded(text: string): string {
  return [...Buffer.from(text)].map((byte) => (byte >= 0x20 && byte <= 0x7e && byte !== 0x25 ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, "0").toUpperCase()}`)).join("");
}
