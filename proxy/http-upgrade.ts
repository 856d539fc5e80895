import { request as httpRequest, ServerResponse, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { contained, reasonPhrase, sendBack, type Answer, type ForwardOwner, type Upstream } from "./http-forward.ts";
import { endToEndHeaders, readFraming } from "./http-headers.ts";
import { writeRawAnswer } from "./http-server.ts";
import { joinSockets, type PipeEnd } from "./pipe.ts";

export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly client: PipeEnd;
  /** Bytes that came behind the head. */
  readonly head: Buffer;
  readonly upstream: Upstream;
  readonly owner: ForwardOwner;
  /** How to reset a connection of the upstream's agent. */
  readonly resetUpstream: (socket: Socket) => void;
  readonly idleTimeoutMs: number;
}

/**
 * Carries a WebSocket upgrade to the upstream. Only its 101 makes a tunnel; any other answer is carried back and ends the
 * connection, so that a client cannot tunnel where the upstream still reads requests.
 * @source RFC 6455 section 4, RFC 9110 section 7.8
 */
export function forwardUpgrade({ request, client, head, upstream, owner, resetUpstream, idleTimeoutMs }: UpgradeRequest): void {
  client.socket.on("error", () => undefined);
  if (readFraming(request.rawHeaders, request.httpVersion) !== "none") {
    owner.answered(request, 400);
    return writeRawAnswer(client.socket, { status: 400, text: "countersign-proxy: 400: an upgrade has one Host header and no body" });
  }
  const replaced = new Set(upstream.setHeaders.filter((_, index) => index % 2 === 0));
  const kept = endToEndHeaders(request.rawHeaders);
  const headers = kept.filter((_, index) => !replaced.has(kept[index - (index % 2)]!.toLowerCase()));
  headers.push(...upstream.setHeaders, "connection", "upgrade", "upgrade", "websocket");
  const sent = httpRequest({ ...upstream.connect, agent: upstream.agent, method: request.method ?? "GET", path: upstream.path, headers });
  sent.maxHeadersCount = 0;
  let switched: Socket | undefined;
  const abandon = (): void => {
    sent.destroy();
    switched?.destroy();
  };
  client.socket.once("close", abandon);

  sent.on("upgrade", contained((incoming: IncomingMessage, socket: Socket, upstreamHead: Buffer) => {
    switched = socket;
    owner.answered(request, 101);
    client.socket.write(upgradeHead(incoming), "latin1");
    client.socket.off("close", abandon);
    joinSockets(client, { socket, reset: () => resetUpstream(socket) }, idleTimeoutMs);
    if (upstreamHead.length > 0) client.socket.write(upstreamHead);
    if (head.length > 0) socket.write(head);
  }, request, owner));
  sent.on("response", contained((incoming: IncomingMessage) => {
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(client.socket);
    response.once("finish", () => client.socket.destroySoon());
    sendBack(incoming, sent, response, owner);
  }, request, owner));
  sent.on("error", contained((error: Error) => {
    if (client.socket.destroyed || client.socket.bytesWritten > 0) return;
    const answer: Answer = owner.failed(request, error);
    owner.answered(request, answer.status);
    writeRawAnswer(client.socket, answer);
  }, request, owner));
  sent.end();
}

function upgradeHead(incoming: IncomingMessage): string {
  const headers = [...endToEndHeaders(incoming.rawHeaders), "connection", "upgrade", "upgrade", "websocket"];
  let head = `HTTP/1.1 101 ${reasonPhrase(incoming) ?? "Switching Protocols"}\r\n`;
  for (let index = 0; index < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`;
  return `${head}\r\n`;
}
