import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, test } from "vitest";
import { answerText, servePages, type PageServer } from "../../proxy/pages.ts";

let server: PageServer | undefined;
afterEach(() => server?.close());

test.each<[string, string]>([["says nothing", ""], ["does not end its headers", "GET /page HTTP/1.1\r\nhost: a\r\n"]])("who %s is let go", async (_claim, sent) => {
  server = await servePages({ listen: { host: "127.0.0.1", port: 0 }, requestTimeoutMs: 100, pages: new Map([["/page", (_request, response) => answerText(response, 200, "page")]]) });
  const socket = connect({ port: Number(server.address.split(":")[1]), host: "127.0.0.1" });
  socket.resume().write(sent);
  await once(socket, "close", { signal: AbortSignal.timeout(30_000) });
});
