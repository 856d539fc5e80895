// The app behind the proxies of the bench: `/` answers six bytes, `/bytes/N` sends N bytes, POST counts what it is sent.
import { createServer } from "node:http";

const chunk = Buffer.alloc(64 * 1024, "x");

const server = createServer((request, response) => {
  const size = Number(/^\/bytes\/(\d+)$/.exec(request.url ?? "")?.[1] ?? 0);
  if (request.method === "POST") {
    let received = 0;
    request.on("data", (data: Buffer) => (received += data.length)).on("end", () => response.end(`${received}\n`));
    return;
  }
  if (size === 0) return void response.end("world\n");
  response.setHeader("content-length", size);
  let left = size;
  const write = () => {
    while (left > 0) {
      const part = left >= chunk.length ? chunk : chunk.subarray(0, left);
      left -= part.length;
      if (!response.write(part)) return void response.once("drain", write);
    }
    response.end();
  };
  write();
});

// The bench keeps connections for minutes.
server.keepAliveTimeout = 3_600_000;
server.listen(Number(process.env["PORT"]), "127.0.0.1");
