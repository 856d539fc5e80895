import type { ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { idleWatch } from "../../../proxy/http/watch.ts";
import { serveHttp2 } from "../../../proxy/http2/forward.ts";
import type { Http2Owner, Http2Route } from "../../../proxy/http2/owner.ts";
import type { Http2Error } from "../../../proxy/http2/frames.ts";
import type { InboundDataPath } from "../../../proxy/inbound/server.ts";
import { eastIssuer, inboundHalf, metricValue, type HalfOptions, type TestHalf } from "../../support/data-path.ts";
import { http2App } from "../../support/http2.ts";
import { block, data, flag, frame, get, headers, hello, http2Preface, number, post, readFrames, settings, type Frame } from "../../support/http2-frames.ts";
import { tcpApp, tcpClient, tlsClient, type TestServer } from "../../support/tcp.ts";

const leaf = eastIssuer.leaf({ spiffeId: "spiffe://east/hello" });
const soon = { timeout: 20_000 };
let app: TestServer | undefined;
let half: TestHalf<InboundDataPath> | undefined;

afterEach(async () => {
  half?.path.close();
  await app?.close();
  app = undefined;
});

async function start(given: TestServer, options: HalfOptions = {}) {
  app = given;
  half = await inboundHalf({ app: { host: "127.0.0.1", port: app.port }, inboundProtocol: "http", ...options });
  return tlsClient(half.port, { leaf });
}

const noOwner: Http2Owner<Http2Route> = {
  route: () => ({ added: [], refusal: { status: 403, text: "" } }), open: () => new Promise(() => undefined), recheck: () => undefined, failed: () => ({ status: 502, text: "" }),
  answered: () => undefined, ended: () => undefined, refused: () => undefined, bug: () => undefined,
};

/** Counts requests, answers none with a body. */
function counting(seen: ServerHttp2Stream[]) {
  return http2App((stream) => {
    seen.push(stream);
    stream.respond({ ":status": 204 }, { endStream: true });
  });
}

const isGoaway = ({ type }: Frame): boolean => type === 7;
const goawayCode = (frames: readonly Frame[]): number | undefined => frames.find(isGoaway)?.payload.readUInt32BE(4);
const resetsOf = (frames: readonly Frame[]): (readonly [number, number])[] => frames.filter(({ type }) => type === 3).map(({ streamId, payload }) => [streamId, payload.readUInt32BE(0)]);
const manyFrames = (count: number, make: (index: number) => Buffer): Buffer => Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));
const streamOf = (index: number): number => 2 * index + 1;
const [protocolError, frameSizeError, streamClosed, compressionError, enhanceYourCalm] = [1, 6, 5, 9, 11];

describe("what breaks the rules of the connection ends it, by its code", () => {
  const table: readonly (readonly [claim: string, bytes: Buffer, code: number | undefined])[] = [
    ["a frame before SETTINGS", Buffer.concat([http2Preface, frame(6, 0, 0, Buffer.alloc(8))]), protocolError],
    ["an acknowledgement before SETTINGS", Buffer.concat([http2Preface, frame(4, flag.ack, 0)]), protocolError],
    ["a preface that goes on otherwise", Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"), settings()]), undefined],
    ["a frame larger than all take", Buffer.concat([hello, frame(0, 0, 1, [], 16_385)]), frameSizeError],
    ["SETTINGS of a wrong size", Buffer.concat([hello, frame(4, 0, 0, Buffer.alloc(5))]), frameSizeError],
    ["an acknowledgement with something in it", Buffer.concat([hello, frame(4, flag.ack, 0, Buffer.alloc(6))]), frameSizeError],
    ["SETTINGS on a stream", Buffer.concat([hello, frame(4, 0, 1)]), protocolError],
    ["a PING of a wrong size", Buffer.concat([hello, frame(6, 0, 0, Buffer.alloc(7))]), frameSizeError],
    ["a PING on a stream", Buffer.concat([hello, frame(6, 0, 1, Buffer.alloc(8))]), protocolError],
    ["RST_STREAM on no stream", Buffer.concat([hello, frame(3, 0, 0, number(0))]), protocolError],
    ["RST_STREAM on a stream that was never opened", Buffer.concat([hello, frame(3, 0, 1, number(0))]), protocolError],
    ["WINDOW_UPDATE on a stream that was never opened", Buffer.concat([hello, frame(8, 0, 5, number(1))]), protocolError],
    ["a window beyond its limit", Buffer.concat([hello, frame(8, 0, 0, number(0x7fff_ffff)), frame(8, 0, 0, number(1))]), 3],
    ["DATA on no stream", Buffer.concat([hello, data(0, "x")]), protocolError],
    ["DATA on a stream that was never opened", Buffer.concat([hello, data(1, "x")]), protocolError],
    ["DATA on a stream of even number", Buffer.concat([hello, headers(3, get), data(2, "x")]), protocolError],
    ["DATA behind the end of a stream", Buffer.concat([hello, headers(1, post), data(1, "x")]), streamClosed],
    ["HEADERS behind the end of a stream", Buffer.concat([hello, headers(1, post), headers(1, [["x", "y"]])]), streamClosed],
    ["padding longer than its frame", Buffer.concat([hello, headers(1, post, false), frame(0, flag.padded, 1, [9, 1])]), protocolError],
    ["padding without room for its length", Buffer.concat([hello, headers(1, post, false), frame(0, flag.padded, 1)]), frameSizeError],
    ["HEADERS shorter than their padding", Buffer.concat([hello, frame(1, flag.endHeaders | flag.padded, 1, [9, 1])]), protocolError],
    ["a stream of even number", Buffer.concat([hello, headers(2, get)]), protocolError],
    ["HEADERS on no stream", Buffer.concat([hello, headers(0, get)]), protocolError],
    ["a client that pushes", Buffer.concat([hello, frame(5, flag.endHeaders, 1, number(2))]), protocolError],
    ["CONTINUATION of nothing", Buffer.concat([hello, frame(9, flag.endHeaders, 1)]), protocolError],
    ["a header block that is interrupted", Buffer.concat([hello, frame(1, 0, 1, block(get)), frame(6, 0, 0, Buffer.alloc(8))]), protocolError],
    ["a header block that is interrupted by DATA", Buffer.concat([hello, headers(1, post, false), frame(1, 0, 3, block(get)), data(1, "x")]), protocolError],
    ["a header block that goes on elsewhere", Buffer.concat([hello, frame(1, 0, 1, block(get)), frame(9, flag.endHeaders, 3)]), protocolError],
    ["an index that nothing has", Buffer.concat([hello, frame(1, flag.endHeaders, 1, [0x80 | 70])]), compressionError],
    ["a table larger than was allowed", Buffer.concat([hello, frame(1, flag.endHeaders, 1, [0x3f, 0xe2, 0x1f])]), compressionError],
    ["a header block that is cut off", Buffer.concat([hello, frame(1, flag.endHeaders, 1, block(get).subarray(0, -1))]), compressionError],
    ["a Huffman code with the end symbol", Buffer.concat([hello, frame(1, flag.endHeaders, 1, [0, 0x84, 0xff, 0xff, 0xff, 0xff, 0])]), compressionError],
  ];
  for (const [claim, bytes, code] of table) {
    test(claim, async () => {
      const seen: ServerHttp2Stream[] = [];
      const client = await start(await counting(seen));
      client.write(bytes);
      expect(goawayCode(await readFrames(client, isGoaway))).toBe(code);
      client.end();
      await expect.poll(() => half?.path.connections.count(), soon).toBe(0);
      expect(metricValue(half!.metrics, "inbound_refused_total", 'reason="http2_')).toBe(1);
    });
  }
});

describe("a malformed request is refused with its stream, never repaired, and the next one is served", () => {
  const [, ...noMethod] = get;
  const table: readonly (readonly [claim: string, fields: readonly (readonly [string, string])[], status?: string])[] = [
    ["no method", noMethod],
    ["no path", get.filter(([name]) => name !== ":path")],
    ["no scheme", get.filter(([name]) => name !== ":scheme")],
    ["a scheme of its own", [[":method", "GET"], [":scheme", "ftp"], [":path", "/"]]],
    ["two methods", [...get, [":method", "POST"]]],
    ["two paths", [...get, [":path", "/x"]]],
    ["two authorities", [...get, [":authority", "other"]]],
    ["a pseudo-header behind a field", [...noMethod, ["a", "b"], [":method", "GET"]]],
    ["a pseudo-header nobody knows", [...get, [":protocol", "websocket"]]],
    ["one of responses", [...get, [":status", "200"]]],
    ["a method with a blank", [[":method", "GET / HTTP/1.1"], ...noMethod]],
    ["an empty path", [[":method", "GET"], [":scheme", "http"], [":path", ""]]],
    ["a path that is a URL", [[":method", "GET"], [":scheme", "http"], [":path", "http://x/"]]],
    ["a path with a line end", [[":method", "GET"], [":scheme", "http"], [":path", "/ HTTP/1.1\r\nx: y"]]],
    ["a path with a blank", [[":method", "GET"], [":scheme", "http"], [":path", "/a b"]]],
    ["a path above ASCII", [[":method", "GET"], [":scheme", "http"], [":path", "/\xa0"]]],
    ["an authority with a user", [[":method", "GET"], [":scheme", "http"], [":path", "/"], [":authority", "a@b"]]],
    ["Host that is another", [...get, ["host", "other"]]],
    ["two Hosts", [...get.slice(0, 3), ["host", "a"], ["host", "a"]]],
    ["a name in upper case", [...get, ["X-One", "1"]]],
    ["an empty name", [...get, ["", "1"]]],
    ["a name with a colon", [...get, ["a:b", "1"]]],
    ["a name with a blank", [...get, ["a ", "1"]]],
    ["a name with a line end", [...get, ["a\r\nb", "1"]]],
    ["a value with CR LF", [...get, ["a", "1\r\ncountersign-client-id: spiffe://east/admin"]]],
    ["a value with LF", [...get, ["a", "1\n"]]],
    ["a value with NUL", [...get, ["a", "1\0"]]],
    ["a value with blanks around it", [...get, ["a", " 1"]]],
    ["connection", [...get, ["connection", "close"]]],
    ["transfer-encoding", [...post, ["transfer-encoding", "chunked"]]],
    ["transfer_encoding", [...post, ["transfer_encoding", "chunked"]]],
    ["upgrade", [...get, ["upgrade", "websocket"]]],
    ["keep-alive", [...get, ["keep-alive", "1"]]],
    ["proxy-connection", [...get, ["proxy-connection", "keep-alive"]]],
    ["te that is not trailers", [...get, ["te", "gzip"]]],
    ["a length that is none", [...post, ["content-length", "1a"]]],
    ["two lengths", [...post, ["content-length", "0"], ["content-length", "0"]]],
    ["a length and no body", [...post, ["content-length", "5"]]],
    ["a path longer than 8 KiB", [[":method", "GET"], [":scheme", "http"], [":path", `/${"a".repeat(8192)}`]], "414"],
    ["CONNECT", [[":method", "CONNECT"], [":authority", "world:80"]], "405"],
  ];
  for (const [claim, fields, status = "400"] of table) {
    test(claim, async () => {
      const seen: ServerHttp2Stream[] = [];
      const client = await start(await counting(seen));
      client.write(Buffer.concat([hello, headers(1, fields), headers(3, get)]));
      const frames = await readFrames(client, ({ type, streamId }) => type === 1 && streamId === 3);
      expect(frames.find(({ type, streamId }) => type === 1 && streamId === 1)?.payload.toString("latin1")).toContain(`countersign-proxy: ${status}`);
      expect(seen.map(({ id }) => id)).toEqual([3]);
      client.destroy();
    });
  }

  test("fields of more than 32 KiB, by references to a large one", async () => {
    const seen: ServerHttp2Stream[] = [];
    const client = await start(await counting(seen));
    const large = Buffer.concat([Buffer.from([0x40]), block([["a", "x".repeat(4000)]]).subarray(1)]);
    client.write(Buffer.concat([hello, frame(1, flag.endHeaders | flag.endStream, 1, Buffer.concat([block(get), large, Buffer.alloc(9, 0x80 | 62)])), headers(3, get)]));
    const frames = await readFrames(client, ({ type, streamId }) => type === 1 && streamId === 3);
    expect(frames.find(({ streamId }) => streamId === 1)?.payload.toString("latin1")).toContain("431");
    expect(seen.map(({ id }) => id)).toEqual([3]);
    client.destroy();
  });

  const bodies: readonly (readonly [claim: string, frames: readonly Buffer[]])[] = [
    ["more DATA than Content-Length", [data(1, "hello!", true)]],
    ["less DATA than Content-Length", [data(1, "hell", true)]],
    ["less DATA than Content-Length, then trailers", [data(1, "hell"), headers(1, [["x", "y"]])]],
    ["padding that passes for DATA", [frame(0, flag.padded | flag.endStream, 1, Buffer.from("\x01hell\0", "latin1"))]],
    ["trailers that do not end the stream", [data(1, "hello"), headers(1, [["x", "y"]], false)]],
    ["a pseudo-header in the trailers", [data(1, "hello"), headers(1, [[":path", "/x"]])]],
    ["a line end in the trailers", [data(1, "hello"), headers(1, [["x", "y\r\n"]])]],
  ];
  for (const [claim, frames] of bodies) {
    test(claim, async () => {
      const seen: ServerHttp2Stream[] = [];
      const client = await start(await http2App((stream) => {
        seen.push(stream);
        stream.resume().on("end", () => {
          if (!stream.destroyed) stream.respond({ ":status": 204 }, { endStream: true });
        });
      }));
      client.write(Buffer.concat([hello, headers(1, [...post, ["content-length", "5"]], false), ...frames, headers(3, get)]));
      const came = await readFrames(client, ({ type, streamId }) => type === 1 && streamId === 3);
      expect(resetsOf(came)).toEqual([[1, protocolError]]);
      expect(came.some(({ type, streamId }) => type === 1 && streamId === 1)).toBe(false);
      await expect.poll(() => seen.find(({ id }) => id === 1)?.rstCode, soon).toBe(8);
      client.destroy();
    });
  }
});

describe("floods are bounded", () => {
  // What a slow machine's time between the first frame and the last allows more of is in the numbers.
  const table: readonly (readonly [claim: string, bytes: () => Buffer, reason: string])[] = [
    ["requests that are taken back at once", () => manyFrames(3000, (index) => Buffer.concat([headers(streamOf(index), post, false), frame(3, 0, streamOf(index), number(8))])), "requests that are taken back"],
    ["requests that have to be refused", () => manyFrames(3000, (index) => headers(streamOf(index), [["connection", "x"]])), "requests that are taken back"],
    ["SETTINGS", () => manyFrames(400, () => settings()), "too many SETTINGS"],
    ["PING", () => manyFrames(60_000, () => frame(6, 0, 0, Buffer.alloc(8))), "frames that carry nothing"],
    ["PRIORITY", () => manyFrames(60_000, () => frame(2, 0, 1, Buffer.alloc(5))), "frames that carry nothing"],
    ["frames nobody knows", () => manyFrames(60_000, () => frame(99, 0, 0)), "frames that carry nothing"],
    ["empty DATA", () => Buffer.concat([headers(1, post, false), manyFrames(60_000, () => data(1, ""))]), "frames that carry nothing"],
    ["CONTINUATION without end", () => Buffer.concat([frame(1, 0, 1, block(get)), manyFrames(20, () => frame(9, 0, 1, block([["a", "x".repeat(8000)]])))]), "a header block that does not end"],
    ["a header block of more than 64 KiB", () => Buffer.concat([frame(1, 0, 1, block(get)), manyFrames(5, () => frame(9, 0, 1, Buffer.alloc(16_000, 0x82)))]), "a header block that does not end"],
    ["empty CONTINUATION without end", () => Buffer.concat([frame(1, 0, 1, block(get)), manyFrames(20, () => frame(9, 0, 1))]), "a header block that does not end"],
  ];
  for (const [claim, bytes, reason] of table) {
    test(claim, async () => {
      const client = await start(await http2App((stream) => stream.resume(), { streamResetBurst: 100_000, maxSettings: 1000 }));
      client.write(Buffer.concat([hello, bytes()]));
      const came = await readFrames(client, isGoaway);
      expect(goawayCode(came)).toBe(enhanceYourCalm);
      // Not by the time it takes, which would end it too.
      expect(came.find(isGoaway)?.payload.toString("latin1", 8)).toContain(reason);
      client.destroy();
    });
  }

  test("streams beyond a thousand are refused so that they may be tried again, and the others go on", async () => {
    const client = await start(await tcpApp((socket) => void socket.write(settings([3, 0x7fff_ffff]))));
    client.write(Buffer.concat([hello, manyFrames(1002, (index) => headers(streamOf(index), get))]));
    const frames = await readFrames(client, ({ type, streamId }) => type === 3 && streamId === streamOf(1001));
    expect(resetsOf(frames)).toEqual([[streamOf(1000), 7], [streamOf(1001), 7]]);
    const allowed = frames.filter(({ type, flags }) => type === 4 && flags === 0).map(({ payload }) => payload.readUInt32BE(2));
    if (allowed.length < 2) allowed.push(...(await readFrames(client, ({ type }) => type === 4)).map(({ payload }) => payload.readUInt32BE(2)));
    expect(allowed).toEqual([1000, 1000]);
    client.destroy();
  });

  for (const [claim, begun, drop] of [
    ["a preface", http2Preface.subarray(0, 20), Buffer.alloc(0)],
    ["a header block", Buffer.concat([hello, frame(1, 0, 1, block(get))]), frame(9, 0, 1)],
    ["a frame", Buffer.concat([hello, headers(1, get), frame(1, 0, 3, [], 16_000)]), Buffer.from([0])],
  ] as const) {
    test(`${claim} that drips in has its time from its first byte`, async () => {
      const refused: Http2Error[] = [];
      const watch = idleWatch(10);
      app = await tcpApp((socket) => {
        const end = { socket, reset: () => void socket.resetAndDestroy() };
        serveHttp2(end, Buffer.alloc(0), { ...noOwner, refused: (error) => void refused.push(error) }, { idleTimeoutMs: 60_000, headTimeoutMs: 100 }, watch);
      });
      const client = await tcpClient(app.port);
      client.write(begun);
      const dripping = setInterval(() => client.write(drop), 20);
      await expect.poll(() => refused.map(({ code }) => code), soon).toEqual(["enhanceYourCalm"]);
      clearInterval(dripping);
      client.destroy();
      watch.stop();
    });
  }

  test("who says nothing for the idle timeout is told, and closed", async () => {
    const client = await start(await counting([]), { idleTimeoutMs: 1000 });
    client.write(hello);
    expect(goawayCode(await readFrames(client, isGoaway))).toBe(0);
    client.end();
    await expect.poll(() => half?.path.connections.count(), soon).toBe(0);
  });
});

describe("the two ends see each other's limits", () => {
  const raw = async (onClient: (socket: Socket) => void) => start(await tcpApp((socket) => {
    socket.on("error", () => undefined);
    onClient(socket);
  }));

  test("windows and sizes of both pass; tables, push and larger frames do not", async () => {
    let said = Buffer.alloc(0);
    const client = await raw((socket) => {
      socket.on("data", (chunk: Buffer) => (said = Buffer.concat([said, chunk])));
      socket.write(settings([1, 0], [3, 7], [4, 1000], [5, 1_000_000], [6, 100_000], [8, 1]));
    });
    client.write(Buffer.concat([http2Preface, settings([1, 0], [2, 1], [4, 2000], [5, 1_000_000], [6, 3000]), headers(1, get)]));
    const frames = await readFrames(client, ({ type, flags, payload }) => type === 4 && flags === 0 && payload.length === 18 && payload.readUInt32BE(2) === 7);
    const told = frames.filter(({ type, flags }) => type === 4 && flags === 0).at(-1)!.payload;
    expect([0, 6, 12].map((at) => [told.readUInt16BE(at), told.readUInt32BE(at + 2)])).toEqual([[3, 7], [4, 1000], [6, 32_768]]);
    expect(said.subarray(http2Preface.length, http2Preface.length + 27)).toEqual(settings([2, 0], [4, 2000], [6, 3000]));
    client.destroy();
  });

  test("flags and bits that nobody may look at are taken off DATA", async () => {
    let came = Buffer.alloc(0);
    const client = await raw((socket) => {
      socket.on("data", (chunk: Buffer) => (came = Buffer.concat([came, chunk])));
      socket.write(settings());
    });
    client.write(Buffer.concat([hello, headers(1, post, false), frame(0, 0xf0, 0x8000_0001, Buffer.from("first")), frame(0, flag.endStream, 1, Buffer.from("last"))]));
    await expect.poll(() => came.includes("last"), soon).toBe(true);
    expect(came.includes(Buffer.concat([data(1, "first"), data(1, "last", true)]))).toBe(true);
    client.destroy();
  });

  test("an app's SETTINGS are acknowledged when the client has done so, not before", async () => {
    const acks: boolean[] = [];
    let acknowledged = false;
    const client = await raw((socket) => {
      socket.on("data", (chunk: Buffer) => {
        if (chunk.includes(frame(4, flag.ack, 0))) acks.push(acknowledged);
      });
      socket.write(settings([4, 10]));
    });
    client.write(Buffer.concat([hello, headers(1, get)]));
    await readFrames(client, ({ type, flags, payload }) => type === 4 && flags === 0 && payload.length === 6);
    client.write(Buffer.concat([frame(6, 0, 0, Buffer.from("one ping")), frame(4, flag.ack, 0)]));
    acknowledged = true;
    client.write(frame(4, flag.ack, 0));
    await expect.poll(() => acks, soon).toEqual([true]);
    client.destroy();
  });

  for (const [claim, frames, code] of [
    ["connection fields", headers(1, [[":status", "200"], ["connection", "close"]]), undefined],
    ["a line end in a value", headers(1, [[":status", "200"], ["a", "b\r\nc: d"]]), undefined],
    ["no status", headers(1, [["a", "b"]]), undefined],
    ["101", headers(1, [[":status", "101"]], false), undefined],
    ["an interim response that ends", headers(1, [[":status", "103"]]), undefined],
    ["a push", frame(5, flag.endHeaders, 1, Buffer.concat([number(2), block(get)])), 0],
    ["a broken header block", frame(1, flag.endHeaders, 1, [0x80 | 99]), 0],
  ] as const) {
    test(`a response with ${claim} is a 502`, async () => {
      const client = await raw((socket) => void socket.once("data", () => socket.write(Buffer.concat([settings(), frames]))));
      client.write(Buffer.concat([hello, headers(1, get)]));
      const came = await readFrames(client, (one) => (code === undefined ? one.type === 1 : isGoaway(one)));
      expect(came.find(({ type }) => type === 1)?.payload.toString("latin1")).toContain("countersign-proxy: 502");
      client.destroy();
    });
  }

  test("what an app sends on a stream that is gone costs it no window", async () => {
    const credits: number[] = [];
    const client = await raw((socket) => {
      let bytes = Buffer.alloc(0);
      socket.write(settings());
      socket.on("data", (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk]);
        if (bytes.includes(frame(3, 0, 1, number(8)))) {
          bytes = Buffer.alloc(0);
          socket.write(Buffer.concat([headers(1, [[":status", "200"]], false), data(1, "x".repeat(1000))]));
        }
        const at = bytes.indexOf(frame(8, 0, 0, []).subarray(3, 9));
        if (at >= 0) credits.push(bytes.readUInt32BE(at + 6));
      });
    });
    client.write(Buffer.concat([hello, headers(1, get), frame(3, 0, 1, number(8))]));
    await expect.poll(() => credits, soon).toEqual([1000]);
    client.destroy();
  });
});
