import { describe, expect, test } from "vitest";
import type { Fields } from "../../../proxy/http/fields.ts";
import { writeLastChunk, writeRequestHead, writeResponseHead, type RequestChanges } from "../../../proxy/http/forwarded.ts";
import type { Framing, RequestHead, ResponseHead } from "../../../proxy/http/head.ts";
import { readRequest, readResponse, written, type ReadMessage } from "../../support/http-messages.ts";

const forwardedRequest = (head: RequestHead, changes: RequestChanges): string => written((out) => writeRequestHead(out, head, changes));
const forwardedResponse = (head: ResponseHead, framing: Framing, connection: "close" | undefined): string => written((out) => writeResponseHead(out, head, framing, connection));
const lastChunk = (trailers: Fields | undefined): string => written((out) => writeLastChunk(out, trailers));

const request = (text: string): ReadMessage<RequestHead> => {
  const read = readRequest([Buffer.from(text, "latin1")]);
  if (typeof read === "string") throw new Error(read);
  return read;
};
const response = (text: string): ResponseHead => {
  const read = readResponse([Buffer.from(`${text}\r\n\r\n`, "latin1")]);
  if (typeof read === "string") throw new Error(read);
  return read.head;
};
const unchanged = { path: "/", host: undefined, addedLines: Buffer.alloc(0) };
/** Lines behind `Host: a` in what goes on of a GET with these. */
const kept = (...lines: string[]): string[] => (
  forwardedRequest(request(["GET / HTTP/1.1", "Host: a", ...lines, "", ""].join("\r\n")).head, unchanged).split("\r\n").slice(2, -2)
);

describe("the identity header is removed in every spelling an app could take for it", () => {
  const spellings = [
    "countersign-client-id", "Countersign-Client-Id", "COUNTERSIGN-CLIENT-ID", "countersign_client_id", "Countersign_Client-ID", "countersign.client.id",
    "countersign-client_id", "countersign!client~id",
  ];
  for (const name of spellings) {
    test(name, () => {
      expect(kept(`${name}: spiffe://east/admin`, "A: 1", `${name}:again`)).toEqual(["A: 1"]);
      const { trailers } = request(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${name}: spiffe://east/admin\r\nA: 1\r\n\r\n`);
      expect(lastChunk(trailers)).toBe("0\r\nA: 1\r\n\r\n");
      expect(forwardedResponse(response(`HTTP/1.1 200 OK\r\n${name}: x\r\nContent-Length: 0`), "length", undefined)).not.toContain(name);
    });
  }
  test("other names stay", () => {
    const others = ["countersign-client-ids: 1", "x-countersign-client-id: 2", "countersignclientid: 3", "countersign-client-1d: 4"];
    expect(kept(...others)).toEqual(others);
  });
});

describe("hop-by-hop headers end here", () => {
  const table: readonly [string, readonly string[], readonly string[]][] = [
    ["the standing ones", ["Connection: close", "Keep-Alive: timeout=5", "Proxy-Connection: x", "TE: trailers", "Upgrade: h2c", "HTTP2-Settings: x", "A: 1"], ["A: 1"]],
    ["credentials for the proxy", ["Proxy-Authorization: Basic x", "Proxy-Authenticate: Basic", "Authorization: Bearer y"], ["Authorization: Bearer y"]],
    ["what Connection names", ["Connection: X-Hop , close", "x-hop: 1", "A: 1", "connection: b", "B: 2"], ["A: 1"]],
    ["but not what frames and routes the message", ["Connection: Content-Length, Host", "Content-Length: 0"], ["Content-Length: 0"]],
    ["repeated ones stay repeated, in order and byte by byte", ["Cookie: a=1", "cookie:b=2\t", "X: \xe9"], ["Cookie: a=1", "cookie:b=2\t", "X: \xe9"]],
    ["Trailer where no trailers may follow", ["Trailer: X-Sum"], []],
    ["Expect goes on", ["Expect: 100-continue"], ["Expect: 100-continue"]],
  ];
  for (const [claim, lines, left] of table) test(claim, () => expect(kept(...lines)).toEqual(left));

  test("trailers do not bring in what frames, routes or authenticates", () => {
    const { trailers } = request(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: evil\r\nContent-Length: 5\r\nAuthorization: x\r\nTransfer-Encoding: chunked\r\nGrpc-Status: 0\r\nSet-Cookie: a\r\n\r\n",
    );
    expect(lastChunk(trailers)).toBe("0\r\nGrpc-Status: 0\r\n\r\n");
  });
});

describe("a message is delimited anew", () => {
  test("a chunked request keeps its Trailer and says it is chunked, once", () => {
    const { head } = request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:chunked\r\nTrailer: X\r\n\r\n0\r\n\r\n");
    expect(forwardedRequest(head, unchanged)).toBe("POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\ntransfer-encoding: chunked\r\n\r\n");
  });
  test("a POST without a body has a length of 0, a GET none", () => {
    expect(forwardedRequest(request("POST / HTTP/1.1\r\nHost: a\r\n\r\n").head, unchanged)).toContain("\r\ncontent-length: 0\r\n");
    expect(forwardedRequest(request("GET / HTTP/1.1\r\nHost: a\r\n\r\n").head, unchanged)).toBe("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  });
  test("the host that is set replaces the one that was sent", () => {
    const { head } = request("GET http://b/x HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n");
    expect(forwardedRequest(head, { path: "/x", host: "b", addedLines: Buffer.from("Y: 2\r\n") })).toBe("GET /x HTTP/1.1\r\nX: 1\r\nhost: b\r\nY: 2\r\n\r\n");
  });
  test("HTTP/1.0 goes on as 1.1", () => {
    expect(forwardedResponse(response("HTTP/1.0 200 Fine\r\nA: 1"), "chunked", undefined)).toBe("HTTP/1.1 200 Fine\r\nA: 1\r\ntransfer-encoding: chunked\r\n\r\n");
  });
  for (const status of [103, 204]) {
    test(`a ${status} has no length`, () => {
      expect(forwardedResponse(response(`HTTP/1.1 ${status} X\r\nContent-Length: 5`), "none", undefined)).toBe(`HTTP/1.1 ${status} X\r\n\r\n`);
    });
  }
  test("a 304 keeps the length it stands for", () => {
    expect(forwardedResponse(response("HTTP/1.1 304 X\r\nContent-Length: 5"), "none", "close")).toBe("HTTP/1.1 304 X\r\nContent-Length: 5\r\nconnection: close\r\n\r\n");
  });
});
