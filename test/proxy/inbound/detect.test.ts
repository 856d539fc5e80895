import { describe, expect, test } from "vitest";
import { detectProtocol } from "../../../proxy/inbound/detect.ts";

const detect = (text: string) => detectProtocol(Buffer.from(text, "latin1"));

describe("what a server might take for HTTP/1 counts as HTTP, so that no identity header passes unseen", () => {
  const requests = [
    "GET / HTTP/1.1\r\n", "GET / HTTP/1.0\r\n", "get / http/1.1\r\n", "GET / HTTP/1.1\n", "\r\n\r\nGET / HTTP/1.1\r\n", "\nGET / HTTP/1.1\n",
    "GET  /  HTTP/1.1\r\n", "GET\t/ HTTP/1.1\r\n", "GET\r/\x0bHTTP/1.1\n", "GET /\x01\0 HTTP/1.1\r\n", "PROPFIND /x HTTP/1.1\r\n", "X-OWN /x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a b c HTTP/1.1\r\n", "GET / HTTP/1.7 \r\n",
    `GET /${"x".repeat(20_000)}`,
  ];
  for (const request of requests) {
    test(JSON.stringify(request.slice(0, 40)), () => expect(detect(request)).toBe("http"));
  }
});

describe("other first bytes are opaque", () => {
  const opaque = [
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00", "\0\0\0\x08\x04\xd2\x16\x2f", "get key\r\n", "*1\r\n$4\r\nPING\r\n", "EHLO host\r\n", "SET a b\r\n",
    '{"json": 1}\n', "x".repeat(65), "GET / HTTP/11\r\n",
  ];
  for (const bytes of opaque) {
    test(JSON.stringify(bytes.slice(0, 40)), () => expect(detect(bytes)).toBe("tcp"));
  }
});

describe("an incomplete line decides nothing", () => {
  for (const bytes of ["", "\r\n", "G", "GET", "GET ", "GET / HTTP/1.", "PRI * HTTP/2.0"]) {
    test(JSON.stringify(bytes), () => expect(detect(bytes)).toBe("undecided"));
  }
});
