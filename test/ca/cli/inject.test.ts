import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { dispatch } from "../../../ca/cli/dispatch.ts";
import { serveInjector } from "../../../ca/cli/inject-server.ts";
import { dns, ip, testAuthority, type TestLeaf } from "../../support/test-ca.ts";
import { countersign } from "../../support/command-line.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-inject-"));
afterAll(() => rmSync(folder, { recursive: true }));
const east = testAuthority({ trustDomain: "east" });
const root = join(folder, "root.pem");
writeFileSync(root, `# a comment\n${east.pem}`);
const flags = ["--ca", "https://ca:8443", "--trust-domain", "east", "--root", root];
const settings = { caUrl: "https://ca:8443", trustDomain: "east", roots: east.pem, proxyImage: "proxy:1", interceptImage: "intercept:1" };

async function piped(text: string, ...args: readonly string[]) {
  let [stdout, stderr] = ["", ""];
  const exitCode = await dispatch(["inject", ...flags, ...args], { stdout: (part) => void (stdout += part), stderr: (part) => void (stderr += part), env: {}, readStdin: async () => Buffer.from(text) });
  return { exitCode, stdout, stderr };
}

const app = `# the cart
apiVersion: apps/v1
kind: Deployment
metadata:
  name: cart
spec:
  replicas: 2 # two
  template:
    spec:
      containers:
        - name: cart
          env:
            - name: A
              value: "yes"
            - name: B
              value: 'off'
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: c
data:
  on: "1e3"
`;

describe("inject of a file", () => {
  test("adds to its workloads and leaves the rest as it is written", async () => {
    const { exitCode, stdout, stderr } = await piped(app);
    expect([exitCode, stderr]).toEqual([0, "Deployment cart: injected\n"]);
    for (const line of ["# the cart", "  replicas: 2 # two", '              value: "yes"', "              value: 'off'", '  on: "1e3"']) expect(stdout.split("\n")).toContain(line);
    const [deployment] = stdout.split("\n---\n").map((text) => parse(text) as { spec: { template: { metadata: { annotations: object }; spec: { initContainers: { name: string; args?: string[] }[] } } } });
    expect(deployment!.spec.template.metadata.annotations).toEqual({ "countersign.dev/root": east.pem });
    expect(deployment!.spec.template.spec.initContainers.map(({ name }) => name)).toEqual(["countersign-proxy", "countersign-intercept"]);
    // kubectl reads YAML 1.1, where a plain off is false.
    expect(stdout).toContain('- "off"\n');
    expect(stdout).not.toMatch(/[*&]a\d/);
  });

  test("does nothing more the second time", async () => {
    const once = await piped(app);
    expect(await piped(once.stdout)).toEqual({ exitCode: 0, stdout: once.stdout, stderr: "Deployment cart: left as it is, it has a proxy\n" });
  });

  test("prints nothing when a workload cannot have its proxy", async () => {
    const { exitCode, stdout, stderr } = await piped(app.replace("    spec:\n      con", "    metadata: {annotations: {countersign.dev/intercept: both}}\n    spec:\n      con"));
    expect([exitCode, stdout, stderr]).toEqual([1, "", expect.stringContaining("Deployment cart: refused") as string]);
  });

  test.for([["kind: [", "no YAML"], ["a: &x [1]\nb: *x\n", "aliases"]] as const)("refuses %j", async ([text, expected]) => {
    expect(await piped(text)).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringContaining(expected) as string });
  });

  test("needs to know the CA, and whom to trust", async () => {
    writeFileSync(join(folder, "junk.pem"), "junk");
    for (const [args, expected] of [[["inject"], "--ca is missing"], [["inject", ...flags.slice(0, -1), join(folder, "junk.pem")], "cannot read roots"], [["inject", "--ca", "http://x", "--trust-domain", "east", "--root", root], "https URL"], [["inject", "run", ...flags], "no \"inject run\""], [["inject", "serve", ...flags], "--cert is missing"]] as const) {
      expect((await countersign(args)).stderr.replaceAll("\n", " ")).toContain(expected);
    }
  });
});

describe("the webhook", () => {
  const [certFile, keyFile] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  const certify = (): TestLeaf => {
    const leaf = east.issuer().leaf({ names: [dns("countersign-injector.countersign.svc"), ip(127, 0, 0, 1)] });
    // As countersign-proxy writes them: whole, under another name first.
    for (const [path, text] of [[keyFile, leaf.privateKeyPem], [certFile, leaf.chainPem]] as const) {
      writeFileSync(`${path}.new`, text);
      renameSync(`${path}.new`, path);
    }
    return leaf;
  };
  const start = (changes: object = {}) => serveInjector({ settings: () => settings, whenRefused: "closed", certFile, keyFile, listen: "*:0", log: () => undefined, ...changes });
  const ask = (port: number, method: string, path: string, body = ""): Promise<{ status: number; text: string }> => new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port, method, path, ca: east.pem, agent: false, headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part)).on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    }).on("error", reject).end(body);
  });
  const review = JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: { uid: "u-1", operation: "CREATE", kind: { group: "", version: "v1", kind: "Pod" }, object: { metadata: {}, spec: { containers: [{ name: "app" }] } } } });

  test("answers the API server over TLS, and nobody who asks for something else", async () => {
    certify();
    const injector = await start();
    try {
      const { status, text } = await ask(injector.port, "POST", "/inject?timeout=10s", review);
      expect([status, JSON.parse(text)]).toMatchObject([200, { kind: "AdmissionReview", response: { uid: "u-1", allowed: true, patchType: "JSONPatch" } }]);
      expect(await ask(injector.port, "GET", "/readyz")).toMatchObject({ status: 200 });
      expect(await ask(injector.port, "GET", "/inject")).toMatchObject({ status: 404 });
      expect(await ask(injector.port, "POST", "/inject", "{")).toMatchObject({ status: 400 });
      expect(await ask(injector.port, "POST", "/inject", `"${"x".repeat(4 * 1024 * 1024)}"`).then(({ status }) => status, () => 413)).toBe(413);
    } finally {
      await injector.stop();
    }
  });

  test("takes a renewed certificate for the next handshake, and keeps the last good one", async () => {
    certify();
    const injector = await start();
    const shown = (): Promise<string> => new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port: injector.port, servername: "countersign-injector.countersign.svc", ca: east.pem }, () => {
        resolve(socket.getPeerCertificate().serialNumber.toLowerCase());
        socket.destroy();
      }).on("error", reject);
    });
    try {
      const renewed = certify();
      expect(await shown()).toBe(renewed.serialNumber);
      writeFileSync(certFile, "cut off");
      expect(await shown()).toBe(renewed.serialNumber);
    } finally {
      await injector.stop();
    }
  });

  test("does not start without a certificate it can use", async () => {
    writeFileSync(certFile, "none");
    await expect(start()).rejects.toThrow(/cannot use .*cert\.pem/);
    await expect(start({ certFile: join(folder, "absent") })).rejects.toThrow(/ENOENT/);
  });
});
