import { describe, expect, test } from "vitest";
import { pcapReader, type TcpSegment } from "../../../proxy/intercept/pcap.ts";
import { wireWitness } from "../../../proxy/intercept/wire.ts";

const client = "10.0.0.1:5000";
const server = "10.0.0.2:443";

/** A conversation in which each side's sequence numbers run on by themselves. */
function conversation(begun = true) {
  const witness = wireWitness();
  const next = new Map([[client, 100], [server, 0xffff_fff0]]);
  const send = (from: string, payload: Buffer, at = next.get(from)!): void => {
    witness.see({ from, to: from === client ? server : client, sequence: at >>> 0, syn: false, payload });
    next.set(from, at + payload.length);
  };
  if (begun) {
    for (const [from, sequence] of next) {
      witness.see({ from, to: from === client ? server : client, sequence: sequence >>> 0, syn: true, payload: Buffer.alloc(0) });
      next.set(from, sequence + 1);
    }
  }
  return { send, next, verdict: () => witness.connections()[0]?.verdict };
}

const record = (type: number, bytes: number): Buffer => Buffer.concat([Buffer.of(type, 3, 3, bytes >> 8, bytes & 0xff), Buffer.alloc(bytes, 0xa5)]);

describe("a connection", () => {
  test("of TLS records alone is tls, however they are cut into segments, also past the end of the sequence numbers", () => {
    const { send, verdict } = conversation();
    send(client, record(22, 50));
    expect(verdict()).toBe("handshake");
    const flow = Buffer.concat([record(22, 90), record(20, 1), record(23, 300)]);
    for (let at = 0; at < flow.length; at += 7) send(server, flow.subarray(at, at + 7));
    expect(verdict()).toBe("tls");
  });

  test("that turns to plain text behind its handshake is plaintext", () => {
    const { send, verdict } = conversation();
    send(client, record(22, 50));
    send(server, record(23, 30));
    send(client, Buffer.from("GET / HTTP/1.1\r\n"));
    expect(verdict()).toBe("plaintext");
  });

  test("whose plain text is binary is plaintext too", () => {
    const { send, verdict } = conversation();
    send(client, Buffer.of(0, 0, 0, 8, 4, 210, 22, 47));
    expect(verdict()).toBe("plaintext");
  });

  test("is not misjudged for a segment that was sent again", () => {
    const { send, next, verdict } = conversation();
    const at = next.get(client)!;
    const flow = Buffer.concat([record(23, 40), record(23, 40)]);
    send(client, flow.subarray(0, 60), at);
    send(client, flow.subarray(30), at + 30);
    send(client, record(23, 10), at + flow.length);
    expect(verdict()).toBe("tls");
  });

  test("that was open before is unknown, but for text", () => {
    const late = conversation(false);
    late.send(client, Buffer.alloc(100, 0xa5));
    expect(late.verdict()).toBe("unknown");
    late.send(client, Buffer.from("a line of text that anybody can read\n"));
    expect(late.verdict()).toBe("plaintext");
  });
});

describe("a capture", () => {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt32LE(1, 20);
  const tcp = (payload: string, flags: number): Buffer => {
    const segment = Buffer.alloc(20 + payload.length);
    segment.writeUInt16BE(5000, 0);
    segment.writeUInt16BE(443, 2);
    segment.writeUInt32BE(7, 4);
    segment[12] = 5 << 4;
    segment[13] = flags;
    segment.write(payload, 20, "latin1");
    return segment;
  };
  const ip = (body: Buffer): Buffer => {
    const packet = Buffer.alloc(20);
    packet[0] = 0x45;
    packet.writeUInt16BE(20 + body.length, 2);
    packet[9] = 6;
    packet.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
    return Buffer.concat([packet, body]);
  };
  const frame = (etherType: number, body: Buffer): Buffer => Buffer.concat([Buffer.alloc(12), Buffer.of(etherType >> 8, etherType & 0xff), body, Buffer.alloc(6)]);
  const kept = (bytes: Buffer): Buffer => {
    const head = Buffer.alloc(16);
    head.writeUInt32LE(bytes.length, 8);
    return Buffer.concat([head, bytes]);
  };
  const capture = Buffer.concat([
    header, kept(frame(0x0800, ip(tcp("", 2)))), kept(frame(0x0806, Buffer.alloc(28))), kept(frame(0x0800, ip(tcp("hello", 24)))), kept(frame(0x0800, ip(tcp("", 16)))),
  ]);

  test("gives its SYNs and its data, without the padding, however it comes in", () => {
    const whole = [{ from: "10.0.0.1:5000", to: "10.0.0.2:443", sequence: 7, syn: true, payload: "" }, { from: "10.0.0.1:5000", to: "10.0.0.2:443", sequence: 7, syn: false, payload: "hello" }];
    for (const step of [1, 13, capture.length]) {
      const segments: object[] = [];
      const read = pcapReader((segment: TcpSegment) => segments.push({ ...segment, payload: segment.payload.toString() }));
      for (let at = 0; at < capture.length; at += step) read(capture.subarray(at, at + step));
      expect(segments).toEqual(whole);
    }
  });

  test("of another kind is refused", () => {
    expect(() => pcapReader(() => undefined)(Buffer.alloc(24))).toThrow(RangeError);
  });
});
