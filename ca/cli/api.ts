import { createPrivateKey, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { request, type RequestOptions } from "node:https";
import { join } from "node:path";
import { idempotencyKeyHeader, mediaType } from "../contract/headers.ts";
import type { Problem } from "../contract/problem.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { decodePem } from "../pki/pem.ts";
import { encodeRequestAuthorization, type SignedRequest } from "../pki/request-authorization.ts";
import { readSpiffeId } from "../pki/svid.ts";
import { apiIdentityCheck, notTheApi, otherTrustDomain, trustDomainOfFolder } from "./api-identity.ts";
import { nearestName } from "../settings/spelling.ts";
import { UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { whileWaiting } from "./progress.ts";

/** The API refused, or could not be reached; the message says what to do. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** Of the answer; undefined where there was none, so that what was asked for may have been done. */
  readonly status: number | undefined;

  constructor(message: string, options?: { cause?: unknown; status?: number }) {
    super(message, options);
    this.status = options?.status;
  }
}

/** Flags that every command has which talks to a CA. */
export const apiOptions = {
  url: { type: "string" },
  "token-file": { type: "string" },
  "svid-cert": { type: "string" },
  "svid-key": { type: "string" },
  "ca-cert": { type: "string" },
  "data-dir": { type: "string" },
  output: { type: "string", short: "o" },
} as const;

export type ApiFlags = { readonly [Name in keyof typeof apiOptions]?: string | undefined };

/** Section of a command's help that explains them. */
export const apiHelp = `
Which CA, and as whom:
  --url URL          default https://127.0.0.1:8443 (COUNTERSIGN_URL)
  --token-file FILE  API token; default DATA-DIR/admin-token
                     (COUNTERSIGN_TOKEN_FILE, or itself in COUNTERSIGN_TOKEN)
  --svid-cert FILE   sign with an SVID instead: its chain, and
  --svid-key FILE    its key (COUNTERSIGN_SVID_CERT, COUNTERSIGN_SVID_KEY)
  --ca-cert FILE     root to trust; default DATA-DIR/root.pem
                     (COUNTERSIGN_CA_CERT); "web": Node's own roots, for
                     a CA whose TLS a load balancer or Lambda ends
                     (COUNTERSIGN_TRUST_DOMAIN says whose CA is meant, where
                     those of several clusters are below one root)
  --data-dir DIR     default ./.countersign (COUNTERSIGN_DATA_DIR)
  -o json            the API's answer as it is, for scripts
`;

export interface Api {
  /** Of the CA, without a path. */
  readonly url: string;
  /**
   * The answer to a JSON request.
   * @param idempotencyKey  with which a request whose answer was lost may be repeated unchanged
   * @throws {ApiError}
   */
  call<T>(method: "GET" | "POST" | "DELETE", path: string, body?: unknown, idempotencyKey?: string): Promise<T>;
  /**
   * The events of a stream, as they come; resolves at its end.
   * @param onEvent  is given an event's name and its data
   * @throws {ApiError}
   */
  follow(path: string, body: unknown, onEvent: (event: string, data: unknown) => void): Promise<void>;
  /**
   * A public document, asked for without the token.
   * @throws {ApiError}
   */
  fetchPublic(path: string, accept: string): Promise<string>;
  /**
   * What a public path answers, whatever its status.
   * @throws {ApiError} when there is no answer
   */
  probe(path: string): Promise<Answered>;
}

interface Answered {
  readonly status: number;
  readonly text: string;
}

/**
 * A client for the API with the token and the root that flags, environment and data folder name.
 * @param signal  ends what is under way
 * @throws {UsageError} for a URL that is not https
 * @throws {ApiError}   when the root cannot be read; the token is read when it is needed
 */
export function api(flags: ApiFlags, { env, ...io }: Pick<CliIo, "env"> & Partial<Pick<CliIo, "stderr" | "isTerminal">>, signal?: AbortSignal): Api {
  refuseMisspelt(env);
  const dataDir = flags["data-dir"] ?? env["COUNTERSIGN_DATA_DIR"] ?? "./.countersign";
  const url = flags.url ?? env["COUNTERSIGN_URL"] ?? "https://127.0.0.1:8443";
  if (!URL.canParse(url) || new URL(url).protocol !== "https:")
    throw new UsageError(`--url must be an https URL, not ${url}.`);
  const otherRoot = flags["ca-cert"] ?? env["COUNTERSIGN_CA_CERT"];
  // Read for each request: while a command keeps looking, roots follow each other.
  const tls = (): RequestOptions => (otherRoot === "web" ? { signal } : { signal, ...trust(otherRoot ?? join(dataDir, "root.pem")) });
  tls();

  function trust(rootPath: string): RequestOptions {
    const ca = read(rootPath, "root certificate", "--ca-cert");
    const trustDomain = env["COUNTERSIGN_TRUST_DOMAIN"] ?? (otherRoot === undefined ? trustDomainOfFolder(join(dataDir, "audit-log.vkey")) : undefined);
    return { ca, checkServerIdentity: apiIdentityCheck(ca, trustDomain) };
  }

  function readToken(): string {
    const tokenPath = flags["token-file"] ?? env["COUNTERSIGN_TOKEN_FILE"] ?? join(dataDir, "admin-token");
    const given = flags["token-file"] === undefined ? env["COUNTERSIGN_TOKEN"] : undefined;
    const token = (given ?? read(tokenPath, "API token", "--token-file")).trim();
    // Anything else would be an error from node:http that quotes the header, and so the token.
    if (!/^[\x21-\x7e]+$/.test(token))
      throw new ApiError("the API token is not one line of text; is it the right file?");
    return token;
  }

  function authorize(method: string, target: string, payload: string): string {
    const certPath = flags["svid-cert"] ?? env["COUNTERSIGN_SVID_CERT"];
    const keyPath = flags["svid-key"] ?? env["COUNTERSIGN_SVID_KEY"];
    if (certPath === undefined && keyPath === undefined) return `Bearer ${readToken()}`;
    if (certPath === undefined || keyPath === undefined) throw new UsageError("--svid-cert and --svid-key go together.");
    return signRequest(read(certPath, "SVID", "--svid-cert"), read(keyPath, "SVID's key", "--svid-key"), { method, target, body: payload });
  }

  const { origin } = new URL(url);
  // Who watches is told in another way.
  const patiently = <T>(answer: Promise<T>): Promise<T> => (signal === undefined ? whileWaiting(io, `the CA at ${origin}`, answer) : answer);

  return {
    url: origin,
    async call<T>(method: "GET" | "POST" | "DELETE", path: string, body?: unknown, idempotencyKey?: string): Promise<T> {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const length =
        payload === undefined ? {} : { "content-length": Buffer.byteLength(payload), "content-type": mediaType.json };
      const { pathname, search } = new URL(path, url);
      const headers = { authorization: authorize(method, pathname + search, payload ?? ""), ...length, ...(idempotencyKey !== undefined && { [idempotencyKeyHeader]: idempotencyKey }) };
      const text = await patiently(exchange(new URL(path, url), { method, ...tls(), headers }, payload));
      return (text === "" ? undefined : JSON.parse(text)) as T;
    },
    async follow(path, body, onEvent) {
      const payload = JSON.stringify(body);
      const { pathname, search } = new URL(path, url);
      const headers = {
        authorization: authorize("POST", pathname + search, payload), accept: `${mediaType.eventStream}, ${mediaType.problem}`,
        "content-length": Buffer.byteLength(payload), "content-type": mediaType.json,
      };
      const { status, text } = await answered(new URL(path, url), { method: "POST", ...tls(), headers }, payload, eventReader(onEvent));
      if (status !== 200) throw new ApiError(explain(status, text), { status });
    },
    fetchPublic: (path, accept) => patiently(exchange(new URL(path, url), { method: "GET", ...tls(), headers: { accept } })),
    probe: (path) => patiently(answered(new URL(path, url), { method: "GET", ...tls() })),
  };
}

/** By a slip of the pen another CA would be asked, or by another caller. */
function refuseMisspelt(env: CliIo["env"]): void {
  for (const name of Object.keys(env)) {
    const near = name.startsWith("COUNTERSIGN_") && !apiVariables.includes(name) ? nearestName(name, apiVariables) : undefined;
    if (near !== undefined) throw new UsageError(`unknown environment variable ${name}; did you mean ${near}?`);
  }
}

/** What says which CA, and as whom. */
export const apiVariables: readonly string[] =
  ["URL", "TOKEN", "TOKEN_FILE", "SVID_CERT", "SVID_KEY", "CA_CERT", "DATA_DIR", "TRUST_DOMAIN"].map((name) => `COUNTERSIGN_${name}`);

/** Takes whole events out of a text; what is left of it is the beginning of the next. */
function eventReader(onEvent: (event: string, data: unknown) => void): (text: string) => string {
  return (text) => {
    const frames = text.split("\n\n");
    for (const frame of frames.slice(0, -1)) {
      const [, event] = /^event: (.*)$/m.exec(frame) ?? [];
      const [, data] = /^data: (.*)$/m.exec(frame) ?? [];
      if (event !== undefined && data !== undefined) onEvent(event, JSON.parse(data));
    }
    return frames.at(-1) ?? "";
  };
}

/** Who has a role by its SVID signs each request with its key. */
function signRequest(chainPem: string, keyPem: string, request: SignedRequest): string {
  try {
    const chain = decodePem(chainPem, "CERTIFICATE");
    const { trustDomain } = readSpiffeId(parseCertificate(chain[0] ?? new Uint8Array()));
    const nonce = randomBytes(24).toString("base64url");
    return encodeRequestAuthorization({ ...request, chain, privateKey: createPrivateKey(keyPem), audience: trustDomain, nonce, nowMs: Date.now() });
  } catch (cause) {
    throw new ApiError("cannot sign with --svid-cert and --svid-key: they must hold the chain of an X509-SVID and its unencrypted key, in PEM", { cause });
  }
}

async function exchange(url: URL, options: RequestOptions, payload?: string): Promise<string> {
  const { status, text } = await answered(url, options, payload);
  if (status >= 200 && status < 300) return text;
  throw new ApiError(explain(status, text), { status });
}

async function answered(url: URL, options: RequestOptions, payload?: string, onText?: (text: string) => string): Promise<Answered> {
  try {
    return await send(url, { ...options, agent: false, timeout: timeoutMs }, payload, onText);
  } catch (cause) {
    const hint = hints[(cause as NodeJS.ErrnoException).code ?? ""] ?? `${(cause as Error).message}; is --url right?`;
    const which = (cause as NodeJS.ErrnoException).code === otherTrustDomain ? `${(cause as Error).message}; ` : "";
    throw new ApiError(`no CA at ${url.origin}: ${which}${hint}`, { cause });
  }
}

function send(
  url: URL,
  options: RequestOptions,
  payload: string | undefined,
  onText: (text: string) => string = (text) => text,
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        if (response.statusCode === 200) text = onText(text);
        if (text.length > maxAnswerLength)
          response.destroy(new Error(`the answer is longer than ${maxAnswerLength} characters`));
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text })).on("error", reject);
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
    outgoing.on("error", reject);
    outgoing.end(payload);
  });
}

function explain(status: number, text: string): string {
  try {
    const { detail, code } = JSON.parse(text) as Problem;
    if (typeof detail === "string" && typeof code === "string") return `${detail} (${code})`;
  } catch {
    // Not ours: something stands between us and the CA.
  }
  return `the answer was status ${status} and no problem document; is --url really a Countersign CA?`;
}

function read(path: string, what: string, flag: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new ApiError(
      `cannot read the ${what} ${path} (${code}); name it with ${flag}, or the CA's data folder with --data-dir`,
      { cause },
    );
  }
}

const strangeRoot = "its certificate is not from the root we have; is --ca-cert or --data-dir that of this CA?";
const hints: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there; start it with "countersign serve" or name it with --url',
  ENOTFOUND: "there is no such host; is --url right?",
  SELF_SIGNED_CERT_IN_CHAIN: strangeRoot,
  DEPTH_ZERO_SELF_SIGNED_CERT: strangeRoot,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: strangeRoot,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: strangeRoot,
  CERT_HAS_EXPIRED: "its certificate has expired; is the clock of this machine right, and that of the CA?",
  CERT_NOT_YET_VALID: "its certificate is not valid yet; is the clock of this machine right, and that of the CA?",
  ERR_TLS_CERT_ALTNAME_INVALID:
    "its certificate has another name; reach it by one it has, or give it this one with serve --api-names",
  [otherTrustDomain]:
    "under its root are the CAs of several clusters, so no token was shown; is --url right? If it is, set COUNTERSIGN_TRUST_DOMAIN to the one that is meant",
  [notTheApi]:
    "its certificate is from our root but not the CA's own, so no token was shown; is --url right? If it is, something has " +
    "taken the CA's place",
  EPROTO: "what answers there does not speak TLS 1.3",
};
const timeoutMs = 15_000;
const maxAnswerLength = 16 * 1024 * 1024;
