import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { afterEach, describe, expect, test, vi } from "vitest";
import { parseSpiffeId } from "../../ca/pki/spiffe-id.ts";
import { refuseCutEnd } from "../../proxy/tls-end.ts";
import { eastIssuer, inboundHalf, outboundHalf, portOf } from "../support/data-path.ts";
import { readAll, readUntil, tcpApp, tcpClient, tlsClient, tlsServer } from "../support/tcp.ts";

const worldId = "spiffe://east/world";
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** The ends of a connection through one half: the far peer, with its TCP connection, and the app. */
interface Ends { readonly peer: TLSSocket; readonly raw: Socket; readonly app: Socket }

/** A verified client, and the app that its opaque bytes go to. */
async function inbound(): Promise<Ends> {
  const accepted = Promise.withResolvers<Socket>();
  const app = await tcpApp((socket) => accepted.resolve(socket));
  const half = await inboundHalf({ app: { host: "127.0.0.1", port: app.port }, inboundProtocol: "tcp" });
  closers.push(app.close, () => half.path.close());
  const peer = await tlsClient(half.port, { leaf: eastIssuer.leaf({ spiffeId: "spiffe://east/hello" }) });
  return { peer, raw: peer.raw, app: await accepted.promise };
}

/** An app, and the server that its fixed port leads to. */
async function outbound(): Promise<Ends> {
  const [accepted, secured] = [Promise.withResolvers<Socket>(), Promise.withResolvers<TLSSocket>()];
  const server = await tlsServer(eastIssuer.leaf({ spiffeId: worldId }), secured.resolve);
  server.server.once("connection", accepted.resolve);
  const half = await outboundHalf({
    outbound: undefined, tcpListeners: [{ listen: { host: "127.0.0.1", port: 0 }, address: { host: "127.0.0.1", port: server.port }, serverId: parseSpiffeId(worldId) }],
  });
  closers.push(server.close, () => half.path.close());
  const app = await tcpClient(portOf(half.path.addresses[0]));
  app.write("first");
  const [peer, raw] = await Promise.all([secured.promise, accepted.promise]);
  await readUntil(peer, "first");
  return { peer, raw, app };
}

describe.each([["inbound", inbound], ["outbound", outbound]] as const)("%s, bytes of a stream that ends", (_, connected) => {
  test("by the peer's word end in order for the app", async () => {
    const { peer, app } = await connected();
    peer.end("all of it");
    expect(await readAll(app)).toEqual({ bytes: Buffer.from("all of it"), ending: "end" });
  });

  test("by TCP alone, as if its process had died or the wire was cut, do not pass for all there is", async () => {
    const { peer, raw, app } = await connected();
    peer.write("some of it");
    await readUntil(app, "some of it");
    raw.destroy();
    expect((await readAll(app)).ending).toBe("reset");
  });

  test("by the peer's word come whole, also where nobody reads them for a while", async () => {
    const { peer, app } = await connected();
    const all = Buffer.alloc(8 * 1024 * 1024, "x");
    app.pause();
    peer.end(all);
    // Until no more goes out, since all buffers on the way are full.
    let before = -1;
    await expect.poll(() => peer.bytesWritten === before || void (before = peer.bytesWritten), { interval: 200, timeout: 30_000 }).toBe(true);
    const read = readAll(app);
    app.resume();
    const { bytes, ending } = await read;
    expect([bytes.length, ending]).toEqual([all.length, "end"]);
  });
});

// What of the two sockets is looked at: no test can have the end come in the very turn that our own takes.
test.each([
  { our: "is not begun", writableEnded: false, writableFinished: false, resets: 1 },
  { our: "is under way, which libuv resets nothing of", writableEnded: true, writableFinished: false, resets: 0 },
  { our: "is over", writableEnded: true, writableFinished: true, resets: 1 },
])("an end of TCP alone while our own end $our: $resets resets", ({ writableEnded, writableFinished, resets }) => {
  const [push, reset] = [vi.fn(() => true), vi.fn()];
  const socket = { push, writableEnded, writableFinished, _handle: { reading: true } } as unknown as TLSSocket;
  refuseCutEnd(socket, { _handle: { readStart: () => 0 } } as unknown as Socket, reset);
  socket.push(null);
  expect([reset.mock.calls.length, push.mock.calls.length]).toEqual([resets, 1 - resets]);
});
