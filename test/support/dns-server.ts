import { createSocket } from "node:dgram";
import { once } from "node:events";

/** A DNS server on loopback that knows what a test tells it. */
export interface DnsServer {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** IPv4 address by name. */
  readonly addresses: Map<string, string>;
  /** Asked at each question. */
  texts: (name: string) => readonly string[];
  close(): void;
}

export async function startDnsServer(): Promise<DnsServer> {
  const socket = createSocket("udp4");
  const dns: DnsServer = {
    get address() { return `127.0.0.1:${socket.address().port}`; },
    addresses: new Map(), texts: () => [], close: () => socket.close(),
  };
  socket.on("message", (query, { port, address }) => {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at++] ?? 0; length > 0; length = query[at++] ?? 0) labels.push(query.subarray(at, (at += length)).toString("latin1"));
    const type = query.readUInt16BE(at);
    const name = labels.join(".").toLowerCase();
    const a = dns.addresses.get(name);
    const found = type === 1 && a !== undefined ? [Buffer.from(a.split(".").map(Number))]
      : type === 16 ? dns.texts(name).map((text) => Buffer.concat([Buffer.of(text.length), Buffer.from(text)])) : [];
    const answers = found.map((data) => {
      const head = Buffer.alloc(12);
      head.writeUInt16BE(0xc00c, 0); // the question's name
      head.writeUInt16BE(type, 2);
      head.writeUInt16BE(1, 4);
      head.writeUInt16BE(data.length, 10);
      return Buffer.concat([head, data]);
    });
    const header = Buffer.from(query.subarray(0, 12));
    header.writeUInt16BE(a === undefined && found.length === 0 ? 0x8183 : 0x8180, 2);
    header.writeUInt16BE(answers.length, 6);
    header.writeUInt32BE(0, 8);
    socket.send(Buffer.concat([header, query.subarray(12, at + 4), ...answers]), port, address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return dns;
}
