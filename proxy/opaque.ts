import type { ProxyConfig } from "./config/config.ts";

/** Whether connections to this port of the app are carried as they come, with nobody looking at what they are. */
export function isOpaquePort({ inboundProtocol, opaquePorts }: Pick<ProxyConfig, "inboundProtocol" | "opaquePorts">, port: number): boolean {
  return inboundProtocol === "tcp" || (inboundProtocol === "detect" && opaquePorts.has(port));
}

/** What opaque bytes are, by the first of them; only for people to see, nothing is decided by it. */
export type OpaqueProtocol = "tls" | "tcp";

/**
 * Tells TLS that the app speaks itself from everything else.
 * @param first  the first bytes of the side that connected; one is enough, and the more there are, the surer it is
 * @source RFC 8446 sections 5.1 and 4: a handshake record of any version, in it a ClientHello
 */
export function opaqueProtocol(first: Uint8Array): OpaqueProtocol {
  const [type, major, , , , message] = first;
  const isHello = type === handshakeRecord && (major === undefined || major === tlsMajor) && (message === undefined || message === clientHello);
  return isHello ? "tls" : "tcp";
}

const handshakeRecord = 22;
const tlsMajor = 3;
const clientHello = 1;
