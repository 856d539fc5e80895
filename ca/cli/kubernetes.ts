import { readFileSync } from "node:fs";
import { request } from "node:https";
import { ApiError } from "./api.ts";
import { UsageError } from "./arguments.ts";

/** How the API server is reached; by default as a pod reaches it. */
export interface KubernetesAccess {
  /** `https://host:port`. */
  readonly url: string;
  /** Read again for each request: the kubelet replaces it. */
  readonly tokenFile: string;
  readonly caFile: string;
}

/** What of the Kubernetes API we use. */
export interface KubernetesApi {
  /**
   * An object, or a list of them; undefined where there is none.
   * @throws {ApiError}
   */
  read<T>(path: string, about: About): Promise<T | undefined>;
  /**
   * Server-side apply: what is not there is made, members of others are left alone.
   * @throws {ApiError}
   */
  apply(path: string, manifest: KubernetesManifest, about: About): Promise<void>;
  /**
   * Only where nobody was faster: makes what is not there, or replaces exactly what was read.
   * @returns false when somebody was
   * @throws {ApiError}
   */
  swap(path: string, manifest: KubernetesManifest, readVersion: string | undefined, about: About): Promise<boolean>;
}

/** With whatever members its kind has. */
export interface KubernetesManifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly webhooks?: readonly object[];
}

/** For the message when it is refused. */
export interface About {
  /** As in `Secret linkerd/issuer`. */
  readonly name: string;
  /** What to do, by status. */
  readonly hints?: Readonly<Record<number, string>>;
}

/** Flags of commands that talk to it, for outside a pod. */
export const kubernetesOptions = { "kube-url": { type: "string" }, "kube-token-file": { type: "string" }, "kube-ca-file": { type: "string" } } as const;

/** The access that flags name, or that of a pod by its environment; undefined where neither is whole. @throws {UsageError} */
export function kubernetesAccess(flags: { readonly [Name in keyof typeof kubernetesOptions]?: string | undefined }, env: Readonly<Record<string, string | undefined>>): KubernetesAccess | undefined {
  const pod = podAccess(env);
  const [url, tokenFile, caFile] = [flags["kube-url"] ?? pod?.url, flags["kube-token-file"] ?? pod?.tokenFile, flags["kube-ca-file"] ?? pod?.caFile];
  if (url === undefined || tokenFile === undefined || caFile === undefined) return undefined;
  if (!URL.canParse(url) || new URL(url).protocol !== "https:") throw new UsageError(`--kube-url must be an https URL, not ${url}.`);
  return { url, tokenFile, caFile };
}

function podAccess(env: Readonly<Record<string, string | undefined>>): KubernetesAccess | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = env;
  if (host === undefined) return undefined;
  return { url: `https://${host.includes(":") ? `[${host}]` : host}:${port}`, tokenFile: `${accountFolder}/token`, caFile: `${accountFolder}/ca.crt` };
}

/**
 * The API server, by a service account's token.
 * @param manager  in whose name fields are applied: what one left out of an object that it had put there before is removed, so each who
 *   applies another part of the same object has a name of its own
 * @source kubernetes.io/docs/reference/using-api/server-side-apply, "Merge strategy"
 */
export function kubernetesApi(access: KubernetesAccess, manager = "countersign"): KubernetesApi {
  async function write(method: "PATCH" | "POST", path: string, manifest: object, about: About): Promise<number> {
    const { status, text } = await send(access, method, path, JSON.stringify(manifest));
    if (status !== 200 && status !== 201 && status !== 409) throw refused("write", about, status, text);
    return status;
  }
  return {
    async read<T>(path: string, about: About) {
      const { status, text } = await send(access, "GET", path);
      if (status === 404) return undefined;
      if (status !== 200) throw refused("read", about, status, text);
      return readJson<T>(text, about);
    },
    async apply(path, manifest, about) {
      if (await write("PATCH", `${path}?fieldManager=${manager}&force=true`, manifest, about) === 409) throw refused("write", about, 409, "");
    },
    async swap(path, manifest, readVersion, about) {
      if (readVersion === undefined) return await write("POST", `${path.slice(0, path.lastIndexOf("/"))}?fieldManager=${manager}`, manifest, about) !== 409;
      const versioned = { ...manifest, metadata: { ...manifest.metadata, resourceVersion: readVersion } };
      return await write("PATCH", `${path}?fieldManager=${manager}&force=true`, versioned, about) !== 409;
    },
  };
}

function readJson<T>(text: string, { name }: About): T {
  try {
    return JSON.parse(text) as T;
  } catch {
    // Without its cause: the message of JSON.parse repeats what was read.
    throw new ApiError(`what answers for the Kubernetes API about ${name} is not JSON; is something in between?`);
  }
}

/** Namespace of the pod we are in; undefined in none. */
export function podNamespace(): string | undefined {
  try {
    return readFileSync(`${accountFolder}/namespace`, "utf8").trim();
  } catch {
    return undefined;
  }
}

function send(access: KubernetesAccess, method: "GET" | "PATCH" | "POST", path: string, body?: string): Promise<{ readonly status: number; readonly text: string }> {
  const [token, ca] = [readMounted(access.tokenFile).trim(), readMounted(access.caFile)];
  // Anything else would be an error of node:http that quotes the header, and so the token.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new ApiError(`${access.tokenFile} is not one line of text; is it a service account's token?`);
  const headers = {
    authorization: `Bearer ${token}`, accept: "application/json",
    // JSON is YAML, and this is the one type that every version of server-side apply takes.
    ...(body !== undefined && { "content-type": method === "PATCH" ? "application/apply-patch+yaml" : "application/json", "content-length": Buffer.byteLength(body) }),
  };
  return new Promise((resolve, reject) => {
    const fail = (cause: Error): void => reject(new ApiError(`no Kubernetes API at ${access.url}: ${cause.message}`, { cause }));
    const outgoing = request(new URL(path, access.url), { method, ca, headers, agent: false, timeout: timeoutMs }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        if (text.length > maxAnswerChars) response.destroy(new Error("the answer is too long"));
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text })).on("error", fail);
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${timeoutMs / 1000} s`))).on("error", fail);
    outgoing.end(body);
  });
}

/** Only the reason: the message of a Status may repeat what was sent, and that may be a key. */
function refused(act: "read" | "write", { name, hints = {} }: About, status: number, text: string): ApiError {
  const hint = hints[status] ?? commonHints[status] ?? "look at the API server's log";
  const answer = `${status} ${reasonOf(text)}`.trim();
  return new ApiError(`the Kubernetes API did not let us ${act} ${name} (${answer}); ${hint}`, { status });
}

function reasonOf(text: string): string {
  try {
    const { reason } = JSON.parse(text) as { reason?: unknown };
    return typeof reason === "string" && /^[A-Za-z]{1,40}$/.test(reason) ? reason : "";
  } catch {
    return "";
  }
}

function readMounted(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new ApiError(`cannot read ${path} (${(cause as NodeJS.ErrnoException).code}); is this a pod with a service account?`, { cause });
  }
}

const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";
const commonHints: Readonly<Record<number, string>> = {
  401: "its token is not accepted; is it of this cluster?",
  403: "its service account lacks the right to: see the roles in infra/kubernetes",
  404: "does the namespace exist?",
  409: "somebody else changed it meanwhile; try again",
};
const timeoutMs = 15_000;
/** An object holds 1 MiB at most; of namespaces a page has 500. */
const maxAnswerChars = 4 * 1024 * 1024;
