import type { ClientRequest, IncomingMessage } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { CaError } from "./ca-error.ts";
import { presentedChain } from "./presented.ts";
import { anonymousTlsOptions } from "./tls-context.ts";

/** One question to the CA. */
export interface CaRequest {
  readonly method: "GET" | "POST";
  /** Path and query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON. */
  readonly body?: string;
  /** Longest answer to read. */
  readonly maxBytes: number;
}

/** Its answer, read whole. */
export interface CaResponse {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** An answer without an end. */
export interface CaStream {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  /** As they come; ends with a CaError when the connection breaks or falls silent. Leaving the loop closes the connection. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** Asks one server, over connections that `verifyServer` has agreed to. */
export interface CaConnection {
  /** @throws {CaError} ca_unreachable | ca_timeout | ca_untrusted | ca_answer_invalid */
  request(request: CaRequest): Promise<CaResponse>;
  /**
   * Opens a stream; what it comes from is judged again as it goes on.
   * @param request.silenceMs  how long nothing may come
   * @throws {CaError} as `request`, also from `chunks`
   */
  open(request: { readonly path: string; readonly headers: Readonly<Record<string, string>>; readonly silenceMs: number }): Promise<CaStream>;
  /** Closes idle connections and ends requests in flight. */
  close(): void;
}

/** Where to connect to, and who judges what answers there. */
export interface CaConnectionOptions {
  /** `https://host:port`. */
  readonly url: string;
  /**
   * Judges the chain the server presented, right after the handshake and again before a kept connection is reused; throws
   * to refuse. No byte of a request is written before it has agreed.
   */
  readonly verifyServer: (chain: readonly Uint8Array[]) => void;
  /** Somebody else ends the TLS, as a load balancer: Node judges by its roots and the URL's name, before `verifyServer` does. Default false. */
  readonly byWebRoots?: boolean;
  /** For a handshake, and for a whole request, each. Default 10 s. */
  readonly timeoutMs?: number;
}

/**
 * Opens nothing yet. TLS 1.3 without resumption and without a client certificate: an expired one must never lock us out
 * (linkerd2#13136). Node's own chain check is off, since its pool of anchors knows no trust domains, unless it is asked for.
 */
export function caConnection({ url, verifyServer, byWebRoots = false, timeoutMs = defaultTimeoutMs }: CaConnectionOptions): CaConnection {
  const { hostname, port } = new URL(url);
  const host = hostname.replaceAll(/[[\]]/g, "");
  const agent = new Agent({ keepAlive: true, maxSockets, maxFreeSockets: maxSockets });
  const chains = new WeakMap<object, readonly Uint8Array[]>();
  const opening = new Set<TLSSocket>();

  agent.createConnection = (_options, callback) => {
    openVerified().then(
      (socket) => callback?.(null, socket),
      (error: Error) => callback?.(error, undefined as never),
    );
    return undefined;
  };

  function openVerified(): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect({
        ...(byWebRoots ? webTlsOptions : { ...anonymousTlsOptions, rejectUnauthorized: false }), host, port: Number(port || defaultPort), ALPNProtocols: ["http/1.1"],
        ...(isIP(host) === 0 && { servername: host }),
      });
      opening.add(socket);
      const fail = (error: CaError): void => {
        opening.delete(socket);
        clearTimeout(deadline);
        socket.destroy();
        reject(error);
      };
      const deadline = setTimeout(() => fail(timedOut(url, "the TLS handshake", timeoutMs)), timeoutMs);
      socket.on("error", (cause) => fail(socket.authorizationError ? untrusted(url, cause) : unreachable(url, cause)));
      socket.on("close", () => fail(unreachable(url, undefined)));
      socket.once("secureConnect", () => {
        const chain = presentedChain(socket);
        try {
          verifyServer(chain);
        } catch (cause) {
          fail(untrusted(url, cause));
          return;
        }
        opening.delete(socket);
        clearTimeout(deadline);
        chains.set(socket, chain);
        resolve(socket);
      });
    });
  }

  /** What was verified an hour ago may have expired, or its root may have been dropped from the bundle. */
  function dropStaleConnections(): void {
    for (const socket of Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])) {
      try {
        verifyServer(chains.get(socket) ?? []);
      } catch {
        socket.destroy();
      }
    }
  }

  function send(request: CaRequest): { readonly sent: ClientRequest; readonly response: Promise<CaResponse> } {
    dropStaleConnections();
    const { method, path, headers, body } = request;
    const sent = httpsRequest({
      agent, host, port: Number(port || defaultPort), method, path,
      headers: {
        host: new URL(url).host,
        accept: "application/json",
        ...(body !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
        ...headers,
      },
    });
    const response = new Promise<CaResponse>((resolve, reject) => {
      const deadline = setTimeout(() => sent.destroy(timedOut(url, `${method} ${pathOnly(path)}`, timeoutMs)), timeoutMs);
      sent.on("close", () => clearTimeout(deadline));
      sent.on("error", (cause) => reject(cause instanceof CaError ? cause : unreachable(url, cause)));
      sent.on("response", (answer) => {
        readBody(answer, request.maxBytes).then((text) => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }), (error) => {
          reject(error instanceof CaError ? error : unreachable(url, error));
          sent.destroy();
        });
      });
      sent.end(body);
    });
    return { sent, response };
  }

  async function* chunksOf(answer: IncomingMessage, sent: ClientRequest, silenceMs: number): AsyncGenerator<Uint8Array> {
    const silence = setTimeout(() => answer.destroy(timedOut(url, "saying anything on its stream", silenceMs)), silenceMs);
    let judgedAtMs = performance.now();
    try {
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        silence.refresh();
        if (performance.now() - judgedAtMs >= rejudgeMs) {
          judgedAtMs = performance.now();
          judge(chains.get(answer.socket) ?? []);
        }
        yield chunk;
      }
    } catch (error) {
      throw error instanceof CaError ? error : unreachable(url, error);
    } finally {
      clearTimeout(silence);
      sent.destroy();
    }
  }

  function judge(chain: readonly Uint8Array[]): void {
    try {
      verifyServer(chain);
    } catch (cause) {
      throw untrusted(url, cause);
    }
  }

  return {
    async open({ path, headers, silenceMs }) {
      dropStaleConnections();
      const sent = httpsRequest({
        agent, host, port: Number(port || defaultPort), method: "GET", path, headers: { host: new URL(url).host, ...headers },
      });
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        const deadline = setTimeout(() => sent.destroy(timedOut(url, `GET ${pathOnly(path)}`, timeoutMs)), timeoutMs);
        sent.on("close", () => clearTimeout(deadline));
        sent.on("error", (cause) => reject(cause instanceof CaError ? cause : unreachable(url, cause)));
        sent.on("response", (response) => {
          clearTimeout(deadline);
          resolve(response);
        });
        sent.end();
      });
      return { status: answer.statusCode ?? 0, headers: answer.headers, chunks: chunksOf(answer, sent, silenceMs) };
    },
    async request(request) {
      const { sent, response } = send(request);
      try {
        return await response;
      } catch (error) {
        // The server may close a kept connection just as we write to it; every request we make may be repeated.
        if (!sent.reusedSocket || !(error instanceof CaError) || error.code !== "ca_unreachable") throw error;
        return await send(request).response;
      }
    },
    close() {
      agent.destroy();
      for (const socket of opening) socket.destroy();
    },
  };
}

async function readBody(answer: IncomingMessage, maxBytes: number): Promise<string> {
  if (answer.headers["content-encoding"] !== undefined) throw invalid("it is compressed, which nobody asked for");
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) throw invalid(`it is longer than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw invalid("it is not UTF-8", cause);
  }
}

function invalid(detail: string, cause?: unknown): CaError {
  return new CaError("ca_answer_invalid", `the CA's answer is refused: ${detail}`, { cause });
}

function timedOut(url: string, what: string, timeoutMs: number): CaError {
  return new CaError("ca_timeout", `the CA at ${url} did not finish ${what} within ${timeoutMs / 1000} s`);
}

function unreachable(url: string, cause: unknown): CaError {
  const { code, message } = (cause ?? {}) as { readonly code?: string; readonly message?: string };
  const reason = code ?? message ?? "the connection closed";
  return new CaError(
    "ca_unreachable",
    `cannot reach the CA at ${url} (${reason}); is it running, and is this address right from here?`,
    { cause },
  );
}

function untrusted(url: string, cause: unknown): CaError {
  const { message = "refused", code } = (cause ?? {}) as { readonly message?: string; readonly code?: string };
  const hint = untrustedHints[code ?? ""] ?? "if its root was replaced meanwhile, start with a new bootstrap string";
  return new CaError(
    "ca_untrusted", `what answers at ${url} is not our CA: ${message}; nothing was sent to it; ${hint}`, { cause },
  );
}

function pathOnly(path: string): string {
  return path.split("?", 1)[0] ?? path;
}

const untrustedHints: Readonly<Record<string, string>> = {
  path_not_yet_valid: "compare this machine's clock with the CA's",
  path_expired: "compare this machine's clock with the CA's",
  certificate_revoked: "the CA makes another one when it is restarted",
};
/** Some front ends have no TLS 1.3 yet. */
const webTlsOptions = { minVersion: "TLSv1.2", secureOptions: anonymousTlsOptions.secureOptions } as const;
const defaultTimeoutMs = 10_000;
const defaultPort = 443;
/** The stream, a renewal, a poll of each kind, and one to spare. */
const maxSockets = 5;
/** How old the judgement of who tells a stream may be, where something comes. */
const rejudgeMs = 10_000;
