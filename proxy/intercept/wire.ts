import type { TcpSegment } from "./pcap.ts";

/** What was seen of one connection. */
export interface WireConnection {
  readonly client: string;
  readonly server: string;
  /** Bytes of data, both directions. */
  readonly bytes: number;
  /**
   * `tls`: every byte seen lies in TLS records, and application data was among them. `handshake`: TLS, no application data yet.
   * `plaintext`: some of it is not TLS. `unknown`: it was open before the capture began and does not read as text.
   */
  readonly verdict: "tls" | "handshake" | "plaintext" | "unknown";
}

/** Judges connections by what passes on the wire. */
export interface WireWitness {
  see(segment: TcpSegment): void;
  connections(): readonly WireConnection[];
  /** Connections that were not looked at, for there were too many. */
  missed(): number;
}

/** Follows the TLS records of each direction, so that plain text behind a handshake (STARTTLS turned round) is seen as well. */
export function wireWitness(): WireWitness {
  const seen = new Map<string, Seen>();
  let missed = 0;

  function seenOf({ from, to, syn }: TcpSegment): Seen | undefined {
    const known = seen.get(`${from} ${to}`) ?? seen.get(`${to} ${from}`);
    if (known !== undefined) return known;
    if (seen.size >= maxConnections) {
      missed += 1;
      return undefined;
    }
    const begun: Seen = { client: from, server: to, bytes: 0, fromStart: syn, plaintext: false, applicationData: false, sides: new Map() };
    seen.set(`${from} ${to}`, begun);
    return begun;
  }

  return {
    see(segment) {
      const connection = seenOf(segment);
      if (connection === undefined) return;
      const { from, sequence, syn, payload } = segment;
      if (syn) connection.sides.set(from, { next: (sequence + 1) >>> 0, rest: 0, header: Buffer.alloc(0) });
      if (payload.length === 0) return;
      connection.bytes += payload.length;
      const side = connection.sides.get(from);
      if (side === undefined) {
        if (readsAsText(payload)) connection.plaintext = true;
        return;
      }
      follow(connection, side, sequence, payload);
    },
    connections: () => [...seen.values()].filter(({ bytes }) => bytes > 0).map((connection) => {
      const { client, server, bytes } = connection;
      return { client, server, bytes, verdict: verdictOf(connection) };
    }),
    missed: () => missed,
  };
}

interface Seen {
  readonly client: string;
  readonly server: string;
  bytes: number;
  readonly fromStart: boolean;
  plaintext: boolean;
  applicationData: boolean;
  /** By sender. */
  readonly sides: Map<string, Side>;
}
interface Side {
  /** Sequence number of the next byte. */
  next: number;
  /** Bytes of the current record still to come. */
  rest: number;
  /** The part of a record's header that has come. */
  header: Buffer;
}

function follow(connection: Seen, side: Side, sequence: number, payload: Buffer): void {
  const behind = (side.next - sequence) >>> 0;
  // Sent again: what is new in it is behind what we had.
  let data = behind < 0x8000_0000 ? payload.subarray(Math.min(behind, payload.length)) : payload;
  if (data.length === 0) return;
  if (behind >= 0x8000_0000) {
    // A gap: where the next record begins is lost.
    connection.sides.delete([...connection.sides].find(([, known]) => known === side)![0]);
    if (readsAsText(payload)) connection.plaintext = true;
    return;
  }
  side.next = (side.next + data.length) >>> 0;
  while (data.length > 0) {
    const body = Math.min(side.rest, data.length);
    side.rest -= body;
    data = data.subarray(body);
    if (data.length === 0) return;
    const missing = recordHeaderBytes - side.header.length;
    side.header = Buffer.concat([side.header, data.subarray(0, missing)]);
    data = data.subarray(missing);
    const [type, major] = side.header;
    if (type! < 20 || type! > 23 || (major !== undefined && major !== 3)) {
      connection.plaintext = true;
      return;
    }
    if (side.header.length < recordHeaderBytes) return;
    if (type === applicationData) connection.applicationData = true;
    side.rest = side.header.readUInt16BE(3);
    side.header = Buffer.alloc(0);
  }
}

function verdictOf({ plaintext, applicationData: carried, fromStart }: Seen): WireConnection["verdict"] {
  if (plaintext) return "plaintext";
  if (!fromStart) return "unknown";
  return carried ? "tls" : "handshake";
}

/** Random bytes are printable to a third; sixteen in a row by chance once in 10^7. */
function readsAsText(bytes: Buffer): boolean {
  const sample = bytes.subarray(0, sampleBytes);
  return sample.length >= minSampleBytes && sample.every((byte) => (byte >= 0x20 && byte < 0x7f) || byte === 0x0a || byte === 0x0d || byte === 0x09);
}

const applicationData = 23;
const recordHeaderBytes = 5;
const sampleBytes = 64;
const minSampleBytes = 16;
const maxConnections = 100_000;
