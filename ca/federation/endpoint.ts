import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { isIP } from "node:net";
import type { TLSSocket } from "node:tls";
import { feedEpochHeader } from "../contract/headers.ts";
import type { Bundle } from "../pki/bundle.ts";
import { PkiError } from "../pki/errors.ts";
import { verifySvid } from "../pki/svid.ts";
import { FederationError } from "./errors.ts";

/** By what an endpoint is known: one of the two, never the other when it fails (SPIFFE Federation 7.2). */
export type EndpointProof =
  /** A certificate of the Web PKI for the URL's host. @param roots  PEM, instead of those that Node brings along */
  | { readonly profile: "https_web"; readonly roots?: readonly string[] | undefined }
  /** An X509-SVID for this ID, by the bundle of its own trust domain. */
  | { readonly profile: "https_spiffe"; readonly spiffeId: string; readonly bundles: ReadonlyMap<string, Bundle>; readonly nowMs: number }
  /** Nobody in particular: to learn a root whose fingerprint is known. Nothing secret may be sent, and what comes proves nothing yet. */
  | { readonly profile: "stranger" };

export interface EndpointRequest {
  readonly method: "GET" | "POST";
  readonly url: URL;
  readonly proof: EndpointProof;
  readonly body?: string;
  /** Further ones. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Of the body; default JSON. */
  readonly contentType?: string;
}

export interface EndpointAnswer {
  readonly status: number;
  readonly text: string;
  readonly location: string | undefined;
  /** Which feed its sequences are of, where it is a Countersign CA. */
  readonly feedEpoch: string | undefined;
  readonly etag?: string | undefined;
}

/**
 * Asks an endpoint of another CA on a connection of its own. Nothing is sent before it has proved who it is; no client certificate is
 * shown, and the answer is bounded in size and time.
 * @throws {FederationError} endpoint_unreachable | endpoint_untrusted | endpoint_answer
 */
export async function askEndpoint({ method, url, proof, body, headers, contentType = "application/json" }: EndpointRequest): Promise<EndpointAnswer> {
  requireEndpointUrl(url);
  const signal = AbortSignal.timeout(timeoutMs);
  const socket = await open(url, proof, signal);
  try {
    const outgoing = httpRequest({
      method, path: url.pathname + url.search, signal, createConnection: () => socket,
      headers: {
        host: url.host, accept: "application/json", connection: "close",
        ...(body !== undefined && { "content-type": contentType, "content-length": Buffer.byteLength(body) }), ...headers,
      },
    });
    outgoing.end(body);
    const [response] = await once(outgoing, "response", { signal }) as [IncomingMessage];
    const epoch = response.headers[feedEpochHeader];
    return {
      status: response.statusCode ?? 0, text: await readText(response), location: response.headers.location,
      etag: (response.headers.etag?.length ?? Infinity) <= maxEtagLength ? response.headers.etag : undefined,
      feedEpoch: typeof epoch === "string" && epoch.length <= maxEpochLength ? epoch : undefined,
    };
  } catch (cause) {
    throw cause instanceof FederationError ? cause : unreachable(url, cause);
  } finally {
    socket.destroy();
  }
}

/** An answer without an end. */
export interface EndpointStream {
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * Follows what an endpoint streams, on a connection of its own that has proved who it is; it ends with the signal.
 * @throws {FederationError} endpoint_unreachable | endpoint_untrusted | endpoint_answer
 */
export async function followEndpoint({ url, proof, headers }: Pick<EndpointRequest, "url" | "proof" | "headers">, signal: AbortSignal): Promise<EndpointStream> {
  requireEndpointUrl(url);
  const opening = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const socket = await open(url, proof, opening);
  const destroy = (): void => void socket.destroy();
  try {
    signal.throwIfAborted();
    signal.addEventListener("abort", destroy);
    socket.once("close", () => signal.removeEventListener("abort", destroy));
    const outgoing = httpRequest({
      method: "GET", path: url.pathname + url.search, createConnection: () => socket, headers: { host: url.host, accept: "text/event-stream", connection: "close", ...headers },
    });
    outgoing.end();
    const [response] = await once(outgoing, "response", { signal: opening }) as [IncomingMessage];
    outgoing.on("error", () => undefined);
    if (response.statusCode !== 200) throw new FederationError("endpoint_answer", `${url.host} answered with status ${response.statusCode}, and no stream`, { status: response.statusCode ?? 0 });
    return { chunks: chunksOf(response, url) };
  } catch (cause) {
    socket.destroy();
    throw cause instanceof FederationError ? cause : unreachable(url, cause);
  }
}

/**
 * Refuses what is no URL of an endpoint, a redirect's included.
 * @throws {FederationError} endpoint_answer
 * @source SPIFFE Federation 5.2.1.1 and 5.2.2.1
 */
export function requireEndpointUrl({ protocol, username, password, hash }: URL): void {
  if (protocol !== "https:") throw new FederationError("endpoint_answer", "the URL of a bundle endpoint begins with https://");
  if (username !== "" || password !== "" || hash !== "") throw new FederationError("endpoint_answer", "the URL of a bundle endpoint has no user, password or fragment");
}

async function open(url: URL, proof: EndpointProof, signal: AbortSignal): Promise<TLSSocket> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const { connect } = await import("node:tls");
  const socket = connect({
    host, port: Number(url.port || defaultPort), ...(isIP(host) === 0 && { servername: host }),
    ALPNProtocols: ["http/1.1"], minVersion: "TLSv1.2", ciphers: intermediateCiphers,
    ...(proof.profile === "https_web" ? { ...(proof.roots && { ca: [...proof.roots] }) } : { rejectUnauthorized: false }),
  });
  try {
    await once(socket, "secureConnect", { signal });
  } catch (cause) {
    socket.destroy();
    throw isTlsFault(cause) ? untrusted(url, (cause as Error).message, cause) : unreachable(url, cause);
  }
  try {
    verify(socket, proof);
  } catch (cause) {
    socket.destroy();
    if (cause instanceof PkiError || cause instanceof FederationError) throw untrusted(url, cause.message, cause);
    throw cause;
  }
  // From now on the request hears of it.
  socket.on("error", () => undefined);
  return socket;
}

function verify(socket: TLSSocket, proof: EndpointProof): void {
  if (proof.profile !== "https_spiffe") return;
  const { spiffeId, bundles, nowMs } = proof;
  const { id } = verifySvid({ chain: presentedChain(socket), bundles, nowMs, purpose: "server" });
  if (id.uri !== spiffeId) throw new FederationError("endpoint_untrusted", `it is ${id.uri}, not ${spiffeId}`);
}

/** The chain as it was presented, leaf first. */
function presentedChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < maxChainCertificates) {
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

async function* chunksOf(response: IncomingMessage, url: URL): AsyncGenerator<Uint8Array> {
  try {
    yield* response as AsyncIterable<Buffer>;
  } catch (cause) {
    throw unreachable(url, cause);
  } finally {
    response.socket.destroy();
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  if (response.headers["content-encoding"] !== undefined) throw new FederationError("endpoint_answer", "the answer is compressed, which nobody asked for");
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxAnswerBytes) throw new FederationError("endpoint_answer", `the answer is longer than ${maxAnswerBytes} bytes`);
    chunks.push(chunk);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw new FederationError("endpoint_answer", "the answer is not UTF-8", { cause });
  }
}

function isTlsFault(cause: unknown): boolean {
  const { code = "" } = cause as NodeJS.ErrnoException;
  return /^(?:ERR_TLS|ERR_SSL|CERT_|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|HOSTNAME)/.test(code);
}

function untrusted({ host }: URL, why: string, cause: unknown): FederationError {
  return new FederationError("endpoint_untrusted", `what answers at ${host} did not prove to be the endpoint (${why}); nothing was sent to it`, { cause });
}

function unreachable({ host }: URL, cause: unknown): FederationError {
  const { name, code, message } = cause as NodeJS.ErrnoException;
  const why = name === "TimeoutError" || name === "AbortError" ? `nothing within ${timeoutMs / 1000} s` : code ?? message;
  return new FederationError("endpoint_unreachable", `cannot reach ${host} (${why})`, { cause });
}

const timeoutMs = 10_000;
const defaultPort = 443;
/** 256 keys of a bundle, with room to spare. */
export const maxAnswerBytes = 512 * 1024;
/** One more than verifySvid takes, so that it is the one to refuse. */
const maxChainCertificates = 9;
const maxEpochLength = 64;
const maxEtagLength = 256;
/** Mozilla's intermediate configuration, version 5.7; the DHE suites are left out, as in the modern half of it. */
const intermediateCiphers = [
  "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");
