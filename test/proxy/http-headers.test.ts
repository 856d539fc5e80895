import { describe, expect, test } from "vitest";
import { endToEndHeaders, endToEndTrailers, isClientIdHeader, readFraming } from "../../proxy/http-headers.ts";

describe("the identity header is removed in every spelling an app could take for it", () => {
  const spellings = [
    "countersign-client-id", "Countersign-Client-Id", "COUNTERSIGN-CLIENT-ID", "countersign_client_id", "Countersign_Client-ID", "countersign.client.id",
    "countersign-client_id", "countersign!client~id",
  ];
  for (const name of spellings) {
    test(name, () => {
      expect(isClientIdHeader(name)).toBe(true);
      expect(endToEndHeaders([name, "spiffe://east/admin", "A", "1", name, "again"])).toEqual(["A", "1"]);
      expect(endToEndTrailers([name, "spiffe://east/admin", "A", "1"])).toEqual([["A", "1"]]);
    });
  }
  test("other names stay", () => {
    const others = ["countersign-client-ids", "1", "x-countersign-client-id", "2", "countersignclientid", "3", "countersign-client-1d", "4"];
    expect(endToEndHeaders(others)).toEqual(others);
  });
});

describe("hop-by-hop headers end here", () => {
  const table: readonly [string, readonly string[], readonly string[]][] = [
    ["the standing ones", ["Connection", "close", "Keep-Alive", "timeout=5", "Proxy-Connection", "x", "TE", "trailers", "Upgrade", "h2c", "HTTP2-Settings", "x", "A", "1"], ["A", "1"]],
    ["credentials for the proxy", ["Proxy-Authorization", "Basic x", "Proxy-Authenticate", "Basic", "Authorization", "Bearer y"], ["Authorization", "Bearer y"]],
    ["the body's framing, which is written anew", ["Transfer-Encoding", "chunked", "Content-Length", "3"], ["Content-Length", "3"]],
    ["what Connection names", ["Connection", "X-Hop , close", "x-hop", "1", "A", "1", "connection", "b", "B", "2"], ["A", "1"]],
    ["but not what frames and routes the message", ["Connection", "Content-Length, Host", "Content-Length", "3", "Host", "a"], ["Content-Length", "3", "Host", "a"]],
    ["repeated ones stay repeated and in order", ["Set-Cookie", "a=1", "set-cookie", "b=2"], ["Set-Cookie", "a=1", "set-cookie", "b=2"]],
  ];
  for (const [claim, raw, kept] of table) {
    test(claim, () => expect(endToEndHeaders(raw)).toEqual(kept));
  }
  test("Trailer stays only where trailers may follow", () => {
    expect(endToEndHeaders(["Trailer", "X-Sum"])).toEqual([]);
    expect(endToEndHeaders(["Trailer", "X-Sum"], true)).toEqual(["Trailer", "X-Sum"]);
  });
  test("trailers do not bring in what frames, routes or authenticates", () => {
    expect(endToEndTrailers(["Host", "evil", "Content-Length", "5", "Authorization", "x", "Transfer-Encoding", "chunked", "Grpc-Status", "0"])).toEqual([["Grpc-Status", "0"]]);
  });
});

describe("framing", () => {
  const table: readonly [string, readonly string[], string, string][] = [
    ["no body", ["Host", "a"], "1.1", "none"],
    ["a length", ["Host", "a", "Content-Length", "3"], "1.1", "length"],
    ["chunked", ["Host", "a", "TRANSFER-ENCODING", " Chunked "], "1.1", "chunked"],
    ["another coding before chunked", ["Host", "a", "Transfer-Encoding", "gzip, chunked"], "1.1", "transfer_coding_unsupported"],
    ["chunked twice", ["Host", "a", "Transfer-Encoding", "chunked", "Transfer-Encoding", "chunked"], "1.1", "transfer_coding_unsupported"],
    ["chunked in HTTP/1.0", ["Host", "a", "Transfer-Encoding", "chunked"], "1.0", "transfer_coding_in_http_1_0"],
    ["two hosts", ["Host", "a", "host", "a"], "1.1", "host_repeated"],
    ["no host", ["A", "1"], "1.1", "host_missing"],
    ["no host in HTTP/1.0", ["A", "1"], "1.0", "none"],
  ];
  for (const [claim, raw, version, outcome] of table) {
    test(claim, () => expect(readFraming(raw, version)).toBe(outcome));
  }
});
