import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { inject } from "../../../ca/cli/inject.ts";
import { kubernetesApi } from "../../../ca/cli/kubernetes.ts";
import { bundlePublisher, type PublisherDeps } from "../../../ca/cli/kubernetes-publish.ts";
import { startKubernetesApi, type KubernetesApi } from "../../support/kubernetes-api.ts";
import { rulesOf } from "../../support/manifests.ts";
import { dns, ip, testAuthority } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-publish-"));
const file = (name: string, text: string): string => (writeFileSync(join(folder, name), text), join(folder, name));
const east = testAuthority({ trustDomain: "east" });
const leaf = east.issuer().leaf({ names: [dns("kubernetes.default.svc"), ip(127, 0, 0, 1)] });
const [tokenFile, caFile] = [file("token", "injector-token\n"), file("ca.crt", east.pem)];
const webhookPath = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/countersign-injector";
let kubernetes: KubernetesApi;
beforeAll(async () => void (kubernetes = await startKubernetesApi({ key: leaf.privateKeyPem, cert: leaf.chainPem }, "injector-token")));
afterAll(async () => {
  await kubernetes.close();
  rmSync(folder, { recursive: true });
});

const said: string[] = [];
const [label, optedOut] = ["enabled", "disabled"].map((value) => ({ "countersign.dev/bundle": value }));
const addNamespace = (name: string, labels: Readonly<Record<string, string>> = {}, phase = "Active"): unknown => kubernetes.objects.set(`/api/v1/namespaces/${name}`, { metadata: { name, uid: `uid-of-${name}`, labels }, status: { phase } });
const mapIn = (namespace: string) => kubernetes.objects.get(`/api/v1/namespaces/${namespace}/configmaps/countersign-root`);
const writes = (): readonly string[] => kubernetes.requests.filter((one) => one.startsWith("PATCH")).map((one) => /^PATCH ([^?]*)/.exec(one)![1]!);
const publisher = (more: Partial<PublisherDeps> = {}) => bundlePublisher({
  kubernetes: kubernetesApi({ url: kubernetes.url, tokenFile, caFile }), roots: () => "ROOTS\n", webhook: "countersign-injector", configMap: "countersign-root", namespaces: "all", log: (line) => void said.push(line), ...more,
});

beforeEach(() => {
  kubernetes.objects.clear();
  kubernetes.requests.length = 0;
  kubernetes.rules = rulesOf("countersign-injector");
  said.length = 0;
  kubernetes.objects.set(webhookPath, { metadata: { name: "countersign-injector" }, webhooks: ["namespace", "pod"].map((name) => ({ name, failurePolicy: "Fail", clientConfig: { service: { name: "countersign-injector" } } })) });
});

describe("with the rights of the manifests, and no others", () => {
  test("the webhooks trust the roots, whatever else they say, and each namespace has them", async () => {
    for (const name of ["countersign", "shop"]) addNamespace(name);
    addNamespace("other", optedOut);
    addNamespace("ending", {}, "Terminating");
    await publisher()();
    expect(kubernetes.objects.get(webhookPath)?.webhooks).toEqual(["namespace", "pod"].map((name) => (
      { name, failurePolicy: "Fail", clientConfig: { service: { name: "countersign-injector" }, caBundle: Buffer.from("ROOTS\n").toString("base64") } }
    )));
    expect([mapIn("countersign")?.data, mapIn("shop")?.data, mapIn("other"), mapIn("ending")]).toEqual([{ "root.pem": "ROOTS\n" }, { "root.pem": "ROOTS\n" }, undefined, undefined]);
    expect(said).toHaveLength(3);
  });

  test.for([0, 1, 2, 3])("and each of them is needed: not without rule %d", async (left) => {
    addNamespace("shop");
    kubernetes.rules = kubernetes.rules!.filter((_, index) => index !== left);
    await publisher()();
    expect(said.join("")).toMatch(/403 Forbidden/);
  });

  test("no other webhook, ConfigMap or Secret can be touched", async () => {
    addNamespace("shop");
    kubernetes.objects.set("/api/v1/namespaces/shop/configmaps/app", { metadata: { name: "app", namespace: "shop" }, data: { "root.pem": "theirs" } });
    await publisher({ configMap: "app", webhook: "other" })();
    expect(kubernetes.objects.get("/api/v1/namespaces/shop/configmaps/app")?.data).toEqual({ "root.pem": "theirs" });
    const api = kubernetesApi({ url: kubernetes.url, tokenFile, caFile });
    await expect(api.read("/api/v1/namespaces/shop/secrets/any", { name: "Secret any" })).rejects.toThrow("403");
    await expect(api.read("/api/v1/namespaces/shop/configmaps/app", { name: "ConfigMap app" })).rejects.toThrow("403");
  });
});

test("namespaces are all but those that say no, or those alone that say yes", async () => {
  const published = async (namespaces: PublisherDeps["namespaces"]): Promise<readonly string[]> => {
    await publisher({ namespaces })();
    const found = ["silent", "willing", "unwilling"].filter((name) => mapIn(name) !== undefined);
    for (const name of found) kubernetes.objects.delete(`/api/v1/namespaces/${name}/configmaps/countersign-root`);
    return found;
  };
  addNamespace("silent");
  addNamespace("willing", label);
  addNamespace("unwilling", optedOut);
  expect(await published("all")).toEqual(["silent", "willing"]);
  expect(await published("labelled")).toEqual(["willing"]);
});

describe("looking again", () => {
  test("writes nothing while nothing changed, and all when the roots did", async () => {
    addNamespace("shop");
    let roots = "ONE\n";
    const look = publisher({ roots: () => roots });
    await look();
    kubernetes.requests.length = 0;
    await look();
    expect(writes()).toEqual([]);
    roots = "ONE\nTWO\n";
    await look();
    expect(writes()).toEqual([webhookPath, "/api/v1/namespaces/shop/configmaps/countersign-root"]);
    expect(mapIn("shop")?.data).toEqual({ "root.pem": "ONE\nTWO\n" });
  });

  test("finds a namespace that is new, and one that was made again under its name", async () => {
    const look = publisher();
    await look();
    addNamespace("shop");
    await look();
    expect(mapIn("shop")?.data).toEqual({ "root.pem": "ROOTS\n" });
    kubernetes.objects.delete("/api/v1/namespaces/shop/configmaps/countersign-root");
    kubernetes.objects.set("/api/v1/namespaces/shop", { metadata: { name: "shop", uid: "another" } });
    await look();
    expect(mapIn("shop")?.data).toEqual({ "root.pem": "ROOTS\n" });
  });

  test("puts right after ten minutes what somebody changed", async () => {
    addNamespace("shop");
    let nowMs = 0;
    const look = publisher({ now: () => nowMs });
    await look();
    kubernetes.objects.set("/api/v1/namespaces/shop/configmaps/countersign-root", { metadata: { name: "countersign-root", namespace: "shop" }, data: { "root.pem": "forged" } });
    nowMs += 11 * 60_000;
    await look();
    expect(mapIn("shop")?.data).toEqual({ "root.pem": "ROOTS\n" });
  });

  test("says a failure once, goes on with the rest, and tries again", async () => {
    addNamespace("shop");
    kubernetes.objects.delete(webhookPath);
    const look = publisher();
    await look();
    await look();
    expect(said.filter((line) => line.includes("no MutatingWebhookConfiguration"))).toHaveLength(1);
    expect(mapIn("shop")?.data).toEqual({ "root.pem": "ROOTS\n" });
    kubernetes.failNext(2, 500, "InternalError");
    await look();
    expect(said.at(-1)).toContain("500 InternalError");
  });

  test("one namespace that refuses, by a quota or a ConfigMap that is immutable, keeps the roots from no other", async () => {
    for (const name of ["a-tenant", "shop"]) addNamespace(name);
    kubernetes.objects.set("/api/v1/namespaces/a-tenant/configmaps/countersign-root", { metadata: { name: "countersign-root", namespace: "a-tenant" }, data: { "root.pem": "theirs" }, immutable: true });
    const look = publisher();
    await look();
    expect(mapIn("shop")?.data).toEqual({ "root.pem": "ROOTS\n" });
    expect(said.join("")).toMatch(/ConfigMap a-tenant\/countersign-root \(422 Invalid\)/);
    kubernetes.objects.delete("/api/v1/namespaces/a-tenant/configmaps/countersign-root");
    await look();
    expect(mapIn("a-tenant")?.data).toEqual({ "root.pem": "ROOTS\n" });
  });

  test("what answers with status 200 and is no API server is a failure like others", async () => {
    const other = createServer({ key: leaf.privateKeyPem, cert: leaf.chainPem }, (_, response) => response.end("<html>")).listen(0, "127.0.0.1");
    await once(other, "listening");
    await publisher({ kubernetes: kubernetesApi({ url: `https://127.0.0.1:${(other.address() as AddressInfo).port}`, tokenFile, caFile }) })();
    other.close();
    expect(said.join("")).toContain("is not JSON");
  });

  test("reads the list of namespaces to its end", async () => {
    for (let index = 0; index < 501; index++) addNamespace(`ns-${index}`);
    const seen: string[] = [];
    await publisher({ webhook: undefined, kubernetes: { ...kubernetesApi({ url: kubernetes.url, tokenFile, caFile }), apply: async (path) => void seen.push(path) } })();
    expect(seen).toHaveLength(501);
  });
});

test("a file that is no service account's token is not sent, nor shown", async () => {
  const api = kubernetesApi({ url: kubernetes.url, tokenFile: file("two-lines", "hunter2\nhunter3"), caFile });
  const refused = await api.read(webhookPath, { name: "it" }).catch((error: unknown) => error as Error);
  expect(refused).toMatchObject({ name: "ApiError", message: expect.stringContaining("is not one line of text") });
  expect(String((refused as Error).stack)).not.toMatch(/hunter/);
  expect(kubernetes.requests).toEqual([]);
});

test("inject serve does it beside the webhook, and needs an API server for it", async () => {
  addNamespace("shop");
  // As the Job in initialize.yaml leaves it.
  const begun = kubernetesApi({ url: kubernetes.url, tokenFile, caFile });
  const about = { name: "ConfigMap shop/countersign-root" };
  await begun.apply("/api/v1/namespaces/shop/configmaps/countersign-root", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "countersign-root", namespace: "shop" }, data: { "root.pem": "FIRST\n", "audit-log.vkey": "KEY\n" } }, about);
  const [cert, key] = [file("cert.pem", leaf.chainPem), file("key.pem", leaf.privateKeyPem)];
  const args = ["serve", "--ca", "https://ca:8443", "--trust-domain", "east", "--root", caFile, "--cert", cert, "--key", key, "--listen", "127.0.0.1:0", "--webhook", "countersign-injector", "--config-map", "countersign-root"];
  let stop = (): void => undefined;
  const stopped = new Promise<void>((resolve) => (stop = resolve));
  const io = { stdout: () => undefined, stderr: (text: string) => void said.push(text), env: {} };
  const running = inject([...args, "--kube-url", kubernetes.url, "--kube-token-file", tokenFile, "--kube-ca-file", caFile], io, () => stopped);
  // The audit log's key stays, which is the Job's.
  await vi.waitFor(() => expect(mapIn("shop")?.data).toEqual({ "root.pem": east.pem, "audit-log.vkey": "KEY\n" }), { timeout: 20_000 });
  stop();
  expect(await running).toBe(0);
  await expect(inject(args, io, () => stopped)).rejects.toThrow("--webhook and --config-map are for a pod");
  await expect(inject([...args, "--namespaces", "some"], io, () => stopped)).rejects.toThrow("--namespaces is all or labelled");
});
