// The app `world` of the Linkerd articles: plain HTTP, and on /whoami it tells what its proxy says of the caller.
import { createServer } from "node:http";

const server = createServer((request, response) => {
  if (request.url === "/whoami") return void response.end(`${request.headers["countersign-client-id"] ?? "nobody"}\n`);
  response.end("world\n");
});

server.listen(Number(process.env["PORT"] ?? 7778), process.env["HOST"] ?? "127.0.0.1", () => console.log(JSON.stringify(server.address())));
