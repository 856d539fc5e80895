import { spawnSync } from "node:child_process";
import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { keepRenewed, type WatchDeps } from "../../../ca/cli/issuer-watch.ts";
import { ApiError } from "../../../ca/cli/api.ts";
import type { IssuerMaterial } from "../../../ca/cli/issuer-secret.ts";
import { readConfig } from "../../../ca/config/config.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { decodePem } from "../../../ca/pki/pem.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";
import { countersign, type Ran } from "../../support/command-line.ts";
import { startKubernetesApi, type KubernetesApi } from "../../support/kubernetes-api.ts";
import { rulesOf } from "../../support/manifests.ts";
import { newCsr } from "../../support/running-ca.ts";
import { openssl, opensslAvailable } from "../../support/openssl.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-issuer-"));
const dataDir = join(folder, "data");
const tokenFile = join(folder, "kube-token");
let served: ServedCa;
let kubernetes: KubernetesApi;
let env: Record<string, string>;
beforeAll(async () => {
  served = await serveCa(readConfig({ file: { trustDomain: "east", dataDir, listen: "127.0.0.1:0" } }), pino({ level: "silent" }));
  env = { COUNTERSIGN_URL: served.url, COUNTERSIGN_DATA_DIR: dataDir };
  const { key, chain } = served.ca.apiCredentials();
  writeFileSync(tokenFile, "kube-secret-token\n");
  kubernetes = await startKubernetesApi({ key, cert: chain }, "kube-secret-token");
});
afterAll(async () => {
  await kubernetes.close();
  await served.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => kubernetes.secrets.clear());

const run = (...args: readonly string[]): Promise<Ran> => countersign(["issuer", ...args], env);
const inKubernetes = (): string[] => ["--kube-url", kubernetes.url, "--kube-token-file", tokenFile, "--kube-ca-file", join(dataDir, "root.pem")];
const once = (...more: string[]): Promise<Ran> => run("watch", "--once", "--trust-domain", "cluster.local", ...inKubernetes(), ...more);
const decode = (base64 = ""): string => Buffer.from(base64, "base64").toString("utf8");
/** The manifest, by structure; it is flat enough for that. */
const members = (yaml: string): Record<string, string> => Object.fromEntries(yaml.trim().split("\n").map((line) => line.trim().split(/: ?/, 2) as [string, string]));

function expectPair(chain: string, key: string): X509Certificate {
  const certificate = new X509Certificate(chain);
  expect(createPublicKey(createPrivateKey(key)).equals(certificate.publicKey)).toBe(true);
  return certificate;
}

describe("issue", () => {
  test.each([
    ["linkerd", "Opaque", "crt.pem", "key.pem"],
    ["kubernetes.io/tls", "kubernetes.io/tls", "tls.crt", "tls.key"],
  ])("--secret %s prints a Secret of type %s that linkerd can read", async (scheme, type, certificateName, keyName) => {
    const { exitCode, stdout, stderr } = await run("issue", "--trust-domain", "cluster.local", "--secret", scheme);
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining("cluster.local")]);
    const yaml = members(stdout);
    expect(yaml).toMatchObject({ apiVersion: "v1", kind: "Secret", name: "linkerd-identity-issuer", namespace: "linkerd", type });
    const certificate = expectPair(decode(yaml[certificateName]), decode(yaml[keyName]));
    expect(certificate.subject).toContain("CN=identity.linkerd.cluster.local");
    expect(certificate.ca).toBe(true);
    expect(decode(yaml["ca.crt"])).toBe(scheme === "linkerd" ? "" : readFileSync(join(dataDir, "root.pem"), "utf8"));
    if (opensslAvailable) {
      const args = ["verify", "-x509_strict", "-CAfile", "root.pem", "issuer.pem"];
      expect(openssl(args, { "root.pem": served.ca.bundle().pem, "issuer.pem": decode(yaml[certificateName]) }).ok).toBe(true);
    }
  });

  const python = spawnSync("python3", ["-c", "import yaml"]).status === 0;
  test.skipIf(!python)("prints YAML that a YAML parser reads the same", async () => {
    const { stdout } = await run("issue", "--trust-domain", "cluster.local", "--name", "other", "--namespace", "mesh");
    const parsed = spawnSync("python3", ["-c", "import yaml,json,sys; print(json.dumps(yaml.safe_load(sys.stdin)))"], { input: stdout, encoding: "utf8" });
    const secret = JSON.parse(parsed.stdout) as { metadata: object; data: Record<string, string> };
    expect(secret.metadata).toEqual({ name: "other", namespace: "mesh" });
    expect(secret.data["crt.pem"]).toBe(members(stdout)["crt.pem"]);
  });

  test("--out-dir writes the files for us alone, and never over a key", async () => {
    const outDir = join(folder, "issued");
    expect((await run("issue", "--trust-domain", "cluster.local", "--out-dir", outDir)).exitCode).toBe(0);
    expectPair(readFileSync(join(outDir, "crt.pem"), "utf8"), readFileSync(join(outDir, "key.pem"), "utf8"));
    expect(statSync(join(outDir, "key.pem")).mode & 0o777).toBe(0o600);
    const again = await run("issue", "--trust-domain", "cluster.local", "--out-dir", outDir);
    expect([again.exitCode, again.stderr]).toEqual([1, expect.stringContaining("not overwritten")]);
  });

  test("what the CA refuses is said, with exit code 1", async () => {
    const { exitCode, stdout, stderr } = await run("issue", "--trust-domain", "east");
    expect([exitCode, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("issuer_refused");
  });

  test("list shows it", async () => {
    const { stdout } = await run("list");
    expect(stdout).toContain("cluster.local");
  });
});

test.each([
  [["revoke"], "serial number"], [["revoke", "00", "11"], "too many"], [["revoke", "00", "--reason", "boredom"], "--reason is one of"],
])("%j is refused with exit code 2 and says what is wrong", async (args, said) => {
  expect(await run(...args)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(said) });
});

describe("watch --once keeps a Secret", () => {
  const secret = () => kubernetes.secrets.get("linkerd/linkerd-identity-issuer");

  test("that is not there yet: it is made, with the token and over TLS", async () => {
    expect((await once()).exitCode).toBe(0);
    expect(secret()?.type).toBe("Opaque");
    expectPair(decode(secret()?.data["crt.pem"]), decode(secret()?.data["key.pem"]));
    expect(kubernetes.requests.at(-1)).toMatch(/^PATCH \/api\/v1\/namespaces\/linkerd\/secrets\/linkerd-identity-issuer\?fieldManager=countersign/);
  });

  test("as the manifests start it: with the SVID of an operator for this trust domain alone, and with their rights, each of which is needed", async () => {
    const { ca } = served;
    const admin = { actor: "token:0000000000000000", name: "test-admin", role: "admin", scope: ["spiffe://east/*"] } as const;
    const spiffeId = "spiffe://east/ns/countersign/sa/countersign-linkerd-issuer";
    await ca.operators.add({ spiffeId, role: "operator", scope: ["issuer:cluster.local"] }, admin);
    const { csr, privateKey } = newCsr();
    const [cert, key] = [join(folder, "watcher.pem"), join(folder, "watcher.key")];
    writeFileSync(cert, (await ca.issue({ csr, attestation: { type: "operator", spiffeId } }, { caller: admin })).chain);
    writeFileSync(key, privateKey.export({ format: "pem", type: "pkcs8" }));
    const rules = rulesOf("countersign-linkerd-issuer");
    const asManifest = (trustDomain = "cluster.local") => countersign(
      ["issuer", "watch", "--once", `--trust-domain=${trustDomain}`, "--secret=kubernetes.io/tls", "--svid-cert", cert, "--svid-key", key, ...inKubernetes()], { ...env, COUNTERSIGN_TOKEN: "none" },
    );
    try {
      for (const left of rules) {
        kubernetes.rules = rules.filter((rule) => rule !== left);
        expect((await asManifest()).stderr).toContain("403");
      }
      kubernetes.rules = rules;
      expect((await asManifest("other.local")).stderr).toContain("issuer:other.local");
      expect(await asManifest()).toMatchObject({ exitCode: 0 });
      expect(secret()?.type).toBe("kubernetes.io/tls");
    } finally {
      kubernetes.rules = undefined;
    }
  });

  test("that is good: nothing is done", async () => {
    await once();
    const before = secret()?.resourceVersion;
    expect(await once()).toMatchObject({ exitCode: 0, stderr: expect.stringContaining("nothing to do") });
    expect(secret()?.resourceVersion).toBe(before);
  });

  test("that ends soon, with a new key", async () => {
    await once("--ttl", "20h", "--renew-before", "10h");
    const before = secret()?.data;
    expect((await once()).stderr).toContain("it ends at");
    expect(secret()?.data["key.pem"]).not.toBe(before?.["key.pem"]);
    expectPair(decode(secret()?.data["crt.pem"]), decode(secret()?.data["key.pem"]));
  });

  test("whose issuer was revoked", async () => {
    await once();
    const { serialNumber } = parseCertificate(decodePem(decode(secret()?.data["crt.pem"]), "CERTIFICATE")[0]!);
    expect((await run("revoke", serialNumber, "--reason", "cACompromise")).stdout).toContain(`${serialNumber} is revoked (cACompromise)`);
    expect((await run("list")).stdout).toMatch(new RegExp(`${serialNumber} +revoked`));
    expect((await once()).stderr).toContain("it was revoked");
  });

  test("whose issuer is of another CA", async () => {
    await once();
    const other = await serveCa(readConfig({ file: { trustDomain: "south", dataDir: join(folder, "other"), listen: "127.0.0.1:0" } }), pino({ level: "silent" }));
    try {
      const ran = await countersign(["issuer", "watch", "--once", "--trust-domain", "cluster.local", ...inKubernetes()], { COUNTERSIGN_URL: other.url, COUNTERSIGN_DATA_DIR: join(folder, "other") });
      expect(ran.stderr).toContain("does not chain to the CA's roots");
    } finally {
      await other.stop();
    }
  });

  test.each([
    [403, "Forbidden", "get, create and patch"], [500, "InternalError", "API server's log"],
  ] as const)("and says why the API server answers %d, with exit code 1", async (status, reason, hint) => {
    kubernetes.failNext(1, status, reason);
    const ran = await once();
    expect([ran.exitCode, ran.stderr]).toEqual([1, expect.stringContaining(hint)]);
    expect(ran.stderr).not.toContain("kube-secret-token");
  });

  test("of another type: it is not replaced, and the key is in no message", async () => {
    kubernetes.secrets.set("linkerd/linkerd-identity-issuer", { type: "kubernetes.io/tls", data: {}, resourceVersion: 0 });
    const ran = await once();
    expect([ran.exitCode, ran.stderr]).toEqual([1, expect.stringContaining("another type")]);
  });

  test("not behind another root: the token is shown to nobody", async () => {
    const before = kubernetes.requests.length;
    const wrongRoot = join(folder, "other", "root.pem");
    const ran = await run("watch", "--once", "--trust-domain", "cluster.local", "--kube-url", kubernetes.url, "--kube-token-file", tokenFile, "--kube-ca-file", wrongRoot);
    expect(ran.exitCode).toBe(1);
    expect(kubernetes.requests).toHaveLength(before);
  });
});

test("watch --once keeps a folder, pair by pair, as the kubelet would", async () => {
  const outDir = join(folder, "kept");
  const keep = (...more: string[]) => run("watch", "--once", "--trust-domain", "cluster.local", "--out-dir", outDir, ...more);
  expect((await keep("--ttl", "20h", "--renew-before", "10h")).exitCode).toBe(0);
  const first = readlinkSync(join(outDir, "..data"));
  expect((await keep()).exitCode).toBe(0);
  expect(readlinkSync(join(outDir, "..data"))).not.toBe(first);
  expect(readdirSync(outDir).sort()).toEqual(["..data", readlinkSync(join(outDir, "..data")), "crt.pem", "key.pem"].sort());
  expectPair(readFileSync(join(outDir, "crt.pem"), "utf8"), readFileSync(join(outDir, "key.pem"), "utf8"));
});

describe("the watch", () => {
  const material: IssuerMaterial = { chain: "", key: "", anchors: "" };
  function deps(change: Partial<WatchDeps> & { stopAfter?: number } = {}): WatchDeps & { readonly pauses: number[]; readonly said: string[] } {
    const pauses: number[] = [];
    const said: string[] = [];
    return {
      target: { name: "there", read: async () => undefined, write: async () => undefined }, issue: async () => material, anchors: async () => [], isRevoked: async () => false,
      say: (text) => void said.push(text), now: () => 0, random: () => 0, pauses, said,
      pause: async (ms) => pauses.push(ms) >= (change.stopAfter ?? 1), ...change,
    };
  }

  test("ends with 0 when it is told to stop", async () => {
    expect(await keepRenewed(deps(), { renewBeforeMs: 1000, once: false })).toBe(0);
  });

  test("tries a failure again after 1 s, 2 s and so on, never later than 5 min, each cut by chance", async () => {
    const failing = deps({ stopAfter: 12, issue: () => Promise.reject(new ApiError("no CA")) });
    await keepRenewed(failing, { renewBeforeMs: 1000, once: false });
    expect(failing.pauses.slice(0, 4)).toEqual([1000, 2000, 4000, 8000]);
    expect(failing.pauses.at(-1)).toBe(300_000);
    const cut = deps({ random: () => 1, issue: () => Promise.reject(new ApiError("no CA")) });
    await keepRenewed(cut, { renewBeforeMs: 1000, once: false });
    expect(cut.pauses).toEqual([500]);
    expect(failing.said[0]).toContain("no CA");
  });

  test("writes what was signed until it is written, and has no second one signed", async () => {
    let [signed, written] = [0, 0];
    const target = { name: "there", read: async () => undefined, write: () => (++written < 3 ? Promise.reject(new ApiError("full")) : Promise.resolve()) };
    await keepRenewed(deps({ stopAfter: 3, target, issue: async () => ((signed += 1), material) }), { renewBeforeMs: 1000, once: false });
    expect([signed, written]).toEqual([1, 3]);
  });
});
