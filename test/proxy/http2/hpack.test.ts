import { once } from "node:events";
import { createServer, type ServerHttp2Stream } from "node:http2";
import { connect, type AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { Http2Error } from "../../../proxy/http2/frames.ts";
import { hpackDecoder } from "../../../proxy/http2/hpack-decoder.ts";
import { encodeBlock } from "../../../proxy/http2/hpack-encoder.ts";
import { readFrames, settings, type Frame } from "../../support/http2-frames.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const pairs = (block: Buffer, decoder = hpackDecoder(100_000)) => decoder.decode(block).fields.map(({ name, value }) => [name, value]);

describe("the examples of RFC 7541 appendix C", () => {
  const first = [[":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "www.example.com"]];
  for (const [claim, blocks] of [
    ["C.3, literals", ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865", "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"]],
    ["C.4, Huffman coded", ["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"]],
  ] as const) {
    test(claim, () => {
      const decoder = hpackDecoder(100_000);
      expect(pairs(hex(blocks[0]), decoder)).toEqual(first);
      expect(pairs(hex(blocks[1]), decoder)).toEqual([...first, ["cache-control", "no-cache"]]);
      expect(pairs(hex(blocks[2]), decoder)).toEqual([[":method", "GET"], [":scheme", "https"], [":path", "/index.html"], first[3], ["custom-key", "custom-value"]]);
    });
  }
});

describe("nghttp2, as Node has it, is understood and understands", () => {
  /** Of every byte that a value may have, and long and repeated ones, so that tables fill and are emptied. */
  const values = [
    Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join("").trim(),
    Array.from({ length: 128 }, (_, index) => String.fromCharCode(128 + index)).join(""), "x".repeat(3000), "y".repeat(3000), "", "0",
  ];

  test("what it encodes, over many blocks", async () => {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    server.on("session", (session) => session.on("error", () => undefined));
    server.on("stream", (stream: ServerHttp2Stream) => {
      stream.on("error", () => undefined);
      stream.respond({ ":status": 200, ...Object.fromEntries(values.map((value, index) => [`x-${index}`, value])), "x-round": String(stream.id) }, { endStream: true });
    });
    client.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), settings()]));
    const ids = [1, 3, 5, 7, 9];
    for (const id of ids) client.write(Buffer.concat([hex("000006 01 05"), Buffer.from([0, 0, 0, id]), hex("828684 410161")]));
    const frames = await readFrames(client, ({ streamId, type }: Frame) => type === 1 && streamId === ids.at(-1));
    const decoder = hpackDecoder(100_000);
    for (const { streamId, payload } of frames.filter(({ type }) => type === 1)) {
      const fields = new Map(decoder.decode(payload).fields.map(({ name, value }) => [name, value]));
      expect(values.map((_, index) => fields.get(`x-${index}`))).toEqual(values);
      expect(fields.get("x-round")).toBe(String(streamId));
    }
    client.destroy();
    server.close();
  });

  test("what we encode", async () => {
    let told: readonly string[] = [];
    const server = createServer();
    server.on("stream", (stream: ServerHttp2Stream, _headers, _flags, rawHeaders) => {
      told = rawHeaders as unknown as string[];
      stream.respond({ ":status": 204 }, { endStream: true });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    const fields = [[":method", "POST"], [":scheme", "http"], [":path", "/x"], [":authority", "a"], ["accept-encoding", "gzip, deflate"], ...values.map((value, index) => [`x-${index}`, value])];
    const block = encodeBlock(fields.map(([name, value], index) => ({ name: name!, value: value!, sensitive: index === 6 })), true);
    const head = Buffer.alloc(9);
    head.writeUIntBE(block.length, 0, 3);
    head.set([1, 5, 0, 0, 0, 1], 3);
    client.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), settings(), head, block]));
    await readFrames(client, ({ type }) => type === 1);
    expect(told).toEqual(fields.flat());
    client.destroy();
    server.close();
  });
});

describe("what is broken is a compression error", () => {
  for (const [claim, block] of [
    ["index 0", "80"], ["an index beyond both tables", "c0"], ["an integer that does not end", "ff80808080808000"], ["an integer that is cut off", "ff"],
    ["a string longer than the block", "000161 05 61"], ["a string without length", "0001 61"], ["padding of zeros", "00 8118 0161"], ["padding of a whole byte", "00 821fff 0161"],
    ["a table size in the middle", "82 20"], ["three table sizes", "20 20 20 82"], ["a table size beyond the limit", "3fe21f"],
  ] as const) {
    test(claim, () => expect(() => hpackDecoder(1000).decode(hex(block))).toThrow(Http2Error));
  }
});

test("the table forgets the oldest, all of it for one that is larger than itself, and what it is told to", () => {
  const decoder = hpackDecoder(1_000_000);
  const insert = (name: string, length: number): Buffer => Buffer.concat([hex("40"), encodeBlock([{ name, value: "v".repeat(length) }], false).subarray(1)]);
  decoder.decode(insert("a", 2000));
  decoder.decode(insert("b", 1900));
  expect(pairs(hex("bf"), decoder)[0]![0]).toBe("a");
  decoder.decode(insert("c", 1900));
  expect(() => decoder.decode(hex("c0"))).toThrow("index");
  expect(pairs(hex("be"), decoder)[0]![0]).toBe("c");
  decoder.decode(insert("d", 5000));
  expect(() => decoder.decode(hex("be"))).toThrow("index");
  decoder.decode(insert("e", 10));
  decoder.decode(hex("20"));
  expect(() => decoder.decode(hex("be"))).toThrow("index");
});

test("a list that is too large is told so, and the table goes on", () => {
  const decoder = hpackDecoder(100);
  expect(decoder.decode(Buffer.concat([hex("40"), encodeBlock([{ name: "a", value: "v".repeat(200) }], false).subarray(1)])).tooLarge).toBe(true);
  expect(decoder.decode(hex("82")).tooLarge).toBe(false);
  expect(decoder.decode(hex("be")).tooLarge).toBe(true);
});

test("what may not be compressed stays so", () => {
  const [field] = hpackDecoder(1000).decode(encodeBlock([{ name: "authorization", value: "x", sensitive: true }], false)).fields;
  expect(field).toMatchObject({ name: "authorization", value: "x", sensitive: true });
});

