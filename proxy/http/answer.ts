import type { HeadFault } from "./head.ts";

/** A response of our own. */
export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Writes it out. @param toHead the request was HEAD: the head alone */
export function answerText({ status, text }: Answer, closes: boolean, toHead = false): string {
  const body = `${text}\n`;
  const head = `HTTP/1.1 ${status} ${reasonPhrases[status] ?? "Refused"}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
    `${closes ? "Connection: close\r\n" : ""}\r\n`;
  return toHead ? head : head + body;
}

/** What a client is told whose request is refused for its form. */
export function refusalOf(fault: HeadFault): Answer {
  const [status, text] = refusals[fault];
  return { status, text: `countersign-proxy: ${status}: ${text}` };
}

/** What a client is told when the upstream's response cannot be passed on. */
export function badResponse(fault: HeadFault): Answer {
  return {
    status: 502,
    text: `countersign-proxy: 502: the server's response is refused (${fault}): two clients might read it differently; correct the server`,
  };
}

const reasonPhrases: Readonly<Record<number, string>> = {
  400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed", 408: "Request Timeout", 414: "URI Too Long", 431: "Request Header Fields Too Large",
  501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
};
const refusals: Readonly<Record<HeadFault, readonly [number, string]>> = {
  malformed: [400, "this is not an HTTP/1.1 request; the connection is closed"],
  head_too_large: [431, "the request line and headers exceed 16 KiB"],
  too_many_fields: [431, "the request has more than 200 headers"],
  target_too_long: [414, "the request target exceeds 8 KiB"],
  version_unsupported: [505, "only HTTP/1.1 and HTTP/1.0 are understood"],
  host_missing: [400, "the request has no Host header; HTTP/1.1 asks for one"],
  host_repeated: [400, "the request has more than one Host header; send one"],
  host_malformed: [400, "the Host header is not a host and port"],
  length_malformed: [400, "Content-Length is not one number"],
  length_repeated: [400, "the request has more than one Content-Length; send one"],
  length_and_transfer_coding: [400, "the request has both Content-Length and Transfer-Encoding; send one of them"],
  framing_disguised: [400, "a header looks like Content-Length or Transfer-Encoding in another spelling; leave it out"],
  transfer_coding_malformed: [400, "Transfer-Encoding has to be chunked, once"],
  transfer_coding_unsupported: [501, "transfer codings other than chunked are not supported; send the body chunked or with a Content-Length"],
  transfer_coding_in_http_1_0: [400, "HTTP/1.0 has no Transfer-Encoding; send a Content-Length"],
};
