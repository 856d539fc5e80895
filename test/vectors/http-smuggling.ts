// Requests and responses that two servers might read differently, and what becomes of each. Bytes are Latin-1.
// Sources: RFC 9112 sections 2.2, 3, 5, 6, 7 and 11; Linhart et al. 2005; Kettle, "HTTP Desync Attacks" (2019) and "Browser-Powered
// Desync Attacks" (2022); Jabiyev et al., "T-Reqs" (2021); CVE-2019-20372, CVE-2020-11993, CVE-2021-33193, CVE-2022-35256, CVE-2023-30589.

export interface SmugglingVector {
  readonly claim: string;
  readonly bytes: string;
  /** Code of the refusal; "accepted": it is one plain message; "incomplete": it never becomes one, and nothing of it is whole. */
  readonly verdict: string;
  /** Status the client sees. Default 400. */
  readonly status?: number;
}

const end = "\r\n\r\n";
const post = (...lines: string[]): string => ["POST /x HTTP/1.1", "Host: a", ...lines].join("\r\n") + end;
const get = (...lines: string[]): string => ["GET /x HTTP/1.1", "Host: a", ...lines].join("\r\n") + end;
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const chunked = "Transfer-Encoding: chunked";
const row = (claim: string, bytes: string, verdict: string, status = 400): SmugglingVector => ({ claim, bytes, verdict, status });

/** Heads that are refused: not one byte reaches the app. */
export const refusedHeads: readonly SmugglingVector[] = [
  row("CL.TE", `${post("Content-Length: 6", chunked)}0\r\n\r\nG`, "length_and_transfer_coding"),
  row("TE.CL", `${post(chunked, "Content-Length: 4")}5c\r\n${smuggled}0\r\n\r\n`, "length_and_transfer_coding"),
  row("CL.TE with a length of 0", `${post("Content-Length: 0", chunked)}0\r\n\r\n`, "length_and_transfer_coding"),
  row("two different lengths", `${post("Content-Length: 0", "Content-Length: 36")}${smuggled}`, "length_repeated"),
  row("two equal lengths", `${post("Content-Length: 1", "Content-Length: 1")}x`, "length_repeated"),
  row("a list of lengths", `${post("Content-Length: 1, 1")}x`, "length_malformed"),
  row("a length with a sign", `${post("Content-Length: +1")}x`, "length_malformed"),
  row("a negative length", `${post("Content-Length: -1")}x`, "length_malformed"),
  row("a hexadecimal length", `${post("Content-Length: 0x1")}x`, "length_malformed"),
  row("a length with a fraction", `${post("Content-Length: 1.0")}x`, "length_malformed"),
  row("a length with a blank inside", `${post("Content-Length: 1 0")}x`, "length_malformed"),
  row("a length with an underscore", `${post("Content-Length: 1_0")}x`, "length_malformed"),
  row("an empty length", `${post("Content-Length:")}x`, "length_malformed"),
  row("a length that overflows 64 bits", `${post("Content-Length: 18446744073709551617")}x`, "length_malformed"),
  row("a length in other digits", `${post("Content-Length: \xb9")}x`, "length_malformed"),
  row("Content_Length", `${post("Content_Length: 36")}${smuggled}`, "framing_disguised"),
  row("Transfer_Encoding", `${post("Content-Length: 1", "Transfer_Encoding: chunked")}x`, "framing_disguised"),
  row("Transfer.Encoding", `${post("Transfer.Encoding: chunked")}`, "framing_disguised"),
  row("xchunked", `${post("Transfer-Encoding: xchunked")}0\r\n\r\n`, "transfer_coding_malformed"),
  row("chunked, identity", `${post("Transfer-Encoding: chunked, identity")}0\r\n\r\n`, "transfer_coding_malformed"),
  row("identity", `${post("Transfer-Encoding: identity")}0\r\n\r\n`, "transfer_coding_malformed"),
  row("identity, chunked", `${post("Transfer-Encoding: identity, chunked")}0\r\n\r\n`, "transfer_coding_unsupported", 501),
  row("gzip, chunked", `${post("Transfer-Encoding: gzip, chunked")}0\r\n\r\n`, "transfer_coding_unsupported", 501),
  row("chunked, chunked", `${post("Transfer-Encoding: chunked, chunked")}0\r\n\r\n`, "transfer_coding_malformed"),
  row("chunked twice", `${post(chunked, chunked)}0\r\n\r\n`, "transfer_coding_malformed"),
  row("chunked and then another coding", `${post(chunked, "Transfer-Encoding: x")}0\r\n\r\n`, "transfer_coding_malformed"),
  row("another coding and then chunked", `${post("Transfer-Encoding: x", chunked)}0\r\n\r\n`, "transfer_coding_malformed"),
  row("chunked in quotes", `${post('Transfer-Encoding: "chunked"')}0\r\n\r\n`, "transfer_coding_malformed"),
  row("chunked with a parameter", `${post("Transfer-Encoding: chunked;q=1")}0\r\n\r\n`, "transfer_coding_malformed"),
  row("an empty list element before chunked", `${post("Transfer-Encoding: ,chunked")}0\r\n\r\n`, "transfer_coding_malformed"),
  row("chunked with a comma", `${post("Transfer-Encoding: chunked,")}0\r\n\r\n`, "transfer_coding_malformed"),
  row("an empty transfer coding", `${post("Transfer-Encoding:")}0\r\n\r\n`, "transfer_coding_malformed"),
  row("a vertical tab before chunked", `${post("Transfer-Encoding: \x0bchunked")}0\r\n\r\n`, "malformed"),
  row("a no-break space before chunked", `${post("Transfer-Encoding: \xa0chunked")}0\r\n\r\n`, "transfer_coding_malformed"),
  row("a NUL behind chunked", `${post("Transfer-Encoding: chunked\0")}0\r\n\r\n`, "malformed"),
  row("chunked in HTTP/1.0", `POST /x HTTP/1.0\r\nHost: a\r\n${chunked}${end}0\r\n\r\n`, "transfer_coding_in_http_1_0"),
  row("a blank before the colon of Transfer-Encoding", `${post("Transfer-Encoding : chunked")}0\r\n\r\n`, "malformed"),
  row("a tab before the colon", `${post("Transfer-Encoding\t: chunked")}0\r\n\r\n`, "malformed"),
  row("a blank before the colon of Content-Length", `${post("Content-Length : 36")}${smuggled}`, "malformed"),
  row("a blank before a name", `${post("X: 1", " Content-Length: 36")}${smuggled}`, "malformed"),
  row("a folded value", post("X: 1", " 2"), "malformed"),
  row("a value folded by a tab", post("X: 1", "\t2"), "malformed"),
  row("a folded transfer coding", `${post("Transfer-Encoding:", " chunked")}0\r\n\r\n`, "malformed"),
  row("a folded first header", `GET /x HTTP/1.1\r\n Host: a\r\nHost: b${end}`, "malformed"),
  row("bare LF throughout", "GET /x HTTP/1.1\nHost: a\n\n", "malformed"),
  row("bare LF behind the request line", `GET /x HTTP/1.1\nHost: a${end}`, "malformed"),
  row("bare LF between headers", `GET /x HTTP/1.1\r\nHost: a\nX: 1${end}`, "malformed"),
  row("bare LF at the end of the head", "GET /x HTTP/1.1\r\nHost: a\r\n\n", "malformed"),
  row("LF CR", "GET /x HTTP/1.1\n\rHost: a\n\r\n\r", "malformed"),
  row("bare CR in a value", get("X: 1\rContent-Length: 36"), "malformed"),
  row("bare CR before CRLF", get("X: 1\r"), "malformed"),
  row("bare CR in the request line", `GET /x\r HTTP/1.1\r\nHost: a${end}`, "malformed"),
  row("bare CR between headers", `GET /x HTTP/1.1\rHost: a${end}`, "malformed"),
  row("NUL in a value", get("X: 1\x002"), "malformed"),
  row("NUL in a name", get("X\0: 1"), "malformed"),
  row("NUL in the target", `GET /x\0 HTTP/1.1\r\nHost: a${end}`, "malformed"),
  row("DEL in a value", get("X: \x7f"), "malformed"),
  row("a header without a colon", get("Content-Length 36"), "malformed"),
  row("a header without a name", get(": 1"), "malformed"),
  row("a byte above ASCII in a name", get("X\xe9: 1"), "malformed"),
  row("a byte order mark before the method", `\xef\xbb\xbf${get()}`, "malformed"),
  row("a colon in a method", `GET: /x HTTP/1.1\r\nHost: a${end}`, "malformed"),
  row("two blanks in the request line", `GET  /x HTTP/1.1\r\nHost: a${end}`, "malformed"),
  row("a tab in the request line", `GET\t/x HTTP/1.1\r\nHost: a${end}`, "malformed"),
  row("a blank in the target", `GET /x y HTTP/1.1\r\nHost: a${end}`, "malformed"),
  row("a no-break space in the target", `GET /x\xa0y HTTP/1.1\r\nHost: a${end}`, "malformed"),
  row("a blank behind the version", `GET /x HTTP/1.1 \r\nHost: a${end}`, "malformed"),
  row("a blank before the method", ` ${get()}`, "malformed"),
  row("three empty lines before it", `\r\n\r\n\r\n${get()}`, "malformed"),
  row("a version in small letters", `GET /x http/1.1\r\nHost: a${end}`, "malformed"),
  row("a version of two digits", `GET /x HTTP/1.10\r\nHost: a${end}`, "malformed"),
  row("a version with a sign", `GET /x HTTP/+1.1\r\nHost: a${end}`, "malformed"),
  row("HTTP/1.2", `GET /x HTTP/1.2\r\nHost: a${end}`, "version_unsupported", 505),
  row("HTTP/0.9 with a version", `GET /x HTTP/0.9\r\nHost: a${end}`, "version_unsupported", 505),
  row("HTTP/0.9", "GET /x\r\n\r\n", "malformed"),
  row("HTTP/2.0 in the words of 1", `GET /x HTTP/2.0\r\nHost: a${end}`, "version_unsupported", 505),
  row("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "malformed"),
  row("TLS", "\x16\x03\x01\x02\0\x01\0", "malformed"),
  row("two Host headers", `GET /x HTTP/1.1\r\nHost: a\r\nHost: b${end}`, "host_repeated"),
  row("two equal Host headers", `GET /x HTTP/1.1\r\nHost: a\r\nhost: a${end}`, "host_repeated"),
  row("no Host header", `GET /x HTTP/1.1${end}`, "host_missing"),
  row("a Host list", `GET /x HTTP/1.1\r\nHost: a, b${end}`, "host_malformed"),
  row("a Host with a path", `GET /x HTTP/1.1\r\nHost: a/b${end}`, "host_malformed"),
  row("a Host with user information", `GET /x HTTP/1.1\r\nHost: a@b${end}`, "host_malformed"),
  row("an https target", `GET https://a/x HTTP/1.1\r\nHost: a${end}`, "accepted"),
  row("a target that is neither path nor URL", `GET x HTTP/1.1\r\nHost: a${end}`, "accepted"),
  row("an absolute target with a list of hosts", `GET http://a,b/ HTTP/1.1\r\nHost: b${end}`, "accepted"),
  row("an absolute target with user information", `GET http://a@b/ HTTP/1.1\r\nHost: b${end}`, "accepted"),
  row("a head of more than 16 KiB", get(`X: ${"x".repeat(16 * 1024)}`), "head_too_large", 431),
  row("a head that never ends", `GET /x HTTP/1.1\r\n${"X: 1\r\n".repeat(3000)}`, "head_too_large", 431),
  row("a request line that never ends", `GET /${"x".repeat(17 * 1024)}`, "head_too_large", 431),
  row("more than 200 headers", get(...Array.from({ length: 200 }, (_, index) => `X: ${index}`)), "too_many_fields", 431),
  row("a target of more than 8 KiB", `GET /${"x".repeat(8 * 1024)} HTTP/1.1\r\nHost: a${end}`, "target_too_long", 414),
];

/** Bodies that are refused: the app may have got the head, but never the end of a request. */
export const refusedBodies: readonly SmugglingVector[] = [
  row("a size that is no number", `${post(chunked)}zz\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("no size", `${post(chunked)}\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("a negative size", `${post(chunked)}-5\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("a size with a plus", `${post(chunked)}+5\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("a size with 0x", `${post(chunked)}0x5\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("a size with an underscore", `${post(chunked)}0_5\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("a blank before a size", `${post(chunked)} 5\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("a blank behind a size", `${post(chunked)}5 \r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("a blank before an extension", `${post(chunked)}5 ;a\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("a size that overflows 64 bits", `${post(chunked)}10000000000000005\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("a size that overflows 32 bits", `${post(chunked)}100000005\r\nhello\r\n0\r\n\r\n`, "incomplete"),
  row("a size with many zeros before it", `${post(chunked)}00000000000005\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("bare LF behind a size", `${post(chunked)}5\nhello\r\n0\r\n\r\n`, "malformed"),
  row("bare CR behind a size", `${post(chunked)}5\rhello\r\n0\r\n\r\n`, "malformed"),
  row("bare LF in an extension", `${post(chunked)}5;a\nhello\r\n0\r\n\r\n`, "malformed"),
  row("bare LF in a quoted extension", `${post(chunked)}5;a="\n"\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("NUL in an extension", `${post(chunked)}5;\0\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("an extension of more than 1 KiB", `${post(chunked)}5;${"x".repeat(1024)}\r\nhello\r\n0\r\n\r\n`, "malformed"),
  row("data longer than its size", `${post(chunked)}5\r\nhello!\r\n0\r\n\r\n`, "malformed"),
  row("data shorter than its size", `${post(chunked)}5\r\nhell\r\n0\r\n\r\n`, "malformed"),
  row("another byte and LF behind data", `${post(chunked)}5\r\nhello!\n0\r\n\r\n`, "malformed"),
  row("bare LF behind data", `${post(chunked)}5\r\nhello\n0\r\n\r\n`, "malformed"),
  row("no CRLF behind data", `${post(chunked)}5\r\nhello0\r\n\r\n`, "malformed"),
  row("bare LF behind the last chunk", `${post(chunked)}0\n\r\n`, "malformed"),
  row("bare LF at the end of the trailers", `${post(chunked)}0\r\nX: 1\n\r\n`, "malformed"),
  row("a bare LF instead of trailers", `${post(chunked)}0\r\n\n`, "malformed"),
  row("a folded trailer", `${post(chunked)}0\r\nX: 1\r\n 2\r\n\r\n`, "malformed"),
  row("a trailer with a blank before its colon", `${post(chunked)}0\r\nX : 1\r\n\r\n`, "malformed"),
  row("more than 200 trailers", `${post(chunked)}0\r\n${"TE:\r\n".repeat(201)}\r\n`, "too_many_fields", 431),
  row("trailers of more than 16 KiB", `${post(chunked)}0\r\nX: ${"x".repeat(16 * 1024)}\r\n\r\n`, "head_too_large", 431),
];

/** Requests that look odd and have one meaning only. */
export const acceptedRequests: readonly SmugglingVector[] = [
  row("one empty line before it", `\r\n${get()}`, "accepted", 200),
  row("chunked in capitals", `${post("TRANSFER-ENCODING: CHUNKED")}0\r\n\r\n`, "accepted", 200),
  row("tabs around a value", `${post("Transfer-Encoding:\tchunked\t")}0\r\n\r\n`, "accepted", 200),
  row("no blank behind the colon", `${post("Content-Length:1")}x`, "accepted", 200),
  row("an extension", `${post(chunked)}5;a="b c";d\r\nhello\r\n0;last\r\n\r\n`, "accepted", 200),
  row("200 trailers", `${post(chunked)}0\r\n${"TE:\r\n".repeat(200)}\r\n`, "accepted", 200),
  row("a size with some zeros before it", `${post(chunked)}0005\r\nhello\r\n000\r\n\r\n`, "accepted", 200),
  row("a body that looks like a request", `${post(`Content-Length: ${smuggled.length}`)}${smuggled}`, "accepted", 200),
  row("an empty value", get("X:"), "accepted", 200),
  row("bytes above ASCII in a value", get("X: \xe9\xff"), "accepted", 200),
  row("an empty Host", `GET /x HTTP/1.1\r\nHost:${end}`, "accepted", 200),
  row("HTTP/1.0 without Host", `GET /x HTTP/1.0${end}`, "accepted", 200),
  row("an absolute target and another Host", `GET http://b/x HTTP/1.1\r\nHost: a${end}`, "accepted", 200),
];

const ok = (...lines: string[]): string => ["HTTP/1.1 200 OK", ...lines].join("\r\n") + end;
const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

/** Responses that are refused: the client gets a 502 and nothing of them. */
export const refusedResponses: readonly SmugglingVector[] = [
  row("a length and a transfer coding", `${ok("Content-Length: 3", chunked)}0\r\n\r\n`, "length_and_transfer_coding", 502),
  row("two lengths", `${ok("Content-Length: 3", "Content-Length: 5")}hello`, "length_repeated", 502),
  row("a length with a sign", `${ok("Content-Length: +5")}hello`, "length_malformed", 502),
  row("xchunked", `${ok("Transfer-Encoding: xchunked")}0\r\n\r\n`, "transfer_coding_malformed", 502),
  row("gzip, chunked", `${ok("Transfer-Encoding: gzip, chunked")}0\r\n\r\n`, "transfer_coding_unsupported", 502),
  row("chunked in HTTP/1.0", `HTTP/1.0 200 OK\r\n${chunked}${end}0\r\n\r\n`, "transfer_coding_in_http_1_0", 502),
  row("Content_Length", `${ok("Content_Length: 5")}hello`, "framing_disguised", 502),
  row("a header split by a bare LF", ok("X: 1\nContent-Length: 0"), "malformed", 502),
  row("a header split by a bare CR", ok("X: 1\rContent-Length: 0"), "malformed", 502),
  row("a folded header", ok("X: 1", " 2"), "malformed", 502),
  row("a blank before a colon", ok("Content-Length : 5"), "malformed", 502),
  row("NUL in a header", ok("X: \0"), "malformed", 502),
  row("bare LF throughout", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "malformed", 502),
  row("a reason with a control byte", `HTTP/1.1 200 O\x01K\r\nContent-Length: 0${end}`, "malformed", 502),
  row("a status of two digits", `HTTP/1.1 20 OK\r\nContent-Length: 0${end}`, "malformed", 502),
  row("a status of four digits", `HTTP/1.1 2000 OK\r\nContent-Length: 0${end}`, "malformed", 502),
  row("a status below 100", `HTTP/1.1 099 OK\r\nContent-Length: 0${end}`, "malformed", 502),
  row("HTTP/2.0", `HTTP/2.0 200 OK\r\nContent-Length: 0${end}`, "version_unsupported", 502),
  row("HTTP/0.9", "hello\r\n\r\n", "malformed", 502),
  row("an empty line before it", `\r\n${ok("Content-Length: 0")}`, "malformed", 502),
  row("a head of more than 16 KiB", ok(`X: ${"x".repeat(16 * 1024)}`), "head_too_large", 502),
];

/** Responses with bytes behind them: the client gets the first alone, and the connection is not used again. */
export const followedResponses: readonly SmugglingVector[] = [
  row("behind a length", `${ok("Content-Length: 5")}hello${poison}`, "accepted", 200),
  row("behind the last chunk", `${ok(chunked)}5\r\nhello\r\n0\r\n\r\n${poison}`, "accepted", 200),
  row("behind a response without body", `HTTP/1.1 204 No Content${end}${poison}`, "accepted", 204),
  row("behind a 204 that says it has a length", `HTTP/1.1 204 No Content\r\nContent-Length: 5${end}hello${poison}`, "accepted", 204),
  row("behind a 304 that says it is chunked", `HTTP/1.1 304 Not Modified\r\n${chunked}${end}5\r\nhello\r\n0\r\n\r\n${poison}`, "accepted", 304),
];
