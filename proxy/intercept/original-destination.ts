import type * as Ffi from "node:ffi";
import type { Socket } from "node:net";
import { plainAddress } from "../../ca/pki/ip-address.ts";
import type { SocketAddress } from "../address.ts";

/** Tells where a connection that the kernel redirected to us was going; undefined for one that was not redirected. */
export type OriginalDestination = (socket: Socket) => SocketAddress | undefined;

/**
 * Asks the kernel (SO_ORIGINAL_DST) through Node's own foreign function interface: no add-on, so no compiler on the user's machine.
 * @throws {Error} where there is no Linux, or a Node.js older than 26.1
 * @source linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h; struct sockaddr_in and sockaddr_in6 of ip(7) and ipv6(7)
 */
export function originalDestinations(): OriginalDestination {
  const ffi = process.getBuiltinModule("node:ffi") as typeof Ffi | undefined;
  if (process.platform !== "linux" || ffi === undefined) {
    throw new Error(`redirected connections can be told where they were going on Linux with Node.js 26.1 or later; this is ${process.platform} with ${process.version}`);
  }
  const { getsockopt } = ffi.dlopen("libc.so.6", {
    getsockopt: { arguments: ["i32", "i32", "i32", "pointer", "pointer"], return: "i32" },
  }).functions;
  const memory = new ArrayBuffer(addressBytes + 4);
  const base = ffi.getRawPointer(memory);
  const view = new DataView(memory);
  const bytes = new Uint8Array(memory, 0, addressBytes);

  return (socket) => {
    const fd = descriptorOf(socket);
    if (fd === undefined) return undefined;
    const own = plainAddress(socket.localAddress ?? "");
    const { level, length } = own.includes(":") ? ipv6 : ipv4;
    view.setUint32(addressBytes, length, littleEndian);
    if (getsockopt(fd, level, originalDestination, base, base + BigInt(addressBytes)) !== 0) return undefined;
    const port = view.getUint16(portAt);
    const host = level === ipv4.level ? bytes.subarray(4, 8).join(".") : formatIpv6(view);
    // Without a redirect the kernel answers with the address that was connected to: our own.
    return port === socket.localPort && host === own ? undefined : { host, port };
  };
}

/** Node shows the descriptor of a socket to nobody else. */
function descriptorOf(socket: Socket): number | undefined {
  const fd = (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle?.fd;
  return fd === undefined || fd < 0 ? undefined : fd;
}

/** As Node writes it, so that the two compare: RFC 5952. */
function formatIpv6(view: DataView): string {
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(ipv6AddressAt + 2 * index).toString(16));
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

const ipv4 = { level: 0, length: 16 };
const ipv6 = { level: 41, length: 28 };
/** SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST. */
const originalDestination = 80;
const addressBytes = 28;
const portAt = 2;
const ipv6AddressAt = 8;
const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
