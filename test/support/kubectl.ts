import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import type { KubernetesApi } from "./kubernetes-api.ts";
import { readManifests } from "./manifests.ts";
import type { StandIn } from "./walk.ts";

/** What somebody who knows the cluster would do once manifests are applied: start what they say. */
type OnApply = (kustomization: string) => Promise<void>;

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly webhooks?: readonly { readonly name: string }[];
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly ports?: readonly { readonly port: number }[] };
}

/**
 * `kubectl` at a Kubernetes API of the tests, as far as our documents go. What they name has to be there: folders of the project, objects of its
 * manifests, and what commands or our programs made.
 */
export function kubectl(api: KubernetesApi, onApply: OnApply = async () => undefined): StandIn {
  const manifests = new Set<string>();
  const ports = new Map<string, readonly number[]>();

  function take(manifest: Manifest): void {
    const { kind, metadata, type = "Opaque", data = {}, spec } = manifest;
    manifests.add(`${kind.toLowerCase()}/${metadata.name}`);
    if (kind === "Service") ports.set(metadata.name, spec?.ports?.map(({ port }) => port) ?? []);
    if (kind === "Secret") api.secrets.set(`${metadata.namespace}/${metadata.name}`, { type, data, resourceVersion: 1 });
    // The others are looked at by nobody here.
    const path = { Namespace: "/api/v1/namespaces", MutatingWebhookConfiguration: "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations" }[kind];
    if (path !== undefined) api.objects.set(`${path}/${metadata.name}`, { ...manifest, metadata: { ...metadata, uid: metadata.name } });
  }

  function secretsMissing(text: string, namespace: string): readonly string[] {
    return [...text.matchAll(/secretRef: \{name: ([\w-]+)\}/g)].map(([, name]) => `${namespace}/${name}`).filter((name) => !api.secrets.has(name));
  }

  async function applyFolder(path: string): Promise<string> {
    const folder = join(projectRoot, path);
    const kustomization = parseAllDocuments(readFileSync(join(folder, "kustomization.yaml"), "utf8"))[0]!.toJS() as { readonly namespace: string; readonly resources: readonly string[] };
    const missing = kustomization.resources.flatMap((name) => secretsMissing(readFileSync(join(folder, name), "utf8"), kustomization.namespace));
    if (missing.length > 0) throw new Error(`pods would wait for the Secrets ${missing.join(", ")}`);
    readManifests<Manifest>().forEach(take);
    await onApply(path);
    return "applied\n";
  }

  async function apply([flag, what = ""]: readonly string[], input: string, folder: string): Promise<string> {
    if (flag === "-k") return applyFolder(what);
    if (flag !== "-f") throw new Error(`apply ${flag}?`);
    const documents = parseAllDocuments(what === "-" ? input : readFileSync(join(folder, what), "utf8")).map((document) => document.toJS() as Manifest);
    documents.forEach(take);
    return documents.map(({ kind, metadata }) => `${kind.toLowerCase()}/${metadata.name} created\n`).join("");
  }

  function create(namespace: string | undefined, [kind, ...rest]: readonly string[]): string {
    const [name = "", ...more] = kind === "secret" && rest[0] === "generic" ? rest.slice(1) : rest;
    if (kind === "namespace") api.objects.set(`/api/v1/namespaces/${name}`, { metadata: { name, uid: name } });
    else if (kind === "secret") {
      requireThat(api.objects.has(`/api/v1/namespaces/${namespace}`), `there is no namespace ${namespace}`);
      const data = Object.fromEntries(more.map((one) => /^--from-literal=(\w+)=([^]*)$/.exec(one) ?? never(`create secret ${one}`)).map(([, key, value]) => [key, Buffer.from(value!).toString("base64")]));
      api.secrets.set(`${namespace}/${name}`, { type: "Opaque", data, resourceVersion: 1 });
    } else never(`create ${kind}`);
    return `${kind}/${name} created\n`;
  }

  function get(namespace: string, [kind, name, flag, format = ""]: readonly string[]): string {
    const object = kind === "secret" ? api.secrets.get(`${namespace}/${name}`) : api.objects.get(`/api/v1/namespaces/${namespace}/${kind}s/${name}`);
    requireThat(object !== undefined, `there is no ${kind} ${namespace}/${name}`);
    if (flag === undefined) return `${name}\n`;
    const [, member] = /^jsonpath=\{\.data\.((?:[\w-]|\\\.)+)\}$/.exec(format) ?? [];
    requireThat(flag === "-o" && member !== undefined, `get ${flag} ${format}`);
    return object?.data?.[member!.replaceAll("\\.", ".")] ?? never(`${kind} ${namespace}/${name} has no ${member}`);
  }

  function label([kind, name, ...labels]: readonly string[]): string {
    const path = `/api/v1/namespaces/${name}`;
    const object = api.objects.get(path);
    if (kind !== "namespace" || object === undefined) return never(`there is no ${kind} ${name}`);
    const pairs = Object.fromEntries(labels.map((one) => one.split("=")));
    // A label that nobody looks at does nothing, silently.
    for (const key of Object.keys(pairs)) requireThat(labelsLookedAt().includes(key), `nothing looks at the label ${key}`);
    api.objects.set(path, { ...object, metadata: { ...object.metadata, labels: { ...object.metadata.labels, ...pairs } } });
    return `namespace/${name} labeled\n`;
  }

  return async (args, input, folder) => {
    const [namespace, [command, ...rest]] = args[0] === "-n" ? [args[1], args.slice(2)] : [undefined, args];
    switch (command) {
      case "create": return create(namespace, rest);
      case "apply": return apply(rest, input, folder);
      case "get": return get(namespace ?? "default", rest);
      case "label": return label(rest);
      case "rollout":
        requireThat(rest[0] === "status" && manifests.has(rest[1] ?? ""), `there is no ${rest[1]}`);
        return "successfully rolled out\n";
      case "port-forward":
        requireThat(ports.get((rest[0] ?? "").replace(/^service\//, ""))?.includes(Number(rest[1])) === true, `${rest[0]} has no port ${rest[1]}`);
        return "";
      default: return never(`kubectl ${command}: not known here`);
    }
  };
}

/** `linkerd install` with an issuer of one's own: what it is told of the roots, as a manifest. */
export const linkerdCli: StandIn = (args, _input, folder) => {
  const [command, ...flags] = args;
  const given = new Map(flags.flatMap((flag, index) => (flag.startsWith("--") ? [[flag, flags[index + 1] ?? ""]] : [])));
  for (const flag of given.keys()) requireThat(["--set", "--identity-trust-anchors-file"].includes(flag), `linkerd install has no ${flag}`);
  requireThat(command === "install" && given.get("--set") === "identity.issuer.scheme=kubernetes.io/tls", `linkerd ${args.join(" ")}`);
  const anchors = join(folder, given.get("--identity-trust-anchors-file") ?? "");
  requireThat(existsSync(anchors), `there is no ${anchors}`);
  return JSON.stringify({ kind: "ConfigMap", metadata: { name: "linkerd-identity-trust-roots", namespace: "linkerd" }, data: { "ca-bundle.crt": readFileSync(anchors, "utf8") } });
};

function labelsLookedAt(): readonly string[] {
  const text = ["ca/inject/pod.ts", "ca/cli/kubernetes-publish.ts"].map((path) => readFileSync(join(projectRoot, path), "utf8")).join("");
  return [...text.matchAll(/countersign\.dev\/\w+/g)].map(([name]) => name);
}

function requireThat(holds: boolean, otherwise: string): void {
  if (!holds) never(otherwise);
}

function never(why: string): never {
  throw new Error(`kubectl: ${why}`);
}

const projectRoot = fileURLToPath(new URL("../..", import.meta.url));
