import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { readConfig } from "../../ca/config/config.ts";
import { applyInjection, planInjection } from "../../ca/inject/injection.ts";
import { configTable as caTable } from "../../ca/config/table.ts";
import { configTable as proxyTable } from "../../proxy/config/table.ts";
import { readConfig as readProxyConfig } from "../../proxy/config/config.ts";
import { countersign } from "../support/command-line.ts";
import { manifestFiles as files, manifestsFolder as source, readManifests } from "../support/manifests.ts";
import { programAvailable } from "../support/programs.ts";
import { testAuthority } from "../support/test-ca.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "countersign-kubernetes-"));
afterAll(() => rmSync(folder, { recursive: true }));

const objects = readManifests<KubernetesObject>();
const config = JSON.parse(readFileSync(join(source, "ca.json"), "utf8")) as { readonly trustDomain: string; readonly publicUrl: string };
const ofKind = (kind: string): readonly KubernetesObject[] => objects.filter((object) => object.kind === kind);
const workloads = [...ofKind("Deployment"), ...ofKind("DaemonSet"), ...ofKind("Job")];
const containersOf = ({ spec: { template } }: KubernetesObject): readonly Container[] => [...(template?.spec.initContainers ?? []), ...(template?.spec.containers ?? [])];
const settings = { caUrl: config.publicUrl, trustDomain: config.trustDomain, roots: "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n", proxyImage: "p", interceptImage: "i" };

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly envFrom?: unknown;
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number; readonly hostPort?: number }[];
  readonly securityContext?: Readonly<Record<string, unknown>>;
}
interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: {
    readonly replicas?: number; readonly minAvailable?: number; readonly selector?: { readonly matchLabels?: Record<string, string> };
    readonly template?: { readonly metadata: { readonly labels: Record<string, string> }; readonly spec: { readonly initContainers?: readonly Container[]; readonly containers: readonly Container[]; readonly securityContext?: Readonly<Record<string, unknown>> } };
  };
  readonly webhooks?: readonly { readonly failurePolicy: string; readonly namespaceSelector: { readonly matchExpressions: readonly { readonly key: string; readonly operator: string; readonly values: readonly string[] }[] } }[];
}

describe("the manifests", () => {
  test("have settings that the programs know, of one trust domain and one CA", () => {
    const known = new Set([...caTable, ...proxyTable].map(({ env }) => env));
    const seen = new Map<string, Set<string>>();
    for (const { name, value } of workloads.flatMap((workload) => containersOf(workload).flatMap(({ env = [] }) => env))) {
      expect(known).toContain(name);
      seen.set(name, (seen.get(name) ?? new Set()).add(value));
    }
    expect([...seen.get("COUNTERSIGN_PROXY_TRUST_DOMAIN")!]).toEqual([config.trustDomain]);
    expect([...seen.get("COUNTERSIGN_PROXY_CA")!]).toEqual([config.publicUrl]);
    const text = files.map((path) => readFileSync(join(source, path), "utf8")).join("");
    expect(new Set([...text.matchAll(/spiffe:\/\/([^/"]+)/g)].map(([, domain]) => domain))).toEqual(new Set([config.trustDomain]));
  });

  test("have proxies whose settings hold together, as those of injected ones do", () => {
    const rootFile = join(folder, "root.pem");
    writeFileSync(rootFile, testAuthority({ trustDomain: config.trustDomain }).pem);
    const plan = planInjection({ metadata: { annotations: { "countersign.dev/intercept": "all" } }, spec: { containers: [{ name: "app" }] } }, settings);
    const proxies = [...workloads.flatMap(containersOf), ...(plan.kind === "inject" ? (plan.injection.initContainers as readonly Container[]) : [])].filter(({ name }) => name === "countersign-proxy");
    expect(proxies).toHaveLength(4);
    for (const { env } of proxies) {
      const read = readProxyConfig({ args: [], env: { ...Object.fromEntries(env!.map(({ name, value }) => [name, value])), COUNTERSIGN_PROXY_ROOT: rootFile } });
      expect(read.platform).toMatchObject({ caUrl: config.publicUrl, trustDomain: config.trustDomain, evidence: { type: "kubernetes" } });
    }
  });

  test("have a configuration that the CA takes", () => {
    const read = readConfig({ flags: { config: join(source, "ca.json") }, env: { COUNTERSIGN_DATA_DIR: join(folder, "data"), COUNTERSIGN_STORE: "postgres://u:p@db/countersign" } });
    expect(read).toMatchObject({ trustDomain: config.trustDomain, listenPort: 8443 });
  });

  test("call the injector as it is called", async () => {
    const injector = ofKind("Deployment").find(({ metadata }) => metadata.name === "countersign-injector")!;
    const { args } = containersOf(injector).find(({ name }) => name === "injector")!;
    const help = (await countersign(["inject", "--help"])).stdout;
    for (const flag of args!.filter((arg) => arg.startsWith("--"))) expect(help).toContain(flag.split("=")[0]);
    // All of it is understood, up to the files that are not there.
    expect(await countersign(args!)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("cannot read roots") as string });
    expect(args).toContain(`--trust-domain=${config.trustDomain}`);
  });

  test("leave tables and first start to the Job, which is called as it is, with the replicas' own settings", async () => {
    const [job, ca] = ["Job", "Deployment"].map((kind) => ofKind(kind)[0]!).map(containersOf).map(([first]) => first!);
    expect(ca!.env).toContainEqual({ name: "COUNTERSIGN_INITIALIZE", value: "off" });
    expect([job!.image, job!.envFrom]).toEqual([ca!.image, ca!.envFrom]);
    const help = (await countersign(["store", "--help"])).stdout;
    expect(help).toContain("countersign store initialize");
    expect(job!.args).toEqual(["store", "initialize", "--config", "/etc/countersign/ca.json"]);
    // Where the others look for what it makes.
    for (const name of ["countersign-admin", "countersign-root"]) expect(help).toContain(`(${name})`);
  });

  test("each are in a kustomization, with images that have a tag", () => {
    for (const [path, folder] of [["kustomization.yaml", ""], ["node-proxy/kustomization.yaml", "node-proxy/"], ["linkerd/kustomization.yaml", "linkerd/"], ["monitoring/kustomization.yaml", "monitoring/"]] as const) {
      const { resources, images = [], namespace, kind } = parse(readFileSync(join(source, path), "utf8")) as { kind: string; namespace?: string; resources: string[]; images?: { name: string; newTag: string }[] };
      expect(resources.map((name) => folder + name).sort()).toEqual(files.filter((file) => file.startsWith(folder) && !file.slice(folder.length).includes("/")).sort());
      if (kind === "Component") continue;
      // What is in two namespaces names them itself: kustomize would put all of it into one.
      expect([namespace, images.every(({ newTag }) => /^\d+\.\d+\.\d+$/.test(newTag))]).toEqual([path.startsWith("linkerd") ? undefined : "countersign", true]);
    }
    expect(parseAllDocuments(readFileSync(join(source, "linkerd/issuer.yaml"), "utf8")).map((document) => (document.toJS() as { metadata: { namespace?: string } }).metadata.namespace)).toEqual(["countersign", "linkerd", "linkerd", "countersign", "countersign"]);
    expect([...new Set(workloads.flatMap(containersOf).map(({ image }) => image))].sort()).toEqual(["countersign", "countersign-proxy"]);
  });

  test("keep Linkerd's issuer as it is kept, and name who may have it signed", async () => {
    const watcher = ofKind("Deployment").find(({ metadata }) => metadata.name === "countersign-linkerd-issuer")!;
    const { args } = containersOf(watcher).find(({ name }) => name === "issuer")!;
    // All of it is understood, up to the API server that is not there.
    expect(await countersign(args!)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("this is no pod") as string });
    const [, id, scope] = /operator add (\S+) --role operator --scope (\S+)/.exec(readFileSync(join(source, "linkerd/kustomization.yaml"), "utf8"))!;
    expect([id, args]).toEqual([`spiffe://${config.trustDomain}/ns/countersign/sa/countersign-linkerd-issuer`, expect.arrayContaining([`--trust-domain=${scope!.slice("issuer:".length)}`])]);
  });

  test("run everything without root, privileges or a writable root", () => {
    for (const workload of workloads) {
      expect(workload.spec.template!.spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
      for (const { name, securityContext, ports = [] } of containersOf(workload)) {
        // The namespace enforces the level restricted, which refuses these at once.
        expect(ports.filter(({ hostPort }) => hostPort !== undefined)).toEqual([]);
        expect([name, securityContext]).toEqual([name, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } }]);
      }
    }
  });

  test("select what they mean, and let a node be drained", () => {
    for (const { spec } of workloads.filter(({ kind }) => kind !== "Job")) expect(spec.template!.metadata.labels).toMatchObject(spec.selector!.matchLabels!);
    for (const { spec: { minAvailable, selector } } of ofKind("PodDisruptionBudget")) {
      const workload = workloads.find(({ spec }) => JSON.stringify(spec.selector) === JSON.stringify(selector));
      expect(workload!.spec.replicas).toBeGreaterThan(minAvailable!);
    }
  });

  test("never have the webhook asked about the pods that it needs itself, and fail closed", () => {
    const { webhooks } = ofKind("MutatingWebhookConfiguration")[0]!;
    for (const { failurePolicy, namespaceSelector: { matchExpressions } } of webhooks!) {
      expect(failurePolicy).toBe("Fail");
      expect(matchExpressions).toContainEqual({ key: "kubernetes.io/metadata.name", operator: "NotIn", values: ["kube-system", "countersign"] });
    }
    // One selects namespaces that say so and the other namespaces that do not, so no pod meets both.
    expect(webhooks!.map(({ namespaceSelector }) => namespaceSelector.matchExpressions[0]!.operator)).toEqual(["In", "NotIn"]);
  });
});

/** The Kubernetes API's schemas, as types that refuse unknown fields and as validators of values. */
const hasSchemas = ["kubernetes-models", "@kubernetes-models/prometheus-operator"].every((name) => existsSync(join(root, "node_modules", name)));
if (!hasSchemas) console.warn("Tests that need kubernetes-models are skipped: run npm ci.");
/** Those of the Prometheus operator's own kinds are in a package of their own. */
const moduleOf = ({ apiVersion, kind }: Pick<KubernetesObject, "apiVersion" | "kind">): string =>
  `${apiVersion.startsWith("monitoring.coreos.com/") ? "@kubernetes-models/prometheus-operator" : "kubernetes-models"}/${apiVersion}/${kind}`;
async function validate(object: KubernetesObject): Promise<void> {
  const models = (await import(moduleOf(object))) as Record<string, new (data: unknown) => { validate(): void }>;
  expect(() => new models[object.kind]!(object).validate(), `${object.kind} ${object.metadata.name}`).not.toThrow();
}

describe.skipIf(!hasSchemas)("the Kubernetes schemas", () => {
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "cart", annotations: { "countersign.dev/intercept": "all" } }, spec: { containers: [{ name: "app", image: "app" }] } };
  const plan = planInjection(pod, settings);
  const injected = plan.kind === "inject" ? applyInjection(pod, plan.injection) : undefined;
  const checked = [...objects, injected as unknown as KubernetesObject];

  test("know every field of the manifests and of what is injected, and no other", () => {
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const literal = (object: KubernetesObject, index: number): string =>
      `import type { I${object.kind} as K${index} } from ${JSON.stringify(moduleOf(object))};\nexport const o${index}: K${index} = ${JSON.stringify(object)};\n`;
    const misspelled = { ...pod, spec: { containers: [{ name: "app", imagee: "app" }] } } as unknown as KubernetesObject;
    const [monitor] = ofKind("PodMonitor");
    const misread = { ...monitor, spec: { ...monitor!.spec, podMetricsEndpoint: [] } } as unknown as KubernetesObject;
    writeFileSync(join(folder, "good.ts"), checked.map(literal).join(""));
    writeFileSync(join(folder, "bad.ts"), literal(misspelled, 0) + literal(misread, 1));
    const { stdout } = spawnSync(join(root, "node_modules/.bin/tsc"), ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022", "--types", "", "good.ts", "bad.ts"], { cwd: folder, encoding: "utf8" });
    expect(stdout.split("\n").filter((line) => line.startsWith("good.ts"))).toEqual([]);
    for (const unknown of ["imagee", "podMetricsEndpoint"]) expect(stdout).toMatch(new RegExp(`^bad\\.ts.*"${unknown}"`, "m"));
  });

  test("take every value", async () => {
    for (const object of checked) await validate(object);
    const { metadata } = pod;
    for (const wrong of [
      { ...pod, spec: { containers: [{ name: 7 }] } },
      { apiVersion: "monitoring.coreos.com/v1", kind: "PodMonitor", metadata, spec: { selector: {}, podMetricsEndpoints: [{ port: "proxy-metrics", interval: "half a minute" }] } },
      { apiVersion: "monitoring.coreos.com/v1", kind: "PrometheusRule", metadata, spec: { groups: [{ name: "g", rules: [{ alert: "A" }] }] } },
    ]) {
      await expect(validate(wrong as unknown as KubernetesObject), wrong.kind).rejects.toThrow();
    }
  });
});

/** Kustomize of 2021 or later; Debian 12's kubectl has an older one. */
const hasKustomize = programAvailable("kubectl") && spawnSync("kubectl", ["kustomize", join(source, "node-proxy")]).status === 0;
if (!hasKustomize) console.warn("Tests that need kubectl with kustomize 4.1 or later are skipped.");

describe.skipIf(!hasKustomize)("kustomize", () => {
  const build = (path: string): readonly KubernetesObject[] => parseAllDocuments(execFileSync("kubectl", ["kustomize", path], { encoding: "utf8" })).map((document) => document.toJS() as KubernetesObject);

  test.each([
    [".", ["Deployment", "MutatingWebhookConfiguration", "NetworkPolicy"]], ["node-proxy", ["DaemonSet"]], ["linkerd", ["Deployment", "Role"]],
  ] as const)("builds %s, with a tag for each image", async (path, kinds) => {
    const built = build(join(source, path));
    expect(built.map(({ kind }) => kind)).toEqual(expect.arrayContaining([...kinds]));
    for (const { image } of built.filter(({ spec }) => spec?.template !== undefined).flatMap(containersOf)) expect(image).toMatch(/^countersign(-proxy)?:\d+\.\d+\.\d+$/);
    if (hasSchemas) for (const object of built) await validate(object);
  });

  test("builds it as the README has it: with monitoring as a component, and images and trust domain of one's own", async () => {
    const own = join(folder, "own");
    mkdirSync(own);
    writeFileSync(join(own, "kustomization.yaml"), JSON.stringify({
      // Paths of resources are relative.
      apiVersion: "kustomize.config.k8s.io/v1beta1", kind: "Kustomization", resources: [relative(own, source)], components: [relative(own, join(source, "monitoring"))], namespace: "countersign",
      images: [{ name: "countersign", newName: "registry.example/countersign", newTag: "1.2.3" }],
    }));
    const built = build(own);
    const monitors = built.filter(({ apiVersion }) => apiVersion === "monitoring.coreos.com/v1");
    expect(monitors.map(({ kind, metadata }) => [kind, metadata.namespace]).sort()).toEqual(["PodMonitor", "PrometheusRule", "ServiceMonitor"].map((kind) => [kind, "countersign"]));
    expect(containersOf(built.find(({ kind, metadata }) => kind === "Deployment" && metadata.name === "countersign")!)[0]!.image).toBe("registry.example/countersign:1.2.3");
    if (hasSchemas) for (const object of built) await validate(object);
  });
});

describe("what the Prometheus operator is told", () => {
  interface Endpoint { readonly port: string; readonly path: string }
  const endpointsOf = (kind: string, key: string): readonly Endpoint[] => ofKind(kind).flatMap(({ spec }) => (spec as unknown as Readonly<Record<string, readonly Endpoint[]>>)[key]!);
  const listening = ({ env = [] }: Container): string | undefined => env.find(({ name }) => name === "COUNTERSIGN_PROXY_METRICS")?.value.split(":")[1];
  const plan = planInjection({ spec: { containers: [{ name: "app" }] } }, settings);
  const injected = plan.kind === "inject" ? (plan.injection.initContainers as readonly Container[]) : [];

  test("finds each proxy, of the manifests or injected, at the port where it listens for scrapers, which network policies let through", () => {
    const [endpoint, ...more] = endpointsOf("PodMonitor", "podMetricsEndpoints");
    expect([more, endpoint?.path, ofKind("PodMonitor")[0]!.spec]).toMatchObject([[], "/metrics", { selector: {}, namespaceSelector: { any: true } }]);
    const proxies = [...workloads.flatMap(containersOf), ...injected].filter(({ name }) => name === "countersign-proxy");
    expect(proxies).toHaveLength(4);
    for (const proxy of proxies) expect(proxy.ports?.find(({ name }) => name === endpoint!.port)?.containerPort).toBe(Number(listening(proxy)));
    for (const workload of workloads.filter((one) => containersOf(one).some((container) => listening(container) !== undefined))) {
      const { labels } = workload.spec.template!.metadata;
      for (const { spec, metadata } of ofKind("NetworkPolicy").filter((policy) => Object.entries(selected(policy)).every(([key, value]) => labels[key] === value))) {
        const open = (spec as unknown as { readonly ingress?: readonly { readonly ports: readonly { readonly port: number }[] }[] }).ingress ?? [];
        expect(open.flatMap(({ ports }) => ports.map(({ port }) => port)), metadata.name).toContain(4192);
      }
    }
  });

  test("finds the CA at the port of its Service", () => {
    const [endpoint] = endpointsOf("ServiceMonitor", "endpoints");
    const service = ofKind("Service").find(({ metadata }) => metadata.name === "countersign")!;
    expect((service.spec as unknown as { readonly ports: readonly { readonly name: string }[] }).ports.map(({ name }) => name)).toContain(endpoint!.port);
  });

  function selected({ spec }: KubernetesObject): Readonly<Record<string, string>> {
    return (spec as unknown as { readonly podSelector: { readonly matchLabels: Readonly<Record<string, string>> } }).podSelector.matchLabels;
  }
});
