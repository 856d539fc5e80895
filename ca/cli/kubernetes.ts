import { readFileSync } from "node:fs";
import { request } from "node:https";
import { ApiError } from "./api.ts";
import { secretManifest, type SecretPlace, type SecretScheme } from "./issuer-secret.ts";
import type { IssuerTarget } from "./issuer-target.ts";

/** How the API server is reached; by default as a pod reaches it. */
export interface KubernetesAccess {
  /** `https://host:port`. */
  readonly url: string;
  /** Read again for each request: the kubelet replaces it. */
  readonly tokenFile: string;
  readonly caFile: string;
}

/** A Secret, kept through the Kubernetes API by server-side apply: made if it is not there, its other members left alone. */
export function kubernetesTarget(access: KubernetesAccess, scheme: SecretScheme, place: SecretPlace): IssuerTarget {
  const path = `/api/v1/namespaces/${place.namespace}/secrets/${place.name}`;
  return {
    name: `Secret ${place.namespace}/${place.name}`,
    read: async () => {
      const { status, text } = await send(access, "GET", path);
      if (status === 404) return undefined;
      if (status !== 200) throw refused("read", place, status, text);
      const { data = {} } = JSON.parse(text) as { data?: Readonly<Record<string, string>> };
      const [chain, key] = [data[scheme.certificate], data[scheme.key]];
      return chain === undefined || key === undefined ? undefined : { chain: decode(chain), key: decode(key) };
    },
    write: async (material) => {
      const manifest = JSON.stringify(secretManifest(scheme, place, material));
      const { status, text } = await send(access, "PATCH", `${path}?fieldManager=countersign&force=true`, manifest);
      if (status !== 200 && status !== 201) throw refused("write", place, status, text);
    },
  };
}

/** The access of a pod, by its environment and its service account's folder. */
export function podAccess(env: Readonly<Record<string, string | undefined>>): KubernetesAccess | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = env;
  if (host === undefined) return undefined;
  const folder = "/var/run/secrets/kubernetes.io/serviceaccount";
  return { url: `https://${host.includes(":") ? `[${host}]` : host}:${port}`, tokenFile: `${folder}/token`, caFile: `${folder}/ca.crt` };
}

function send(access: KubernetesAccess, method: "GET" | "PATCH", path: string, body?: string): Promise<{ readonly status: number; readonly text: string }> {
  const [token, ca] = [readMounted(access.tokenFile).trim(), readMounted(access.caFile)];
  // Anything else would be an error of node:http that quotes the header, and so the token.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new ApiError(`${access.tokenFile} is not one line of text; is it a service account's token?`);
  const headers = {
    authorization: `Bearer ${token}`, accept: "application/json",
    // JSON is YAML, and this is the one type that every version of server-side apply takes.
    ...(body !== undefined && { "content-type": "application/apply-patch+yaml", "content-length": Buffer.byteLength(body) }),
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

/** Only the reason: the message of a Status may repeat what was sent, and that was a key. */
function refused(act: "read" | "write", { name, namespace }: SecretPlace, status: number, text: string): ApiError {
  const hint = hints[status] ?? "look at the API server's log";
  return new ApiError(`the Kubernetes API did not let us ${act} Secret ${namespace}/${name} (${status} ${reasonOf(text)}); ${hint}`);
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

function decode(base64: string): string {
  return Buffer.from(base64, "base64").toString("utf8");
}

const hints: Readonly<Record<number, string>> = {
  401: "its token is not accepted; is it of this cluster?",
  403: "the service account needs get, create and patch on this Secret",
  404: "does the namespace exist?",
  422: "a Secret of another type is there already; delete it, or name the scheme it has with --secret",
};
const timeoutMs = 15_000;
/** A Secret holds 1 MiB at most. */
const maxAnswerChars = 4 * 1024 * 1024;
