import { ApiError } from "./api.ts";
import type { KubernetesApi } from "./kubernetes.ts";

/** `all`: each namespace but those that have the label `countersign.dev/bundle: disabled`; `labelled`: those that have it with `enabled`. */
export type BundleNamespaces = "all" | "labelled";

export interface PublisherDeps {
  readonly kubernetes: KubernetesApi;
  /** PEM; read at each look. */
  readonly roots: () => string;
  /** A MutatingWebhookConfiguration whose webhooks are to trust them; undefined for none. */
  readonly webhook: string | undefined;
  /** A ConfigMap with them, kept in these namespaces; undefined for none. */
  readonly configMap: string | undefined;
  readonly namespaces: BundleNamespaces;
  readonly log: (line: string) => void;
  readonly now?: () => number;
}

/**
 * Tells the cluster whom to trust: the API server, by the `caBundle` of webhooks, and pods, by a ConfigMap in each of the namespaces.
 * What was put there by hand is replaced. A ConfigMap stays where a label takes its namespace out.
 * @returns one look, never rejecting; what fails is logged, once as long as it is the same, and tried at the next
 */
export function bundlePublisher({ kubernetes, roots, webhook, configMap, namespaces, log, now = Date.now }: PublisherDeps): () => Promise<void> {
  /** By namespace's UID, since one may come back under its name. */
  let published = new Map<string, { readonly roots: string; readonly atMs: number }>();
  let said = "";

  async function trustIn(name: string, pem: string): Promise<void> {
    const [path, about] = [`/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${name}`, { name: `MutatingWebhookConfiguration ${name}` }];
    const caBundle = Buffer.from(pem).toString("base64");
    const found = await kubernetes.read<WebhookConfiguration>(path, about);
    if (found === undefined) throw new ApiError(`there is no MutatingWebhookConfiguration ${name}; is infra/kubernetes applied, or the name another one?`);
    const { webhooks = [] } = found;
    if (webhooks.every(({ clientConfig }) => clientConfig?.caBundle === caBundle)) return;
    await kubernetes.apply(path, {
      apiVersion: "admissionregistration.k8s.io/v1", kind: "MutatingWebhookConfiguration", metadata: { name }, webhooks: webhooks.map((one) => ({ name: one.name, clientConfig: { caBundle } })),
    }, about);
    log(`MutatingWebhookConfiguration ${name}: its webhooks are trusted by the CA's roots of now\n`);
  }

  async function publishIn(name: string, pem: string): Promise<void> {
    const next: typeof published = new Map();
    const refusals: string[] = [];
    const found = await listNamespaces(kubernetes, selectors[namespaces]);
    const repairAfterMs = Math.max(repairIntervalMs, found.length * repairPaceMs);
    for (const { metadata: { name: namespace, uid }, status } of found) {
      if (status?.phase === "Terminating") continue;
      const before = published.get(uid);
      if (before?.roots !== pem || now() - before.atMs > repairAfterMs) {
        const refusal = await putIn(namespace, name, pem);
        if (refusal !== undefined) {
          refusals.push(refusal);
          continue;
        }
        if (before?.roots !== pem) log(`ConfigMap ${namespace}/${name}: has the CA's roots of now\n`);
        published.set(uid, { roots: pem, atMs: now() });
      }
      next.set(uid, published.get(uid)!);
    }
    published = next;
    if (refusals.length > 0) throw new ApiError(`${refusals[0]}${refusals.length > 1 ? `; and so in ${refusals.length - 1} more namespaces` : ""}`);
  }

  /**
   * Whoever has rights in one namespace can have it refused there, by a quota or a ConfigMap that is immutable, and shall not keep the roots
   * from the others by that.
   * @returns why it was refused
   */
  async function putIn(namespace: string, name: string, pem: string): Promise<string | undefined> {
    try {
      await kubernetes.apply(
        `/api/v1/namespaces/${namespace}/configmaps/${name}`,
        { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace }, data: { "root.pem": pem } }, { name: `ConfigMap ${namespace}/${name}` },
      );
      return undefined;
    } catch (error) {
      if (!(error instanceof ApiError) || error.status === undefined || error.status >= 500) throw error;
      return error.message;
    }
  }

  return async () => {
    const faults: string[] = [];
    const acts = [webhook === undefined ? undefined : () => trustIn(webhook, roots()), configMap === undefined ? undefined : () => publishIn(configMap, roots())];
    for (const act of acts) {
      try {
        await act?.();
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        faults.push(error.message);
      }
    }
    const text = faults.join("; ");
    if (text !== said && text !== "") log(`the CA's roots were not published everywhere: ${text}; tried again\n`);
    said = text;
  };
}

/** @throws {ApiError} also for more than can be looked after */
async function listNamespaces(kubernetes: KubernetesApi, labelSelector: string): Promise<readonly Namespace[]> {
  const found: Namespace[] = [];
  for (let next: string | undefined = "", pages = 0; next !== undefined; pages++) {
    if (pages === maxPages) throw new ApiError(`there are more than ${maxPages * pageSize} namespaces; name those that need the roots: --namespaces labelled`);
    const query = new URLSearchParams({ labelSelector, limit: String(pageSize), ...(next !== "" && { continue: next }) });
    const page: NamespaceList | undefined = await kubernetes.read<NamespaceList>(`/api/v1/namespaces?${query.toString()}`, { name: "the list of namespaces" });
    found.push(...(page?.items ?? []));
    next = page?.metadata.continue || undefined;
  }
  return found;
}

interface Namespace {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status?: { readonly phase?: string };
}

interface NamespaceList {
  readonly metadata: { readonly continue?: string };
  readonly items: readonly Namespace[];
}

interface WebhookConfiguration {
  readonly webhooks?: readonly { readonly name: string; readonly clientConfig?: { readonly caBundle?: string } }[];
}

/** `!=` is true as well of what has no such label. @source Kubernetes, "Labels and Selectors" */
const selectors: Readonly<Record<BundleNamespaces, string>> = { all: "countersign.dev/bundle!=disabled", labelled: "countersign.dev/bundle=enabled" };
const pageSize = 500;
/** 10 000 namespaces: twice what Kubernetes is tested with. */
const maxPages = 20;
/** What others changed is put right then, or later where there are so many that the API server would have to take more than one write a second. */
const repairIntervalMs = 10 * 60_000;
const repairPaceMs = 1000;
