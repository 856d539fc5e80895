import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { countersign, programs, startCa, startProcess, type RunningCa } from "../../infra/demo/processes.ts";
import { startKmsServer, type KmsServer } from "../support/kms-server.ts";
import { countersign as inProcess } from "../support/command-line.ts";
import { openssl, opensslAvailable } from "../support/openssl.ts";
import { ip, subjectAltName, testAuthority } from "../support/test-ca.ts";

/** True where a process can be given a network of its own with nothing in it. */
const canUnplug = spawnSync("unshare", ["-rn", "true"]).status === 0;

describe.skipIf(!opensslAvailable)("a CA whose root is offline and whose intermediate is in KMS, over HTTPS", () => {
  const dir = mkdtempSync(join(tmpdir(), "countersign-ceremony-e2e-"));
  const inDir = (name: string): string => join(dir, name);
  let kms: KmsServer;
  let env: Readonly<Record<string, string>>;
  let ca: RunningCa | undefined;

  beforeAll(async () => {
    // The KMS's own HTTPS certificate, from a root that Node is told of by its environment.
    const authority = testAuthority({ trustDomain: "kms" });
    const leaf = authority.leaf({ extensions: { subjectAltName: subjectAltName([ip(127, 0, 0, 1)]) } });
    kms = await startKmsServer({ tls: { key: leaf.privateKeyPem, cert: leaf.pem } });
    writeFileSync(inDir("kms-root.pem"), authority.pem);
    writeFileSync(inDir("passphrase"), "six random words are enough here\n", { mode: 0o600 });
    env = {
      ...kms.env, COUNTERSIGN_KMS_ENDPOINT: kms.endpoint, NODE_EXTRA_CA_CERTS: inDir("kms-root.pem"), COUNTERSIGN_ROOT_KEY: "offline",
      COUNTERSIGN_TRUST_DOMAIN: "east", COUNTERSIGN_DATA_DIR: inDir("ca"),
    };
  });
  afterAll(async () => {
    await ca?.stop();
    await kms?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  async function onCa(...args: readonly string[]): Promise<string> {
    const run = startProcess(programs.ca, ["ceremony", ...args], env);
    const code = await new Promise((resolve) => run.child.on("close", resolve));
    if (code !== 0) throw new Error(run.output());
    return run.output();
  }

  /** On a machine without network, where there is one to be had: the key is in a file there. */
  function sign(request: string, answer: string, fingerprint: string, ...more: readonly string[]) {
    const command = [
      process.execPath, programs.ca, "ceremony", "sign", inDir(request), "--key", inDir("root.key"), "--out", inDir(answer),
      "--confirm", fingerprint, "--passphrase-file", inDir("passphrase"), ...more,
    ];
    const [program = "", ...args] = canUnplug ? ["unshare", "-rn", ...command] : command;
    return spawnSync(program, args, { encoding: "utf8", env: { PATH: process.env["PATH"] ?? "" }, timeout: 30_000 });
  }

  async function ceremony(kind: string, ...options: readonly string[]): Promise<void> {
    const printed = await onCa("request", kind, "--out", inDir(`${kind}.request`), ...options);
    const fingerprint = /^ {2}([0-9a-f-]{24})$/m.exec(printed)?.[1] ?? "";
    const { status, stderr, stdout } = sign(`${kind}.request`, `${kind}.answer`, fingerprint, ...(kind === "root" ? ["--create-key", "ec-p384"] : []));
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const [, rootFingerprint] = /^ {2}([0-9a-f-]{24})$/m.exec(stdout) ?? [];
    await onCa("import", inDir(`${kind}.answer`), ...(rootFingerprint === undefined ? [] : ["--confirm", rootFingerprint]));
  }

  test("serves once two ceremonies are held, and openssl follows its chains to the root", async () => {
    await ceremony("root");
    const early = startProcess(programs.ca, ["serve", "--listen", "127.0.0.1:0"], env);
    expect(await new Promise((resolve) => early.child.on("close", resolve))).toBe(1);
    expect(early.output().replaceAll(/\s+/g, " ")).toContain("countersign ceremony request intermediate");

    await ceremony("intermediate", "--key", `kms:${kms.createKey("ECC_NIST_P256").keyId}`);
    expect(kms.count("Sign")).toBe(1);
    ca = await startCa({ dataDir: inDir("ca"), env });
    await countersign(ca, "certificate", "issue", "--id", "spiffe://east/web", "--cert", inDir("web.pem"), "--key", inDir("web.key"));
    // The intermediate's proof of possession, and one issuer.
    expect(kms.count("Sign")).toBe(2);

    const chain = readFileSync(inDir("web.pem"), "utf8");
    const [leaf = "", ...above] = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g) ?? [];
    expect(above).toHaveLength(2);
    const files = { "root.pem": readFileSync(inDir("ca/root.pem")), "leaf.pem": leaf, "above.pem": above.join("") };
    const verified = openssl(["verify", "-x509_strict", "-CAfile", "root.pem", "-untrusted", "above.pem", "leaf.pem"], files);
    expect(verified).toMatchObject({ ok: true, stdout: "leaf.pem: OK\n" });
  }, 120_000);

  test("has the whole of it in a log that verifies", async () => {
    await ca?.stop();
    expect(await inProcess(["audit", "verify", "--data-dir", inDir("ca")])).toMatchObject({ exitCode: 0 });
  });
});
