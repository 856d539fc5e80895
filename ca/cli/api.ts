import { readFileSync } from "node:fs";
import { request, type RequestOptions } from "node:https";
import { join } from "node:path";
import type { Problem } from "../contract.ts";
import type { CliIo } from "./io.ts";
import { UsageError } from "./arguments.ts";

/** The API refused, or could not be reached; the message says what to do. */
export class ApiError extends Error {
  override readonly name = "ApiError";
}

/** Flags that every command has which talks to a CA. */
export const apiOptions = {
  url: { type: "string" },
  "token-file": { type: "string" },
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
                     (COUNTERSIGN_TOKEN_FILE, or the token in COUNTERSIGN_TOKEN)
  --ca-cert FILE     root to trust; default DATA-DIR/root.pem
  --data-dir DIR     default ./.countersign (COUNTERSIGN_DATA_DIR)
  -o json            the API's answer as it is
`;

export interface Api {
  /** @throws {ApiError} */
  call<T>(method: "GET" | "POST" | "DELETE", path: string, body?: unknown): Promise<T>;
}

/** A client for the API with the token and the root that flags, environment and data folder name. */
export function api(flags: ApiFlags, io: CliIo): Api {
  const dataDir = flags["data-dir"] ?? io.env["COUNTERSIGN_DATA_DIR"] ?? "./.countersign";
  const url = flags.url ?? io.env["COUNTERSIGN_URL"] ?? "https://127.0.0.1:8443";
  if (!URL.canParse(url) || new URL(url).protocol !== "https:") throw new UsageError(`--url must be an https URL, not ${url}.`);
  const token = io.env["COUNTERSIGN_TOKEN"] ?? read(flags["token-file"] ?? io.env["COUNTERSIGN_TOKEN_FILE"] ?? join(dataDir, "admin-token"), "API token", "--token-file");
  const ca = read(flags["ca-cert"] ?? join(dataDir, "root.pem"), "root certificate", "--ca-cert");
  return {
    async call<T>(method: "GET" | "POST" | "DELETE", path: string, body?: unknown): Promise<T> {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const { status, text } = await exchange(new URL(path, url), {
        method, ca, agent: false, timeout: timeoutMs,
        headers: {
          authorization: `Bearer ${token.trim()}`,
          ...(payload !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(payload) }),
        },
      }, payload);
      if (status >= 200 && status < 300) return (text === "" ? undefined : JSON.parse(text)) as T;
      throw new ApiError(explain(status, text));
    },
  };
}

function exchange(url: URL, options: RequestOptions, payload: string | undefined): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        if (text.length > maxAnswerLength) response.destroy(new Error(`the answer is longer than ${maxAnswerLength} characters`));
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text })).on("error", reject);
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
    outgoing.on("error", reject);
    outgoing.end(payload);
  }).catch((cause: NodeJS.ErrnoException) => {
    const hint = hints[cause.code ?? ""] ?? `${cause.message}; is --url right?`;
    throw new ApiError(`no CA at ${url.origin}: ${hint}`, { cause });
  }) as Promise<{ status: number; text: string }>;
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
    throw new ApiError(`cannot read the ${what} ${path} (${(cause as NodeJS.ErrnoException).code}); name it with ${flag}, or the CA's data folder with --data-dir`, { cause });
  }
}

const hints: Readonly<Record<string, string>> = {
  ECONNREFUSED: `nothing listens there; start it with "countersign serve" or name it with --url`,
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is not from the root we have; is --ca-cert or --data-dir that of this CA?",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate is not from the root we have; is --ca-cert or --data-dir that of this CA?",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate has another name; reach it by one it has, or give it this one with serve --api-names",
};
const timeoutMs = 15_000;
const maxAnswerLength = 16 * 1024 * 1024;
