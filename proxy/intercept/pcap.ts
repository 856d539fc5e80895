/** One TCP segment with data, or the SYN that begins a connection. */
export interface TcpSegment {
  readonly from: string;
  readonly to: string;
  readonly sequence: number;
  readonly syn: boolean;
  readonly payload: Buffer;
}

/**
 * Reads a capture as it grows and hands on its TCP segments; whatever is not TCP over IP is passed over.
 * @throws {RangeError} for what is not a capture of a kind that we read
 * @source draft-ietf-opsawg-pcap; tcpdump.org/linktypes.html
 */
export function pcapReader(onSegment: (segment: TcpSegment) => void): (chunk: Buffer) => void {
  let held: Buffer = Buffer.alloc(0);
  let format: Format | undefined;
  return (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    if (format === undefined) {
      if (held.length < fileHeaderBytes) return;
      format = readFormat(held);
      held = held.subarray(fileHeaderBytes);
    }
    while (held.length >= recordHeaderBytes) {
      const length = format.uint32(held, 8);
      if (length > maxPacketBytes) throw new RangeError(`the capture has a packet of ${length} bytes`);
      if (held.length < recordHeaderBytes + length) return;
      const segment = readFrame(held.subarray(recordHeaderBytes, recordHeaderBytes + length), format.link);
      if (segment !== undefined) onSegment(segment);
      held = held.subarray(recordHeaderBytes + length);
    }
  };
}

interface Format {
  readonly link: Link;
  uint32(bytes: Buffer, offset: number): number;
}
/** Where the network layer begins, and where its kind is written; undefined kind: by the IP version itself. */
interface Link {
  readonly headerBytes: number;
  readonly etherTypeAt: number | undefined;
}

function readFormat(header: Buffer): Format {
  const little = [0xa1b2c3d4, 0xa1b23c4d].includes(header.readUInt32LE(0));
  if (!little && ![0xa1b2c3d4, 0xa1b23c4d].includes(header.readUInt32BE(0))) throw new RangeError("this is not a pcap capture");
  const uint32 = (bytes: Buffer, offset: number): number => little ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset);
  const link = links[uint32(header, 20) & 0xffff];
  if (link === undefined) throw new RangeError("the capture is of a kind of network that is not read here; capture on one interface");
  return { link, uint32 };
}

function readFrame(frame: Buffer, { headerBytes, etherTypeAt }: Link): TcpSegment | undefined {
  if (frame.length <= headerBytes) return undefined;
  const etherType = etherTypeAt === undefined ? undefined : frame.readUInt16BE(etherTypeAt);
  const tagged = etherType === vlan && frame.length > headerBytes + 4;
  const kind = tagged ? frame.readUInt16BE(headerBytes + 2) : etherType;
  const packet = frame.subarray(headerBytes + (tagged ? 4 : 0));
  const version = packet[0]! >> 4;
  if (version === 4 && (kind === undefined || kind === ipv4)) return readIpv4(packet);
  if (version === 6 && (kind === undefined || kind === ipv6)) return readIpv6(packet);
  return undefined;
}

function readIpv4(packet: Buffer): TcpSegment | undefined {
  const headerBytes = (packet[0]! & 0x0f) * 4;
  if (packet.length < headerBytes + minTcpBytes || packet[9] !== tcp) return undefined;
  const address = (offset: number): string => packet.subarray(offset, offset + 4).join(".");
  // Frames are padded to 60 bytes on the wire: the packet says where it ends.
  const end = Math.min(packet.length, packet.readUInt16BE(2) || packet.length);
  return readTcp(packet.subarray(headerBytes, end), address(12), address(16));
}

function readIpv6(packet: Buffer): TcpSegment | undefined {
  if (packet.length < 40 + minTcpBytes || packet[6] !== tcp) return undefined;
  const groups = (offset: number): string[] => Array.from({ length: 8 }, (_, group) => packet.readUInt16BE(offset + 2 * group).toString(16));
  // As people write it: RFC 5952.
  const address = (offset: number): string => new URL(`http://[${groups(offset).join(":")}]/`).hostname;
  return readTcp(packet.subarray(40, 40 + (packet.readUInt16BE(4) || packet.length)), address(8), address(24));
}

function readTcp(segment: Buffer, source: string, target: string): TcpSegment | undefined {
  if (segment.length < minTcpBytes) return undefined;
  const syn = (segment[13]! & 0x02) !== 0;
  const payload = segment.subarray((segment[12]! >> 4) * 4);
  if (!syn && payload.length === 0) return undefined;
  return { from: `${source}:${segment.readUInt16BE(0)}`, to: `${target}:${segment.readUInt16BE(2)}`, sequence: segment.readUInt32BE(4), syn, payload };
}

/** Ethernet, raw IP in both numberings, and Linux's two forms for the interface `any`. */
const links: Readonly<Record<number, Link>> = {
  1: { headerBytes: 14, etherTypeAt: 12 },
  12: { headerBytes: 0, etherTypeAt: undefined },
  101: { headerBytes: 0, etherTypeAt: undefined },
  113: { headerBytes: 16, etherTypeAt: 14 },
  276: { headerBytes: 20, etherTypeAt: 0 },
};
const ipv4 = 0x0800;
const ipv6 = 0x86dd;
const vlan = 0x8100;
const tcp = 6;
const minTcpBytes = 20;
const fileHeaderBytes = 24;
const recordHeaderBytes = 16;
const maxPacketBytes = 1 << 20;
