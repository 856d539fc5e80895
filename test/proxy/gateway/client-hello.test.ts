import { once } from "node:events";
import { connect as connectTls } from "node:tls";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { readClientHello } from "../../../proxy/gateway/client-hello.ts";
import { tcpApp } from "../../support/tcp.ts";

/** What a real client sends first. */
async function helloOf(servername?: string): Promise<Buffer> {
  const first = Promise.withResolvers<Buffer>();
  const server = await tcpApp((socket) => socket.on("error", () => undefined).once("data", (bytes: Buffer) => first.resolve(bytes)));
  const client = connectTls({ port: server.port, host: "127.0.0.1", ...(servername !== undefined && { servername }) }).on("error", () => undefined);
  const bytes = await first.promise;
  client.destroy();
  await once(client, "close");
  await server.close();
  return bytes;
}

/** The same message in records of so many bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5);
  const records = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(records);
}

let named: Buffer;
beforeAll(async () => {
  named = await helloOf("World.Default.west");
});

test("the name is read, in lower case, from what a real client sends", () => {
  expect(readClientHello(named)).toEqual({ kind: "whole", serverName: "world.default.west" });
});

test("a client that names nobody", async () => {
  expect(readClientHello(await helloOf())).toEqual({ kind: "whole", serverName: undefined });
});

test("more is needed until the message is whole, wherever it is cut", () => {
  for (const bytes of [named, inRecords(named, 40)]) {
    for (let cut = 0; cut < bytes.length; cut += 13) expect(readClientHello(bytes.subarray(0, cut)).kind).toBe("incomplete");
    expect(readClientHello(bytes)).toEqual({ kind: "whole", serverName: "world.default.west" });
    expect(readClientHello(Buffer.concat([bytes, Buffer.from("early data")]))).toEqual({ kind: "whole", serverName: "world.default.west" });
  }
});

describe("is refused", () => {
  const changed = (at: number, ...bytes: readonly number[]): Buffer => {
    const copy = Buffer.from(named);
    copy.set(bytes, at);
    return copy;
  };
  const nameAt = (): number => named.indexOf("World.Default.west");
  /** Behind session ID, cipher suites and compression methods. */
  function extensionsAt(): number {
    let at = 44 + named[43]!;
    at += 2 + named.readUInt16BE(at);
    return at + 1 + named[at]!;
  }
  const table: readonly { claim: string; bytes: () => Buffer; kind: string }[] = [
    { claim: "plain text", bytes: () => Buffer.from("GET / HTTP/1.1\r\n\r\n"), kind: "not_tls" },
    { claim: "a record of another protocol version", bytes: () => changed(1, 2), kind: "malformed" },
    { claim: "a record that is empty", bytes: () => changed(3, 0, 0), kind: "malformed" },
    { claim: "a record longer than records are", bytes: () => changed(3, 0x40, 1), kind: "malformed" },
    { claim: "another message than ClientHello", bytes: () => changed(5, 2), kind: "malformed" },
    { claim: "another record in the middle of the message", bytes: () => Buffer.concat([inRecords(named, 100).subarray(0, 105), Buffer.from([23, 3, 3, 0, 1, 0])]), kind: "malformed" },
    { claim: "a message of 16 MiB", bytes: () => changed(6, 255, 255, 255), kind: "too_long" },
    { claim: "a message in more than 64 records, which would be put together anew for each", bytes: () => inRecords(named, 1), kind: "too_long" },
    { claim: "a session ID that leads out of the message", bytes: () => changed(43, 255), kind: "malformed" },
    { claim: "extensions that end before the message does", bytes: () => changed(extensionsAt(), 0, 40), kind: "malformed" },
    { claim: "an extension that leads out of the message", bytes: () => changed(nameAt() - 9, 0xfa, 0xfa, 0xff, 0xf0), kind: "malformed" },
    { claim: "a name with a byte that no name has", bytes: () => changed(nameAt(), 0), kind: "malformed" },
    { claim: "a name that is empty", bytes: () => changed(nameAt() - 2, 0, 0), kind: "malformed" },
    { claim: "two names", bytes: () => changed(nameAt() - 2, 0, 5), kind: "malformed" },
    { claim: "a name of another kind", bytes: () => changed(nameAt() - 3, 1), kind: "malformed" },
  ];
  for (const { claim, bytes, kind } of table) test(claim, () => expect(readClientHello(bytes())).toEqual({ kind }));
});

test("whatever comes, it says what it is and reads no further than it may", () => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.nat(600), fc.nat(255)), { maxLength: 6 }), fc.nat(700), (edits, cut) => {
    const bytes = Buffer.from(named.subarray(0, Math.max(6, named.length - cut)));
    for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
    expect(["incomplete", "not_tls", "malformed", "too_long", "whole"]).toContain(readClientHello(bytes).kind);
  }), { numRuns: 5000 });
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    expect(["incomplete", "not_tls", "malformed", "too_long", "whole"]).toContain(readClientHello(Buffer.from([22, 3, 1, 0, bytes.length + 4, 1, 0, 0, bytes.length, ...bytes])).kind);
  }), { numRuns: 5000 });
});
