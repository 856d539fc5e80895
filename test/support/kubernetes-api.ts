import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A Secret as the API server stores it. */
export interface StoredSecret {
  readonly type: string;
  readonly data: Readonly<Record<string, string>>;
  readonly resourceVersion: number;
}

/** What of the Kubernetes API keeping a Secret needs: over TLS, with a service account's token, get and server-side apply. */
export interface KubernetesApi {
  readonly url: string;
  readonly secrets: Map<string, StoredSecret>;
  /** Method and path of each request. */
  readonly requests: string[];
  /** Answers so many requests with this status instead. */
  failNext(count: number, status: number, reason: string): void;
  close(): Promise<void>;
}

/** @param credentials  PEM, for 127.0.0.1 */
export async function startKubernetesApi(credentials: { readonly key: string; readonly cert: string }, token: string): Promise<KubernetesApi> {
  const secrets = new Map<string, StoredSecret>();
  const requests: string[] = [];
  let failures = { count: 0, status: 500, reason: "InternalError" };
  let version = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    requests.push(`${request.method} ${request.url}`);
    const body = await read(request);
    if (request.headers.authorization !== `Bearer ${token}`) return fail(response, 401, "Unauthorized");
    if (failures.count > 0) {
      failures.count -= 1;
      return fail(response, failures.status, failures.reason);
    }
    const url = new URL(request.url ?? "/", "https://kubernetes");
    const [, namespace, name] = /^\/api\/v1\/namespaces\/([a-z0-9-]+)\/secrets\/([a-z0-9.-]+)$/.exec(url.pathname) ?? [];
    if (namespace === undefined || name === undefined) return fail(response, 404, "NotFound");
    const stored = secrets.get(`${namespace}/${name}`);
    if (request.method === "GET") {
      return stored === undefined ? fail(response, 404, "NotFound") : send(response, 200, describe(namespace, name, stored));
    }
    if (request.method !== "PATCH") return fail(response, 405, "MethodNotAllowed");
    // Server-side apply: the type of the patch, a field manager, and an object that says what it is.
    if (request.headers["content-type"] !== "application/apply-patch+yaml") return fail(response, 415, "UnsupportedMediaType");
    if (url.searchParams.get("fieldManager") === null) return fail(response, 400, "BadRequest");
    const applied = JSON.parse(body) as { apiVersion?: string; kind?: string; metadata?: { name?: string; namespace?: string }; type?: string; data?: Record<string, string> };
    const { type = "Opaque", data = {}, metadata } = applied;
    if (applied.apiVersion !== "v1" || applied.kind !== "Secret" || metadata?.name !== name || metadata.namespace !== namespace) return fail(response, 400, "BadRequest");
    if (Object.values(data).some((value) => Buffer.from(value, "base64").toString("base64") !== value)) return fail(response, 400, "BadRequest");
    // The type of a Secret cannot be changed, and this one has members it must have.
    if (stored !== undefined && stored.type !== type) return fail(response, 422, "Invalid");
    if (type === "kubernetes.io/tls" && (data["tls.crt"] === undefined || data["tls.key"] === undefined)) return fail(response, 422, "Invalid");
    const secret = { type, data: { ...stored?.data, ...data }, resourceVersion: ++version };
    secrets.set(`${namespace}/${name}`, secret);
    send(response, stored === undefined ? 201 : 200, describe(namespace, name, secret));
  }

  const server: Server = createServer(credentials, (request, response) => void answer(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    secrets, requests,
    failNext: (count, status, reason) => void (failures = { count, status, reason }),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function describe(namespace: string, name: string, { type, data, resourceVersion }: StoredSecret): object {
  return { apiVersion: "v1", kind: "Secret", metadata: { name, namespace, resourceVersion: String(resourceVersion), uid: "0" }, type, data };
}

function fail(response: ServerResponse, code: number, reason: string): void {
  send(response, code, { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", reason, message: "as the API server would say", code });
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
