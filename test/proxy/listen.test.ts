import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { formatSocketAddress, parseListenAddress, parseSocketAddress, remoteOf } from "../../proxy/address.ts";
import { listen } from "../../proxy/listen.ts";
import { loopbacks } from "../support/loopbacks.ts";

let server: Server;
afterEach(() => server?.close());

test("`*` is every address, and IPv4 clients go by their own", async () => {
  server = createServer();
  const port = Number((await listen(server, parseListenAddress("*:0")!)).replace(/.*:/, ""));
  for (const host of loopbacks) {
    const accepted = once(server, "connection") as Promise<[Socket]>;
    const client = connect(port, host);
    await once(client, "connect");
    const [socket] = await accepted;
    expect(remoteOf(socket)).toBe(formatSocketAddress({ host, port: client.localPort! }));
    client.destroy();
    socket.destroy();
  }
});

test("`*` is nowhere to connect to", () => {
  expect(parseSocketAddress("*:80")).toBeUndefined();
  for (const text of ["*", "*:65536", "**:1", "[*]:1"]) expect(parseListenAddress(text)).toBeUndefined();
});
