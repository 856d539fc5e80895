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

/** Any other object, with whatever members its kind has. */
export interface StoredObject {
  readonly immutable?: boolean;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly uid?: string; readonly labels?: Readonly<Record<string, string>>; readonly resourceVersion?: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly webhooks?: readonly { readonly name: string; readonly clientConfig?: Readonly<Record<string, unknown>> }[];
  readonly status?: { readonly phase?: string };
}

/** What of the Kubernetes API we need: over TLS, with a service account's token, under its role: get, list by label, create and server-side apply. */
export interface KubernetesApi {
  readonly url: string;
  /** By `namespace/name`. */
  readonly secrets: Map<string, StoredSecret>;
  /** Objects of other kinds, by path. */
  readonly objects: Map<string, StoredObject>;
  /** Method and path of each request. */
  readonly requests: string[];
  /** What the account may do; undefined: all. */
  rules: readonly RoleRule[] | undefined;
  /** Called before a write is stored. */
  beforeWrite: (() => void) | undefined;
  /** Answers so many requests with this status instead. */
  failNext(count: number, status: number, reason: string): void;
  close(): Promise<void>;
}

/** A rule of a Role in `namespace`, or of a ClusterRole. */
export interface RoleRule {
  readonly namespace?: string | undefined;
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Target {
  readonly group: string;
  readonly namespace: string | undefined;
  readonly resource: string;
  readonly name: string | undefined;
}

/** @param credentials  PEM, for 127.0.0.1 */
export async function startKubernetesApi(credentials: { readonly key: string; readonly cert: string }, token: string): Promise<KubernetesApi> {
  let failures = { count: 0, status: 500, reason: "InternalError" };
  let version = 0;
  /** By path and field manager: members of `data` that it has applied. */
  const applied = new Map<string, ReadonlySet<string>>();

  /** What a manager applied before and leaves out now is removed, unless another has applied it as well. */
  function givenUp(path: string, manager: string, { data = {} }: Applied): readonly string[] {
    const left = [...applied.get(`${path} ${manager}`) ?? []].filter((member) => !Object.hasOwn(data, member));
    applied.set(`${path} ${manager}`, new Set(Object.keys(data)));
    return left.filter((member) => ![...applied].some(([by, members]) => by.startsWith(`${path} `) && members.has(member)));
  }

  /** One store for all kinds; Secrets are shown to tests as they lie in it. */
  function stored({ namespace, resource, name }: Target, path: string): StoredObject | undefined {
    if (resource !== "secrets") return api.objects.get(path);
    const secret = api.secrets.get(`${namespace}/${name}`);
    return secret && { ...describe(resource, namespace, name), ...secret, metadata: { name: name!, ...(namespace !== undefined && { namespace }), resourceVersion: String(secret.resourceVersion) } };
  }

  function store({ namespace, resource, name }: Target, path: string, object: Applied): StoredObject {
    version += 1;
    if (resource === "secrets") api.secrets.set(`${namespace}/${name}`, { type: object.type ?? "Opaque", data: object.data ?? {}, resourceVersion: version });
    else api.objects.set(path, { ...object, metadata: { ...object.metadata, uid: object.metadata.uid ?? `uid-${version}`, resourceVersion: String(version) } });
    return stored({ group: "", namespace, resource, name }, path)!;
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    api.requests.push(`${request.method} ${request.url}`);
    const body = await read(request);
    if (request.headers.authorization !== `Bearer ${token}`) return fail(response, 401, "Unauthorized");
    if (failures.count > 0) {
      failures.count -= 1;
      return fail(response, failures.status, failures.reason);
    }
    const url = new URL(request.url ?? "/", "https://kubernetes");
    const target = targetOf(url.pathname);
    if (target === undefined) return fail(response, 404, "NotFound");
    const { namespace, resource, name } = target;
    if (request.method === "GET" && name === undefined) {
      if (!allowed("list", target)) return fail(response, 403, "Forbidden");
      const [, key = "", not = "", value = ""] = /^([^!=]+)(!?)=(.*)$/.exec(url.searchParams.get("labelSelector") ?? "") ?? [];
      const all = [...api.objects].filter(([path, { metadata }]) => targetOf(path)?.resource === resource && (key === "" || (metadata.labels?.[key] === value) !== (not === "!"))).map(([, object]) => object);
      const [from, limit] = [Number(url.searchParams.get("continue") ?? 0), Number(url.searchParams.get("limit") ?? 500)];
      return send(response, 200, { metadata: { ...(from + limit < all.length && { continue: String(from + limit) }) }, items: all.slice(from, from + limit) });
    }
    if (request.method === "GET") {
      if (!allowed("get", target)) return fail(response, 403, "Forbidden");
      const found = stored(target, url.pathname);
      return found === undefined ? fail(response, 404, "NotFound") : send(response, 200, found);
    }
    if (request.method !== "PATCH" && request.method !== "POST") return fail(response, 405, "MethodNotAllowed");
    const manifest = JSON.parse(body) as Applied;
    const at = { ...target, name: name ?? manifest.metadata?.name };
    const path = name === undefined ? `${url.pathname}/${at.name}` : url.pathname;
    api.beforeWrite?.();
    const before = stored(at, path);
    // Server-side apply of what is not there creates it, and needs the right to.
    if (!allowed(request.method === "POST" ? "create" : "patch", at) || (before === undefined && !allowed("create", at))) return fail(response, 403, "Forbidden");
    // Server-side apply: the type of the patch, a field manager, and an object that says what it is.
    if (request.headers["content-type"] !== (request.method === "PATCH" ? "application/apply-patch+yaml" : "application/json")) return fail(response, 415, "UnsupportedMediaType");
    if (url.searchParams.get("fieldManager") === null) return fail(response, 400, "BadRequest");
    if (manifest.kind !== kinds[resource] || manifest.metadata?.name !== at.name || manifest.metadata.namespace !== namespace) return fail(response, 400, "BadRequest");
    if (resource === "secrets" && Object.values(manifest.data ?? {}).some((value) => Buffer.from(value, "base64").toString("base64") !== value)) return fail(response, 400, "BadRequest");
    if (namespace !== undefined && resource !== "secrets" && !api.objects.has(`/api/v1/namespaces/${namespace}`)) return fail(response, 404, "NotFound");
    const readVersion = manifest.metadata.resourceVersion;
    if ((request.method === "POST" && before !== undefined) || (readVersion !== undefined && readVersion !== before?.metadata.resourceVersion)) return fail(response, 409, request.method === "POST" ? "AlreadyExists" : "Conflict");
    // The type of a Secret cannot be changed, and this one has members it must have.
    const { type = "Opaque" } = manifest;
    if (resource === "secrets" && before !== undefined && (before as Applied).type !== type) return fail(response, 422, "Invalid");
    if (type === "kubernetes.io/tls" && (manifest.data?.["tls.crt"] === undefined || manifest.data["tls.key"] === undefined)) return fail(response, 422, "Invalid");
    if (before?.immutable === true && JSON.stringify(before.data) !== JSON.stringify({ ...before.data, ...manifest.data })) return fail(response, 422, "Invalid");
    const merged = merge(before, manifest, request.method === "PATCH" ? givenUp(path, url.searchParams.get("fieldManager")!, manifest) : []);
    send(response, before === undefined ? 201 : 200, store(at, path, merged));
  }

  function allowed(verb: string, { group, namespace, resource, name }: Target): boolean {
    return api.rules === undefined || api.rules.some((rule) => (
      rule.verbs.includes(verb) && rule.apiGroups.includes(group) && rule.resources.includes(resource) && (rule.namespace === undefined || rule.namespace === namespace)
      // A create cannot be limited by name: the name is not known when it is authorized.
      && (rule.resourceNames === undefined || (verb !== "create" && name !== undefined && rule.resourceNames.includes(name)))
    ));
  }

  const server: Server = createServer(credentials, (request, response) => void answer(request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const api: KubernetesApi = {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    secrets: new Map(), objects: new Map(), requests: [], rules: undefined, beforeWrite: undefined,
    failNext: (count, status, reason) => void (failures = { count, status, reason }),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return api;
}

type Applied = StoredObject & { readonly kind?: string; readonly type?: string };

const kinds: Readonly<Record<string, string>> = { secrets: "Secret", configmaps: "ConfigMap", namespaces: "Namespace", mutatingwebhookconfigurations: "MutatingWebhookConfiguration" };

function targetOf(path: string): Target | undefined {
  const [, group = "", rest = ""] = /^(?:\/api\/v1|\/apis\/([a-z0-9.]+)\/v1)\/(.*)$/.exec(path) ?? [];
  const [, namespace, resource = "", name] = /^(?:namespaces\/([a-z0-9-]+)\/(?=.))?([a-z]+)(?:\/([a-z0-9.-]+))?$/.exec(rest) ?? [];
  return Object.hasOwn(kinds, resource) ? { group, namespace, resource, name } : undefined;
}

/** Members of others are left alone; webhooks are merged by name, as their schema says (listType map). */
function merge(before: StoredObject | undefined, applied: Applied, without: readonly string[]): Applied {
  const known = new Map((before?.webhooks ?? []).map((one) => [one.name, one]));
  for (const one of applied.webhooks ?? []) known.set(one.name, { ...known.get(one.name), ...one, clientConfig: { ...known.get(one.name)?.clientConfig, ...one.clientConfig } });
  return {
    ...before, ...applied, metadata: { ...before?.metadata, ...applied.metadata },
    ...((before?.data ?? applied.data) && { data: Object.fromEntries(Object.entries({ ...before?.data, ...applied.data }).filter(([member]) => !without.includes(member))) }), ...(known.size > 0 && { webhooks: [...known.values()] }),
  };
}

function describe(resource: string, namespace: string | undefined, name: string | undefined): object {
  return { apiVersion: "v1", kind: kinds[resource], metadata: { name, namespace } };
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
