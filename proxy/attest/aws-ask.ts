import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { EvidenceError } from "./error.ts";

export interface AwsAnswer {
  readonly status: number;
  readonly text: string;
}

/**
 * Asks one of AWS's own for credentials, within bounds of time and size; follows no redirection.
 * @throws {EvidenceError} no answer
 */
export function askAws(url: URL, { method = "GET", headers = {}, body }: { readonly method?: "GET" | "PUT" | "POST"; readonly headers?: Readonly<Record<string, string>>; readonly body?: string } = {}): Promise<AwsAnswer> {
  return new Promise((resolve, reject) => {
    const fail = ({ message }: Error): void => reject(new EvidenceError(`${url.host} gives no credentials: ${message}`));
    const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, {
      method, headers: { ...headers, ...(body !== undefined && { "content-length": Buffer.byteLength(body) }) }, signal: AbortSignal.timeout(timeoutMs), agent: false,
    }, (response) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      response.on("data", (chunk: Buffer) => {
        sizeBytes += chunk.length;
        if (sizeBytes > maxAnswerBytes) response.destroy(new Error("its answer is too long"));
        else chunks.push(chunk);
      });
      response.on("error", fail).on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }));
    });
    request.on("error", fail).end(body);
  });
}

/**
 * Where secrets go to and come from: over TLS anywhere, over plain http to this host's own agents alone, so that nobody on a network hands out
 * credentials or gets a token of ours.
 * @param variable  that names the URL
 * @param agents    hosts that are taken over plain http; default: those of containers
 * @throws {EvidenceError}
 */
export function agentUrl(variable: string, text: string, agents = plainHosts): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw new EvidenceError(`${variable} is no URL`);
  if (url.protocol === "https:" || (url.protocol === "http:" && agents.test(url.hostname))) return url;
  throw new EvidenceError(`${variable} leads to ${url.host} over ${url.protocol.slice(0, -1)}; that is taken from this host's own agents only`);
}

/** @source AWS SDKs and Tools Reference Guide, "Container credential provider": the hosts that SDKs take */
const plainHosts = /^(localhost|127(\.\d{1,3}){3}|\[::1\]|169\.254\.170\.2|169\.254\.170\.23|\[fd00:ec2::23\])$/;
/** @source AWS SDKs and Tools Reference Guide, "IMDS credential provider" */
export const instanceHosts = /^(localhost|127(\.\d{1,3}){3}|\[::1\]|169\.254\.169\.254|\[fd00:ec2::254\])$/;
const timeoutMs = 5000;
const maxAnswerBytes = 64 * 1024;
