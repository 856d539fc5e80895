import { constants } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpServer, type RequestListener, type Server as HttpServer } from "node:http";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import {
  connect as connectTls, createSecureContext, createServer as createTlsServer, type ConnectionOptions, type SecureContextOptions, type TlsOptions, type TLSSocket,
} from "node:tls";
import type { TestLeaf } from "./test-ca.ts";

/** A server on a free loopback port that a test ends with `close()`. */
export interface TestServer {
  readonly port: number;
  readonly server: Server;
  close(): Promise<void>;
}

/** A TCP app: `onConnection` is all it does. */
export async function tcpApp(onConnection: (socket: Socket) => void): Promise<TestServer> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, onConnection);
  return listening(server, (socket) => socket.destroy());
}

/** An HTTP app. */
export async function httpApp(onRequest: RequestListener): Promise<TestServer & { readonly server: HttpServer }> {
  const server = createHttpServer(onRequest);
  const started = await listening(server, (socket) => socket.destroy());
  return { ...started, server };
}

/** An app that sends back what it gets, and ends when the other side ends. */
export const echoApp = (): Promise<TestServer> => tcpApp((socket) => socket.on("error", () => undefined).pipe(socket));

/** A TLS server that lets everybody in: what it meets is the client's decision. */
export async function tlsServer(leaf: TestLeaf, onConnection: (socket: TLSSocket) => void, options: TlsOptions = {}): Promise<TestServer> {
  const server = createTlsServer({
    key: leaf.privateKeyPem, cert: leaf.chainPem, requestCert: true, rejectUnauthorized: false, ca: [], allowHalfOpen: true, ...options,
  }, (socket) => onConnection(socket.on("error", () => undefined)));
  return listening(server.on("tlsClientError", () => undefined), (socket) => socket.destroy());
}

/** A connected TCP socket. */
export async function tcpClient(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  await once(socket, "connect");
  return socket.on("error", () => undefined);
}

/** Connects, even if only to be turned away, sends, and waits for the end. @returns what came back */
export async function knock(port: number, bytes?: string): Promise<string> {
  const socket = connect({ port, host: "127.0.0.1" });
  if (bytes !== undefined) socket.write(bytes);
  return String((await readAll(socket)).bytes);
}

export interface TlsClientOptions extends SecureContextOptions {
  /** Undefined: no client certificate. */
  readonly leaf?: TestLeaf | undefined;
  readonly session?: ConnectionOptions["session"];
  readonly servername?: string;
}

/** A TLS client that trusts anybody, so that what it meets is the other side's decision. Resolves after the handshake. */
export async function tlsClient(port: number, options: TlsClientOptions): Promise<TLSSocket & { raw: Socket }> {
  return tlsOver(await tcpClient(port), options);
}

/** The same over a connection that is open already. */
export async function tlsOver(raw: Socket, { leaf, session, servername, ...options }: TlsClientOptions): Promise<TLSSocket & { raw: Socket }> {
  const secureContext = createSecureContext({
    ca: [], minVersion: "TLSv1.3", secureOptions: constants.SSL_OP_NO_TICKET, ...(leaf && { cert: leaf.chainPem, key: leaf.privateKeyPem }), ...options,
  });
  const socket = connectTls({ socket: raw, secureContext, rejectUnauthorized: false, ...(session && { session }), ...(servername !== undefined && { servername }) });
  await once(socket, "secureConnect");
  return Object.assign(socket.on("error", () => undefined), { raw });
}

/** How a connection ended, seen from here. */
export type Ending = "end" | "reset" | "closed";

/** Reads until the end: all bytes, and how it ended. */
export async function readAll(socket: Socket): Promise<{ readonly bytes: Buffer; readonly ending: Ending }> {
  const chunks: Buffer[] = [];
  let ending: Ending = "closed";
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", () => (ending = "reset"));
  await new Promise<void>((resolve) => {
    socket.on("end", () => {
      ending = "end";
      resolve();
    });
    socket.on("close", resolve);
    // It may have ended before anybody asked.
    if (socket.readableEnded) ending = "end";
    else if (socket.closed && socket.errored !== null) ending = "reset";
    if (socket.readableEnded || socket.closed) resolve();
  });
  return { bytes: Buffer.concat(chunks), ending };
}

/** Reads until `text` has come; fails when the connection ends before. */
export async function readUntil(socket: Socket, text: string): Promise<string> {
  let seen = "";
  return new Promise((resolve, reject) => {
    const finish = (error?: Error): void => {
      socket.off("data", onData).off("close", onClose).off("end", onClose);
      if (error === undefined) resolve(seen);
      else reject(error);
    };
    const onData = (chunk: Buffer): void => {
      seen += chunk.toString("latin1");
      if (seen.includes(text)) finish();
    };
    const onClose = (): void => finish(new Error(`ended after ${JSON.stringify(seen)}, before ${JSON.stringify(text)}`));
    socket.on("data", onData).once("close", onClose).once("end", onClose);
    if (socket.readableEnded || socket.closed) onClose();
  });
}

async function listening(server: Server, cut: (socket: Socket) => void): Promise<TestServer> {
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket)).on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    server,
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const socket of open) cut(socket);
      await closed;
    },
  };
}
