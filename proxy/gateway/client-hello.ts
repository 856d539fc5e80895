/** What the first bytes of a connection are. */
export type ClientHello =
  /** More bytes are needed. */
  | { readonly kind: "incomplete" }
  | { readonly kind: "not_tls" | "malformed" | "too_long" }
  /** @property serverName in lower case; undefined where none was sent */
  | { readonly kind: "whole"; readonly serverName: string | undefined };

/**
 * Reads whom a TLS client asks for, from what it sends first. Nothing is decrypted: the name is in the clear.
 * @param bytes all that has come so far
 * @source RFC 8446 sections 4.1.2 and 5.1; RFC 6066 section 3
 */
export function readClientHello(bytes: Buffer): ClientHello {
  const fragments: Buffer[] = [];
  let length = 0;
  /** Of the message, once its head has come. */
  let end: number | undefined;
  for (let at = 0; ;) {
    // A message may be spread over records, as a record may be over packets.
    if (at < bytes.length && bytes[at] !== handshakeRecord) return { kind: at === 0 ? "not_tls" : "malformed" };
    if (bytes.length - at < recordHeadBytes) return incomplete;
    const size = bytes.readUInt16BE(at + 3);
    if (bytes[at + 1] !== majorVersion || size === 0 || size > maxRecordBytes) return { kind: "malformed" };
    if (fragments.length >= maxRecords) return { kind: "too_long" };
    const fragment = bytes.subarray(at + recordHeadBytes, at + recordHeadBytes + size);
    fragments.push(fragment);
    length += fragment.length;
    if (end === undefined && length >= messageHeadBytes) {
      const head = Buffer.concat(fragments, messageHeadBytes);
      if (head[0] !== clientHello) return { kind: "malformed" };
      end = messageHeadBytes + head.readUIntBE(1, 3);
      if (end > maxHelloBytes) return { kind: "too_long" };
    }
    if (end !== undefined && length >= end) return readMessage(Buffer.concat(fragments).subarray(messageHeadBytes, end));
    if (fragment.length < size) return incomplete;
    at += recordHeadBytes + size;
  }
}

function readMessage(hello: Buffer): ClientHello {
  try {
    // Version and random, then session ID, cipher suites and compression methods, which are skipped.
    let at = 34;
    at += 1 + hello.readUInt8(at);
    at += 2 + hello.readUInt16BE(at);
    at += 1 + hello.readUInt8(at);
    if (at === hello.length) return { kind: "whole", serverName: undefined };
    const end = at + 2 + hello.readUInt16BE(at);
    at += 2;
    if (end !== hello.length) return { kind: "malformed" };
    while (at < end) {
      const [type, size] = [hello.readUInt16BE(at), hello.readUInt16BE(at + 2)];
      at += 4;
      if (at + size > end) return { kind: "malformed" };
      if (type === serverNameExtension) return readName(hello.subarray(at, at + size));
      at += size;
    }
    return { kind: "whole", serverName: undefined };
  } catch (error) {
    // Cut off within: a length leads out of the message.
    if (error instanceof RangeError) return { kind: "malformed" };
    throw error;
  }
}

/** There is one kind of name, and one of it. */
function readName(list: Buffer): ClientHello {
  if (list.readUInt16BE(0) !== list.length - 2 || list.readUInt8(2) !== hostName || list.readUInt16BE(3) !== list.length - 5) return { kind: "malformed" };
  const serverName = list.toString("latin1", 5).toLowerCase();
  return namePattern.test(serverName) ? { kind: "whole", serverName } : { kind: "malformed" };
}

/** Ends a connection whose name leads nowhere: fatal, unrecognized_name. @source RFC 8446 section 6.2 */
export const unrecognizedName = Buffer.from([21, 3, 3, 0, 2, 2, 112]);

const incomplete = { kind: "incomplete" } as const;
const [handshakeRecord, majorVersion, clientHello, serverNameExtension, hostName] = [22, 3, 1, 0, 0];
const [recordHeadBytes, messageHeadBytes] = [5, 4];
const maxRecordBytes = 16 * 1024;
/** Browsers send 2 KiB with a hybrid key share. */
const maxHelloBytes = 16 * 1024;
/** Clients send one, those that hide from censors a few; all of them are looked at again whenever more has come. */
const maxRecords = 64;
const namePattern = /^[a-z0-9_](?:[a-z0-9_.-]{0,252})$/;
