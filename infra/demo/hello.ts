// The app `hello` of the Linkerd articles: plain HTTP, asks `world` for the other half of its answer. It knows nothing
// of TLS; all it has is http_proxy in its environment, as curl or any old HTTP client would.
import { createServer, get } from "node:http";

const server = createServer((request, response) => {
  if (request.url === "/healthz") return void response.end("ok\n");
  if (request.url === "/whoami") return void response.end(`${request.headers["countersign-client-id"] ?? "nobody"}\n`);
  get(process.env["WORLD"] ?? "http://world/", (answer) => {
    let body = "";
    answer.setEncoding("utf8").on("data", (chunk: string) => (body += chunk)).on("end", () => {
      if (answer.statusCode === 200) return void response.end(`Hello ${body}`);
      response.writeHead(502).end(`hello could not reach world: ${answer.statusCode} ${body}`);
    });
  }).on("error", (error) => response.writeHead(502).end(`hello could not reach world: ${error.message}\n`));
});

server.listen(Number(process.env["PORT"] ?? 7777), process.env["HOST"] ?? "127.0.0.1", () => console.log(JSON.stringify(server.address())));
