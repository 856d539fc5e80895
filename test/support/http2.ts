import { once } from "node:events";
import { connect, createServer, type ClientHttp2Session, type ClientHttp2Stream, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream, type SessionOptions } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TestServer } from "./tcp.ts";

/** An app that speaks HTTP/2 without TLS. */
export async function http2App(
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders & { readonly ":path"?: string }, rawHeaders: readonly string[]) => void, options = {},
): Promise<TestServer & { readonly server: Http2Server }> {
  const server = createServer(options);
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket)).on("error", () => undefined);
  });
  server.on("sessionError", () => undefined);
  server.on("stream", (stream, headers, _flags, rawHeaders) => onStream(stream.on("error", () => undefined) as ServerHttp2Stream, headers, rawHeaders as unknown as readonly string[]));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    server,
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

/** HTTP/2 over a connection that is open already. */
export function http2Over(connection: Duplex, options: SessionOptions = {}): ClientHttp2Session {
  return connect("http://world", { ...options, createConnection: () => connection }).on("error", () => undefined);
}

/** What came back of a request. */
export interface Http2Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | number | undefined>>;
  readonly trailers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  /** Of the stream; 0: it ended well. */
  readonly code: number;
}

/** Reads a response to its end, whatever that is. */
export async function answerOf(stream: ClientHttp2Stream): Promise<Http2Answer> {
  const chunks: Buffer[] = [];
  let headers: Http2Answer["headers"] = {};
  let trailers: Http2Answer["trailers"] = {};
  stream.on("error", () => undefined).on("response", (given) => (headers = given)).on("trailers", (given) => (trailers = given as Http2Answer["trailers"]));
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  await new Promise((resolve) => stream.once("close", resolve));
  return { status: headers[":status"] as number | undefined, headers, trailers, body: Buffer.concat(chunks).toString("latin1"), code: stream.rstCode ?? 0 };
}
