import { isIP } from "node:net";
import { connect } from "node:tls";
import { ApiError } from "./api.ts";
import { chainOf } from "./presented-chain.ts";

/** What a TLS server showed; nothing of it was verified. */
export interface ServerChain {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** E.g. `TLSv1.3`. */
  readonly protocol: string;
  /** Chosen by ALPN; undefined where the server chose none. */
  readonly application: string | undefined;
}

/**
 * Asks a server for its certificates; it gets nothing from us but the greeting.
 * @throws {ApiError} when there is no TLS server
 */
export function readServerChain(host: string, port: number, serverName: string): Promise<ServerChain> {
  return new Promise((resolve, reject) => {
    // Whatever it shows is to be looked at, so nothing is refused here.
    const socket = connect({ host, port, rejectUnauthorized: false, ALPNProtocols: ["h2", "http/1.1"], ...(isIP(serverName) === 0 && { servername: serverName }) });
    const fail = (why: string, cause?: unknown): void => {
      reject(new ApiError(`no certificate from ${host} port ${port}: ${why}`, { cause }));
      socket.destroy();
    };
    socket.setTimeout(timeoutMs, () => fail(`no answer within ${timeoutMs / 1000} s`));
    socket.once("error", (error: NodeJS.ErrnoException) => fail(hints[error.code ?? ""] ?? error.message, error));
    socket.once("close", () => fail("it closed the connection before it showed one"));
    socket.once("secureConnect", () => {
      resolve({ chain: chainOf(socket.getPeerCertificate(true)), protocol: socket.getProtocol() ?? "TLS", application: socket.alpnProtocol || undefined });
      // Not at once: a server that is left in the middle of the handshake waits for the rest of it.
      socket.destroySoon();
    });
  });
}

const hints: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "there is no such host",
  ERR_SSL_WRONG_VERSION_NUMBER: "what answers there does not speak TLS",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "what answers there does not speak TLS",
  ECONNRESET: "it broke the connection off; does it speak TLS?",
};
const timeoutMs = 10_000;
