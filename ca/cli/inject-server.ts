import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createSecureContext, type SecureContext } from "node:tls";
import { hostToListenOn, parseListen } from "../config/values.ts";
import { reviewAdmission } from "../inject/admission.ts";
import type { InjectSettings } from "../inject/containers.ts";
import { readAll } from "./input.ts";
import { ApiError } from "./api.ts";
import { UsageError } from "./arguments.ts";

/** The webhook as it runs. */
export interface Injector {
  readonly port: number;
  /** Lets requests under way finish. */
  stop(): Promise<void>;
}

export interface InjectorOptions {
  /** Read anew for each pod, since roots follow each other. */
  readonly settings: () => InjectSettings;
  readonly whenRefused: "open" | "closed";
  readonly certFile: string;
  readonly keyFile: string;
  /** `ADDRESS:PORT`. */
  readonly listen: string;
  readonly log: (line: string) => void;
}

/**
 * Serves `POST /inject` to the API server, and `GET /readyz`. A renewed certificate is taken for the next handshake; one that cannot be
 * read leaves the last one in force.
 * @throws {ApiError} when certificate or key cannot be read at the start, or the address is taken
 */
export async function serveInjector({ settings, whenRefused, certFile, keyFile, listen, log }: InjectorOptions): Promise<Injector> {
  const address = parseListen(listen);
  if (address === undefined) throw new UsageError(`--listen is ADDRESS:PORT, not ${listen}.`);
  const credentials = reloading(certFile, keyFile, log);
  const server = createServer({
    minVersion: "TLSv1.2", requestTimeout: requestTimeoutMs, maxHeaderSize: 16 * 1024, handshakeTimeout: requestTimeoutMs,
    SNICallback: (_name, done) => done(null, credentials.context()), ...credentials.first,
  }, (request, response) => void answer(request, response).catch((error: unknown) => {
    log(`a request failed: ${(error as Error).message}\n`);
    if (!response.headersSent) response.writeHead(error instanceof RangeError ? 413 : 500);
    response.end();
  }));
  // Who connects by address sends no name, so the default has to follow as well.
  const timer = setInterval(() => server.setSecureContext(credentials.pems()), reloadIntervalMs).unref();
  server.on("tlsClientError", () => undefined);
  server.maxConnections = maxConnections;
  try {
    server.listen(address.port, hostToListenOn(address.host));
    await once(server, "listening");
  } catch (cause) {
    clearInterval(timer);
    throw new ApiError(`cannot listen on ${listen} (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === "GET" && request.url === "/readyz") return void response.writeHead(200).end("ready\n");
    if (request.method !== "POST" || !/^\/inject(?:\?|$)/.test(request.url ?? "")) return void response.writeHead(404).end();
    const review = parse(await readAll(request, maxReviewBytes));
    const reviewed = reviewAdmission(review, settings(), whenRefused);
    if (reviewed === undefined) return void response.writeHead(400).end("this answers an AdmissionReview of admission.k8s.io/v1\n");
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(reviewed));
  }

  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      clearInterval(timer);
      const closed = once(server, "close");
      server.close();
      server.closeIdleConnections();
      await closed;
    },
  };
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
}

/** Key and certificate, read when one of the files has changed. */
function reloading(certFile: string, keyFile: string, log: (line: string) => void) {
  const read = () => ({ cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") });
  const stamp = (): string => [certFile, keyFile].map((path) => `${statSync(path).mtimeMs} ${statSync(path).ino}`).join();
  let first: ReturnType<typeof read>;
  let context: SecureContext;
  try {
    first = read();
    context = createSecureContext(first);
  } catch (cause) {
    throw new ApiError(`cannot use ${certFile} and ${keyFile} (${(cause as NodeJS.ErrnoException).code ?? "not a certificate and its key in PEM"})`, { cause });
  }
  let [current, seen] = [first, stamp()];
  const pems = (): typeof first => {
    try {
      const now = stamp();
      if (now === seen) return current;
      const next = read();
      context = createSecureContext(next);
      [current, seen] = [next, now];
    } catch (error) {
      log(`the last certificate stays in force: ${(error as NodeJS.ErrnoException).code ?? "the new one does not fit its key"}\n`);
    }
    return current;
  };
  return { first, pems, context: () => (pems(), context) };
}

const requestTimeoutMs = 10_000;
const reloadIntervalMs = 10_000;
/** A pod has at most 1.5 MiB in etcd, and a review carries it once. */
const maxReviewBytes = 3 * 1024 * 1024;
const maxConnections = 512;
