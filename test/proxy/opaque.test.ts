import { expect, test } from "vitest";
import { opaqueProtocol } from "../../proxy/opaque.ts";

test.each([
  ["a ClientHello", [0x16, 3, 1, 2, 0, 1, 0], "tls"],
  ["the beginning of one", [0x16], "tls"],
  ["a handshake record with something else in it", [0x16, 3, 3, 0, 40, 2], "tcp"],
  ["a control byte and text", [0x16, 0x41], "tcp"],
  ["an SSLRequest of PostgreSQL", [0, 0, 0, 8, 4, 210, 22, 47], "tcp"],
  ["nothing", [], "tcp"],
])("%s", (_what, bytes, protocol) => {
  expect(opaqueProtocol(Uint8Array.from(bytes))).toBe(protocol);
});
