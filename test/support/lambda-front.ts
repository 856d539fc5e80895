import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { frontEnds } from "./lambda-events.ts";
import type { LambdaRuntime } from "./lambda-runtime.ts";

interface RawAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly isBase64Encoded: boolean;
}

/** An HTTPS server that hands each request to a function, one at a time: API Gateway with one process behind it. */
export async function startLambdaFront(tls: { readonly key: string; readonly cert: string }, invoke: LambdaRuntime["invoke"]) {
  const paths: string[] = [];
  let last: Promise<unknown> = Promise.resolve();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, search } = new URL(request.url ?? "/", "https://front.example");
    const body = await text(request);
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    paths.push(pathname);
    const event = frontEnds["API Gateway, payload 2.0"]({ method: request.method ?? "GET", path: pathname, query: search.slice(1), headers, ...(body !== "" && { body }) });
    const answered = last.then(() => invoke(event)) as Promise<RawAnswer>;
    last = answered.catch(() => undefined);
    const { statusCode, headers: answers, body: content, isBase64Encoded } = await answered;
    response.writeHead(statusCode, answers).end(Buffer.from(content, isBase64Encoded ? "base64" : "utf8"));
  }

  const server = createServer(tls, (request, response) => void answer(request, response).catch((error: unknown) => response.writeHead(502).end(String(error))));
  await new Promise<void>((resolve) => server.listen(0, "localhost", resolve));
  return {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    /** Of the requests that came. */
    paths: paths as readonly string[],
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
