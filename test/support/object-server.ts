import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { checkSigV4 } from "./sigv4.ts";

/** An object store as its clients see it, over a real socket: PutObject with SigV4 checked in full, and what was put for everybody to read. */
export interface ObjectServer {
  /** `http://127.0.0.1:PORT`, or https with TLS, by `localhost`. */
  readonly endpoint: string;
  /** Environment of a client that may write. */
  readonly env: Readonly<Record<string, string>>;
  /** `bucket/key` -> what is there. */
  readonly objects: Map<string, StoredObject>;
  /** In place of the next answer. */
  answerNext: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  close(): Promise<void>;
}

export interface StoredObject {
  readonly body: Buffer;
  readonly type: string | undefined;
  readonly cacheControl: string | undefined;
}

export interface ObjectServerOptions {
  /** PEM; without it the server speaks plain HTTP. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly now?: () => number;
  /** Whether its client's credentials are temporary ones. */
  readonly sessionToken?: string;
  /** Names before this one are the bucket: `BUCKET.localhost`. */
  readonly virtualHost?: string;
}

export async function startObjectServer({ tls, now = Date.now, sessionToken, virtualHost }: ObjectServerOptions = {}): Promise<ObjectServer> {
  const objects = new Map<string, StoredObject>();

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const { answerNext } = server;
    server.answerNext = undefined;
    if (answerNext !== undefined) return answerNext(request, response);
    const host = (request.headers.host ?? "").replace(/:\d+$/, "");
    const bucket = virtualHost !== undefined && host.endsWith(`.${virtualHost}`) ? `/${host.slice(0, -virtualHost.length - 1)}` : "";
    const name = `${bucket}${decodeURIComponent(request.url ?? "")}`.slice(1);
    if (request.method === "GET") {
      const found = objects.get(name);
      if (found === undefined) return fail(response, 404, "NoSuchKey");
      response.writeHead(200, { "content-type": found.type ?? "binary/octet-stream" }).end(found.body);
      return;
    }
    if (request.method !== "PUT") return fail(response, 405, "MethodNotAllowed");
    const fault = checkSigV4(request, body, { accessKeyId, secretAccessKey, region, service: "s3", nowMs: now(), needed: ["host", "x-amz-date", "x-amz-content-sha256", "content-type", ...(sessionToken === undefined ? [] : ["x-amz-security-token"])] });
    if (fault !== undefined) return fail(response, 403, { InvalidSignatureException: "SignatureDoesNotMatch", UnrecognizedClientException: "InvalidAccessKeyId" }[fault.type as string] ?? "AccessDenied", fault.message);
    if (request.headers["x-amz-security-token"] !== sessionToken) return fail(response, 403, "InvalidToken");
    objects.set(name, { body, type: request.headers["content-type"], cacheControl: request.headers["cache-control"] });
    response.writeHead(200, { etag: `"${body.length}"` }).end();
  }

  const listener = (request: IncomingMessage, response: ServerResponse): void => void handle(request, response);
  const listening = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  await once(listening.listen(0, "127.0.0.1"), "listening");
  const { port } = listening.address() as AddressInfo;
  const server: ObjectServer = {
    endpoint: tls === undefined ? `http://127.0.0.1:${port}` : `https://localhost:${port}`,
    env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: region, ...(sessionToken !== undefined && { AWS_SESSION_TOKEN: sessionToken }) },
    objects, answerNext: undefined,
    async close() {
      listening.closeAllConnections();
      listening.close();
      await once(listening, "close");
    },
  };
  return server;
}

function fail(response: ServerResponse, status: number, code: string, message = "as the store would say"): void {
  response.writeHead(status, { "content-type": "application/xml" }).end(`<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`);
}

const accessKeyId = "AKIAIOSFODNN7EXAMPLE";
const secretAccessKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const region = "eu-central-1";
