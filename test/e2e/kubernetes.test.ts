import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { parseAllDocuments } from "yaml";
import { inject } from "../../ca/cli/inject.ts";
import { readConfig } from "../../ca/config/config.ts";
import type { PatchOperation } from "../../ca/inject/admission.ts";
import { serveCa, type ServedCa } from "../../ca/runtime/node.ts";
import { freePort, statusOf } from "../../infra/demo/place.ts";
import { programs, startProcess, type RunningProcess } from "../../infra/demo/processes.ts";
import { startCluster, type Cluster } from "../support/cluster.ts";
import { countersign } from "../support/command-line.ts";
import { kubectl } from "../support/kubectl.ts";
import { startKubernetesApi } from "../support/kubernetes-api.ts";
import { rulesOf } from "../support/manifests.ts";
import { createDatabase } from "../support/postgres.ts";
import { ip, testAuthority } from "../support/test-ca.ts";
import { startWalk, type Walk } from "../support/walk.ts";

const infra = fileURLToPath(new URL("../../infra/kubernetes/", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "countersign-kubernetes-e2e-"));
const closing: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

interface Container {
  readonly name: string;
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe: { readonly httpGet: { readonly path: string; readonly port: number | string } };
}

/** Starts a proxy as a container of a manifest says, with this machine's places in place of the pod's; ready by the manifest's own probe. */
async function startContainer({ env, ports, startupProbe: { httpGet } }: Container, here: Readonly<Record<string, string>>): Promise<RunningProcess> {
  const asked = Object.fromEntries(env.map(({ name, value }) => [name, value]));
  // The kubelet asks at the pod's address, where the container says that it listens.
  const probed = ports.find(({ name, containerPort }) => name === httpGet.port || containerPort === httpGet.port)!;
  expect(asked["COUNTERSIGN_PROXY_METRICS"]).toBe(`*:${probed.containerPort}`);
  const port = await freePort();
  const settings = { ...asked, ...here, COUNTERSIGN_PROXY_ADMIN: "off", COUNTERSIGN_PROXY_METRICS: `127.0.0.1:${port}` };
  const proxy = startProcess(programs.proxy, [], settings);
  closing.push(() => proxy.stop());
  const status = (): Promise<number> => statusOf(`http://127.0.0.1:${port}${httpGet.path}`).catch(() => 0);
  for (let attempts = 0; (await status()) !== 200; attempts++) {
    if (attempts > maxAttempts || proxy.child.exitCode !== null) throw new Error(`the proxy is not ready:\n${proxy.output()}`);
    await delay(200);
  }
  return proxy;
}

const { attestors: { cluster: attestor }, trustDomain } = JSON.parse(readFileSync(join(infra, "ca.json"), "utf8")) as { attestors: { cluster: object }; trustDomain: string };
const file = (name: string, text: string): string => (writeFileSync(join(folder, name), text), join(folder, name));
let cluster: Cluster;
let apiServer: Awaited<ReturnType<typeof startApiServer>>;
let walk: Walk;
let served: ServedCa;
let injectorPort: number;

beforeAll(async () => {
  cluster = await startCluster(() => new Date());
  closing.push(() => cluster.close());
  apiServer = await startApiServer();
  walk = await startWalk({ instead: { "postgres://...": `'${await createDatabase()}'` }, standIns: { kubectl: kubectl(apiServer, startWhatIsApplied) } });
  closing.push(() => walk.close());
  writeFileSync(join(walk.folder, "app.yaml"), JSON.stringify({ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "cart" }, spec: { template: { metadata: {}, spec: { containers: [{ name: "cart", image: "cart" }] } } } }));
});

test("the README's commands bring a CA that is well, and an app that is given its proxy", async () => {
  const said = await walk.follow("Kubernetes");
  expect(said).toContain("All is well: √");
  expect(said).toContain("Deployment cart: injected");
}, 120_000);

test("the CA that the manifests' Job began believes the cluster, its webhook is certified by it and trusted by the API server, and a pod that this injects gets the identity of its service account", async () => {
  const adminToken = Buffer.from(apiServer.secrets.get("countersign/countersign-admin")!.data["token"]!, "base64").toString();
  const caBundle = Buffer.from(String(webhooks()[0]!.clientConfig!["caBundle"]), "base64").toString();

  const review = { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: { uid: "1", operation: "CREATE", kind: { group: "", version: "v1", kind: "Pod" }, object: { spec: { containers: [{ name: "cart" }] } } } };
  // As the API server asks: by the Service's name, trusting caBundle alone.
  const answer = await new Promise<string>((resolve, reject) => {
    request({ host: "127.0.0.1", port: injectorPort, servername: "countersign-injector.countersign.svc", ca: caBundle, method: "POST", path: "/inject?timeout=5s", agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part)).on("end", () => resolve(text));
    }).on("error", reject).end(JSON.stringify(review));
  });
  const { response: { patch } } = JSON.parse(answer) as { response: { patch: string } };
  const operations = JSON.parse(Buffer.from(patch, "base64").toString()) as readonly PatchOperation[];
  const valueAt = (path: string): unknown => operations.find((operation) => operation.path === path)?.value;
  const [sidecar] = valueAt("/spec/initContainers") as readonly Container[];
  const annotations = valueAt("/metadata/annotations") as Readonly<Record<string, string>>;
  await startContainer(sidecar!, {
    COUNTERSIGN_PROXY_ROOT: file("pod-root.pem", annotations["countersign.dev/root"]!), COUNTERSIGN_PROXY_TOKEN_FILE: file("cart-token", await tokenOf("shop", "cart")),
    COUNTERSIGN_PROXY_INBOUND: "127.0.0.1:0", COUNTERSIGN_PROXY_OUTBOUND: "127.0.0.1:0", COUNTERSIGN_PROXY_TRANSPARENT: "off",
  });
  const issued = (await fetchJson(served, adminToken)).certificates.map(({ spiffeId }) => spiffeId);
  expect(issued).toContain(`spiffe://${trustDomain}/ns/shop/sa/cart`);
  expect(issued).toContain(`spiffe://${trustDomain}/ns/countersign/sa/countersign-injector`);
}, 120_000);

/** What the manifests have the cluster do: the Job, a replica of the CA, and the injector. */
async function startWhatIsApplied(kustomization: string): Promise<void> {
  expect(kustomization).toBe("infra/kubernetes");
  const atApiServer = ["--kube-url", apiServer.url, "--kube-token-file", apiServer.tokenFile, "--kube-ca-file", apiServer.caFile];
  const secret = Object.fromEntries(Object.entries(apiServer.secrets.get("countersign/countersign-store")!.data).map(([name, value]) => [name, Buffer.from(value, "base64").toString()]));
  const env = { ...secret, COUNTERSIGN_TRUST_DOMAIN: trustDomain, COUNTERSIGN_LOG_LEVEL: "silent" };
  // The Job, with its rights: tables, the CA, a token in a Secret, roots in a ConfigMap.
  apiServer.rules = rulesOf("countersign-initialize");
  expect(await countersign(["store", "initialize", "--namespace", "countersign", ...atApiServer], env)).toMatchObject({ exitCode: 0 });
  const root = apiServer.objects.get("/api/v1/namespaces/countersign/configmaps/countersign-root")!.data!["root.pem"]!;
  // A replica, which may do nothing of that.
  const { platform, ownTokenFile } = cluster;
  served = await serveCa(readConfig({
    flags: { "data-dir": join(folder, "ca"), listen: `127.0.0.1:${walk.port(8443)}`, initialize: "off" }, env,
    file: { attestors: { cluster: { ...attestor, api: platform.url, caFile: platform.caFile, tokenFile: ownTokenFile } } },
  }), pino({ level: "silent" }));
  closing.push(() => served.stop());

  const deployment = parseAllDocuments(readFileSync(join(infra, "injector.yaml"), "utf8")).map((document) => document.toJS() as { kind: string; spec: { template: { spec: { initContainers: Container[]; containers: { name: string; args: string[] }[] } } } }).find(({ kind }) => kind === "Deployment")!;
  const certs = join(folder, "certs");
  await startContainer(deployment.spec.template.spec.initContainers[0]!, {
    COUNTERSIGN_PROXY_CA: served.url, COUNTERSIGN_PROXY_ROOT: file("root.pem", root), COUNTERSIGN_PROXY_TOKEN_FILE: file("injector-token", await tokenOf("countersign", "countersign-injector")), COUNTERSIGN_PROXY_WRITE_DIR: certs,
  });
  expect(["cert.pem", "key.pem", "bundle.pem"].filter((name) => !existsSync(join(certs, name)))).toEqual([]);
  // The webhook as the manifest calls it: it has the API server trust it, and each namespace has the roots.
  apiServer.rules = rulesOf("countersign-injector");
  const { args } = deployment.spec.template.spec.containers.find(({ name }) => name === "injector")!;
  injectorPort = await freePort();
  const here: Readonly<Record<string, string>> = { ca: served.url, root: join(certs, "bundle.pem"), cert: join(certs, "cert.pem"), key: join(certs, "key.pem"), listen: `127.0.0.1:${injectorPort}` };
  const called = args.map((arg) => arg.replace(/^--(\w+)=.*$/, (whole, name: string) => (Object.hasOwn(here, name) ? `--${name}=${here[name]}` : whole)));
  let stop = (): void => undefined;
  const stopped = new Promise<void>((resolve) => (stop = resolve));
  const injecting = inject([...called.slice(1), ...atApiServer], { stdout: () => undefined, stderr: () => undefined, env: {} }, () => stopped);
  closing.push(() => (stop(), injecting));
  await vi.waitFor(() => expect([webhooks().every(({ clientConfig }) => clientConfig?.["caBundle"] !== undefined), apiServer.objects.has("/api/v1/namespaces/shop/configmaps/countersign-root")]).toEqual([true, true]), { timeout: 30_000, interval: 100 });
}

function webhooks(): readonly { readonly clientConfig?: Readonly<Record<string, unknown>> }[] {
  return apiServer.objects.get(webhookPath)?.webhooks ?? [];
}

function tokenOf(namespace: string, serviceAccount: string): Promise<string> {
  return cluster.token({ namespace, serviceAccount, pod: `${serviceAccount}-1`, audience: `spiffe://${trustDomain}` });
}

/** What was issued, as an admin reads it. */
function fetchJson({ url, ca }: Awaited<ReturnType<typeof serveCa>>, adminToken: string): Promise<{ readonly certificates: readonly { readonly spiffeId: string }[] }> {
  const authorization = `Bearer ${adminToken}`;
  return new Promise((resolve, reject) => {
    request(new URL("/v1/certificates", url), { ca: ca.bundle().pem, agent: false, headers: { authorization } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part)).on("end", () => resolve(JSON.parse(text) as never));
    }).on("error", reject).end();
  });
}

/** An API server with a namespace of somebody's. */
async function startApiServer() {
  const authority = testAuthority({ trustDomain: "kubernetes" });
  const leaf = authority.issuer().leaf({ names: [ip(127, 0, 0, 1)] });
  const api = await startKubernetesApi({ key: leaf.privateKeyPem, cert: leaf.chainPem }, "service-account-token");
  closing.push(() => api.close());
  const [tokenFile, caFile] = [join(folder, "api-server-token"), join(folder, "api-server-ca.crt")];
  writeFileSync(tokenFile, "service-account-token\n");
  writeFileSync(caFile, authority.pem);
  api.objects.set("/api/v1/namespaces/shop", { metadata: { name: "shop", uid: "shop" } });
  return Object.assign(api, { tokenFile, caFile });
}

const webhookPath = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/countersign-injector";
const maxAttempts = 100;
