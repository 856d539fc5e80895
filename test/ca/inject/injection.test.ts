import { describe, expect, test } from "vitest";
import { patchOf, reviewAdmission, type AdmissionAnswer, type PatchOperation } from "../../../ca/inject/admission.ts";
import { applyInjection, planInjection, type InjectionPlan } from "../../../ca/inject/injection.ts";
import { planManifest } from "../../../ca/inject/manifest.ts";
import type { Pod } from "../../../ca/inject/pod.ts";
import { configTable } from "../../../proxy/config/table.ts";
import { parseInterceptCommand } from "../../../proxy/intercept/options.ts";

const settings = { caUrl: "https://countersign.countersign.svc:8443", trustDomain: "east", roots: "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n", proxyImage: "proxy:1", interceptImage: "intercept:1" };
const pod = (changes: { readonly annotations?: Record<string, string>; readonly labels?: Record<string, string>; readonly spec?: object; readonly container?: object } = {}): Pod => ({
  metadata: { name: "cart", ...(changes.labels && { labels: changes.labels }), ...(changes.annotations && { annotations: changes.annotations }) },
  spec: { containers: [{ name: "app", ports: [{ containerPort: 9000 }], ...changes.container }], ...changes.spec },
});
const kindOf = (one: Pod): InjectionPlan["kind"] => planInjection(one, settings).kind;
function injected(one: Pod) {
  const plan = planInjection(one, settings);
  if (plan.kind !== "inject") throw new Error(plan.why);
  return applyInjection(one, plan.injection) as InjectedPod;
}
interface InjectedPod {
  readonly metadata: { readonly annotations: Record<string, string> };
  readonly spec: { readonly initContainers: readonly InjectedContainer[]; readonly containers: readonly object[]; readonly volumes: readonly object[] };
}
interface InjectedContainer {
  readonly name: string;
  readonly image: string;
  readonly restartPolicy?: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  readonly securityContext?: Readonly<Record<string, unknown>>;
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe?: object;
  readonly readinessProbe?: object;
}

describe("a pod that gets a proxy", () => {
  const { metadata, spec } = injected(pod());
  const [proxy, intercept] = spec.initContainers as readonly [InjectedContainer, InjectedContainer];
  const env = Object.fromEntries((proxy.env ?? []).map(({ name, value }) => [name, value]));

  test("has it as a native sidecar that starts first, by settings the proxy knows", () => {
    expect([proxy.name, proxy.image, proxy.restartPolicy]).toEqual(["countersign-proxy", "proxy:1", "Always"]);
    const known = new Map(configTable.map(({ env: name, choices }) => [name, choices]));
    for (const [name, value] of Object.entries(env)) {
      expect([...known.keys()]).toContain(name);
      if (known.get(name) !== undefined) expect(known.get(name)).toContain(value);
    }
    expect(env).toMatchObject({ COUNTERSIGN_PROXY_CA: settings.caUrl, COUNTERSIGN_PROXY_TRUST_DOMAIN: "east", COUNTERSIGN_PROXY_APP: "127.0.0.1:9000", COUNTERSIGN_PROXY_ATTEST: "kubernetes" });
  });

  test("knows its CA by the roots in an annotation and proves itself by a token that is for this trust domain alone", () => {
    expect(metadata.annotations["countersign.dev/root"]).toBe(settings.roots);
    expect(spec.volumes).toEqual([{ name: "countersign", projected: { sources: [
      { serviceAccountToken: { audience: "spiffe://east", expirationSeconds: 3600, path: "token" } },
      { downwardAPI: { items: [{ path: "root.pem", fieldRef: { fieldPath: "metadata.annotations['countersign.dev/root']" } }] } },
    ] } }]);
    expect([env["COUNTERSIGN_PROXY_TOKEN_FILE"], env["COUNTERSIGN_PROXY_ROOT"]]).toEqual(["/var/run/countersign/token", "/var/run/countersign/root.pem"]);
  });

  test("runs it without any privilege; only what redirects connections may change the network", () => {
    expect(proxy.securityContext).toEqual({
      runAsUser: 64_143, runAsGroup: 64_143, runAsNonRoot: true, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] }, seccompProfile: { type: "RuntimeDefault" },
    });
    expect(intercept.securityContext).toMatchObject({ allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] } });
  });

  test("has its connections redirected by a command that the proxy understands, as its wishes say", () => {
    const planOf = (annotations: Record<string, string>) => parseInterceptCommand(injected(pod({ annotations })).spec.initContainers[1]!.args!.slice(1)).plan;
    expect(planOf({})).toMatchObject({ proxyUserId: 64_143, inboundPort: undefined, outboundPort: 4141 });
    expect(planOf({ "countersign.dev/intercept": "all", "countersign.dev/skip-inbound-ports": "9090, 9091", "countersign.dev/skip-outbound-ports": "5432" }))
      .toMatchObject({ inboundPort: 4143, skipInboundPorts: [{ first: 4192, last: 4192 }, { first: 9090, last: 9090 }, { first: 9091, last: 9091 }], skipOutboundPorts: [{ first: 5432, last: 5432 }] });
    expect(injected(pod({ annotations: { "countersign.dev/intercept": "none" } })).spec.initContainers.map(({ name }) => name)).toEqual(["countersign-proxy"]);
  });

  test("has its metrics, and by the same port its probes, where scrapers and the kubelet reach them whatever is intercepted, and its admin pages where nobody does", () => {
    expect([env["COUNTERSIGN_PROXY_METRICS"], env["COUNTERSIGN_PROXY_ADMIN"]]).toEqual(["*:4192", undefined]);
    expect(proxy.ports).toContainEqual({ name: "proxy-metrics", containerPort: 4192, protocol: "TCP" });
    for (const probe of [proxy.startupProbe, proxy.readinessProbe]) expect(probe).toMatchObject({ httpGet: { path: "/readyz", port: 4192 } });
    const closed = injected(pod({ annotations: { "countersign.dev/metrics": "disabled", "countersign.dev/intercept": "all" } }));
    const [without, redirects] = closed.spec.initContainers as readonly [InjectedContainer, InjectedContainer];
    expect([without.ports, without.env!.filter(({ name }) => name.endsWith("METRICS"))]).toEqual([[{ name: "countersign", containerPort: 4143, protocol: "TCP" }], []]);
    for (const probe of [without.startupProbe, without.readinessProbe]) expect(probe).toMatchObject({ exec: { command: [expect.any(String), "-e", expect.stringContaining("127.0.0.1:4191/readyz") as string] } });
    expect(parseInterceptCommand(redirects.args!.slice(1)).plan).toMatchObject({ skipInboundPorts: [] });
  });

  test("does not choose its own CA by an annotation it brings along", () => {
    expect(injected(pod({ annotations: { "countersign.dev/root": "mine" } })).metadata.annotations["countersign.dev/root"]).toBe(settings.roots);
  });

  test("keeps all of its own", () => {
    const own = pod({ annotations: { a: "b", "countersign.dev/app-port": "7000" }, spec: { initContainers: [{ name: "setup" }], volumes: [{ name: "data" }] } });
    const after = injected(own);
    expect(after.spec.initContainers.map(({ name }) => name)).toEqual(["countersign-proxy", "countersign-intercept", "setup"]);
    expect(after.spec.volumes[0]).toEqual({ name: "data" });
    expect(after.spec.containers).toEqual(own.spec!.containers);
    expect(after.metadata.annotations).toMatchObject({ a: "b" });
    expect(after.spec.initContainers[0]!.env).toContainEqual({ name: "COUNTERSIGN_PROXY_APP", value: "127.0.0.1:7000" });
  });
});

describe("a pod stays as it is", () => {
  test.for([
    ["that says so by annotation", pod({ annotations: { "countersign.dev/inject": "disabled" } })],
    ["that says so by label", pod({ labels: { "countersign.dev/inject": "disabled" } })],
    ["that has a proxy", injected(pod()) as Pod],
    ["on the network of its node", pod({ spec: { hostNetwork: true } })],
  ] as const)("%s", ([, one]) => {
    expect(kindOf(one)).toBe("skip");
  });
});

describe("a pod is refused, with the reason", () => {
  const probes = (probe: object): object => ({ readinessProbe: probe, ports: [{ name: "http", containerPort: 9000 }] });
  const all = { "countersign.dev/intercept": "all" };
  test.for([
    ["whose wish is misspelled", pod({ annotations: { "countersign.dev/inject": "yes" } }), "enabled or disabled"],
    ["with an unknown way to intercept", pod({ annotations: { "countersign.dev/intercept": "inbound" } }), "outbound, all or none"],
    ["with an unknown mode", pod({ annotations: { "countersign.dev/inbound-mode": "lax" } }), "strict, audit"],
    ["with ports that are none", pod({ annotations: { "countersign.dev/skip-inbound-ports": "80;rm" } }), "numbers with commas"],
    ["with two ports for the app", pod({ annotations: { "countersign.dev/app-port": "80,81" } }), "is one port"],
    ["whose app is where the proxy would be", pod({ container: { ports: [{ containerPort: 4143 }] } }), "where the proxy does"],
    ["one of whose ports is where the proxy's metrics would be", pod({ container: { ports: [{ containerPort: 9000 }, { containerPort: 4192 }] } }), "4192, where the proxy does"],
    ["that is not sure who may see its metrics", pod({ annotations: { "countersign.dev/metrics": "off" } }), "enabled or disabled"],
    ["that uses our names", pod({ spec: { volumes: [{ name: "countersign" }] } }), "our names"],
    ["whose app would pass the proxy by", pod({ container: { securityContext: { runAsUser: 64_143 } } }), "pass the proxy by"],
    ["whose own sidecar would pass the proxy by", pod({ spec: { initContainers: [{ name: "own", securityContext: { runAsUser: 64_143 } }] } }), "pass the proxy by"],
    ["that as a whole would pass the proxy by", pod({ spec: { securityContext: { runAsUser: 64_143 } } }), "pass the proxy by"],
    ["whose probes would be cut off", pod({ annotations: all, container: probes({ httpGet: { port: 9000 } }) }), "port 9000"],
    ["whose probes by name would be cut off", pod({ annotations: all, container: probes({ tcpSocket: { port: "http" } }) }), "port 9000"],
    ["whose gRPC probes would be cut off", pod({ annotations: all, container: probes({ grpc: { port: 9001 } }) }), "port 9001"],
  ] as const)("%s", ([, one, why]) => {
    expect(planInjection(one, settings)).toEqual({ kind: "refuse", why: expect.stringContaining(why) as string });
  });

  test("but not for probes that reach it", () => {
    expect(kindOf(pod({ annotations: all, container: probes({ exec: { command: ["true"] } }) }))).toBe("inject");
    expect(kindOf(pod({ annotations: { ...all, "countersign.dev/skip-inbound-ports": "9000" }, container: probes({ httpGet: { port: "http" } }) }))).toBe("inject");
    expect(kindOf(pod({ container: probes({ httpGet: { port: 9000 } }) }))).toBe("inject");
  });
});

describe("an AdmissionReview", () => {
  const uid = "705ab4f5-6393-11e8-b7cc-42010a800002";
  const review = (object: unknown, changes: object = {}) => ({
    apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview",
    request: {
      uid, kind: { group: "", version: "v1", kind: "Pod" }, resource: { group: "", version: "v1", resource: "pods" }, requestKind: { group: "", version: "v1", kind: "Pod" },
      namespace: "shop", operation: "CREATE", userInfo: { username: "system:serviceaccount:kube-system:replicaset-controller" }, object, oldObject: null, dryRun: false, options: { kind: "CreateOptions", apiVersion: "meta.k8s.io/v1" }, ...changes,
    },
  });
  const answered = (value: unknown, whenRefused: "open" | "closed" = "closed"): AdmissionAnswer["response"] => reviewAdmission(value, settings, whenRefused)!.response;
  const patchIn = ({ patch }: AdmissionAnswer["response"]): readonly PatchOperation[] => JSON.parse(Buffer.from(patch!, "base64").toString()) as PatchOperation[];

  test("is answered under its uid with the patch, which does what injecting does", () => {
    for (const one of [pod(), pod({ annotations: { "countersign.dev/root": "mine" } }), pod({ annotations: { a: "b" }, spec: { initContainers: [{ name: "setup" }], volumes: [{ name: "data" }] } }), pod({ spec: { volumes: [], initContainers: [] } })]) {
      const response = answered(review(one));
      expect(response).toMatchObject({ uid, allowed: true, patchType: "JSONPatch" });
      expect(applied(one, patchIn(response))).toEqual(injected(one));
    }
  });

  test("has a patch of additions alone, each at its place", () => {
    const bare = planInjection(pod(), settings);
    if (bare.kind !== "inject") throw new Error(bare.why);
    expect(patchOf(pod(), bare.injection).map(({ op, path }) => `${op} ${path}`)).toEqual(["add /metadata/annotations", "add /spec/volumes", "add /spec/initContainers"]);
    expect(patchOf(pod({ annotations: {}, spec: { volumes: [], initContainers: [] } }), bare.injection).map(({ path }) => path))
      .toEqual(["/metadata/annotations/countersign.dev~1root", "/spec/volumes/-", "/spec/initContainers/0", "/spec/initContainers/1"]);
  });

  test("never leads to a second proxy, when the API server asks again", () => {
    expect(answered(review(injected(pod())))).toEqual({ uid, allowed: true });
  });

  test("of a pod that cannot have its proxy fails closed, or open with a warning, as configured", () => {
    const refused = pod({ annotations: { "countersign.dev/inject": "on" } });
    expect(answered(review(refused))).toEqual({ uid, allowed: false, status: { code: 400, message: expect.stringContaining("no Countersign proxy for this pod") as string } });
    expect(answered(review(refused), "open")).toEqual({ uid, allowed: true, warnings: [expect.stringContaining("enabled or disabled") as string] });
  });

  test.for([["an update", review(pod(), { operation: "UPDATE" })], ["another kind", review({ spec: {} }, { kind: { group: "", version: "v1", kind: "Service" } })], ["no pod at all", review(null)]] as const)("of %s changes nothing", ([, value]) => {
    expect(answered(value)).toEqual({ uid, allowed: true });
  });

  test.for([[undefined], [null], [[]], [{}], [{ ...review(pod()), apiVersion: "admission.k8s.io/v1beta1" }], [{ ...review(pod()), request: {} }]] as const)("that is none is not answered: %j", ([value]) => {
    expect(reviewAdmission(value, settings, "closed")).toBeUndefined();
  });
});

test("workloads of every kind are found in a file, in lists too, and nothing else", () => {
  const template = pod();
  const objects = [
    pod({}), { kind: "Deployment", metadata: { name: "a" }, spec: { template } }, { kind: "CronJob", metadata: { name: "b" }, spec: { jobTemplate: { spec: { template } } } },
    { kind: "Service", spec: {} }, { kind: "ConfigMap" }, { kind: "toString", spec: { template } },
  ];
  const found = planManifest({ kind: "List", items: [{ kind: "Pod", ...pod() }, ...objects.slice(1)] }, settings);
  expect(found.map(({ workload, path }) => [workload, path.join(".")])).toEqual([["Pod cart", "items.0"], ["Deployment a", "items.1.spec.template"], ["CronJob b", "items.2.spec.jobTemplate.spec.template"]]);
});

/** RFC 6902 for `add`, by another hand. */
function applied(object: unknown, operations: readonly PatchOperation[]): unknown {
  const result = structuredClone(object) as Record<string, unknown>;
  for (const { path, value } of operations) {
    const names = path.slice(1).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = names.pop()!;
    const target = names.reduce<Record<string, unknown>>((at, part) => at[part] as Record<string, unknown>, result);
    if (Array.isArray(target)) target.splice(last === "-" ? target.length : Number(last), 0, value);
    else target[last] = value;
  }
  return result;
}
