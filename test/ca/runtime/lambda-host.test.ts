import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { readConfig } from "../../../ca/config/config.ts";
import { lambdaHost } from "../../../ca/runtime/lambda-host.ts";
import { countersign } from "../../support/command-line.ts";
import { startKmsServer } from "../../support/kms-server.ts";
import { frontEnds } from "../../support/lambda-events.ts";
import { createDatabase } from "../../support/postgres.ts";
import { chainOf, newCsr } from "../../support/running-ca.ts";

const silent = pino({ level: "silent" });
const postgres = "postgres://nobody@127.0.0.1:1/none";
const settings = (file: object) => readConfig({ file: { trustDomain: "east", ...file } });

test.each([
  ["its database on its disk", { sealing: "kms:alias/x" }, /store is refused/],
  ["its sealing key on its disk", { store: postgres }, /sealing is refused/],
])("a function does not start with %s", (_, file, message) => {
  expect(() => lambdaHost(settings(file), silent)).toThrow(message);
});

test("while the database is away requests are answered 503, maintenance fails, and each tries again", async () => {
  const host = lambdaHost(settings({ store: postgres, sealing: "kms:alias/x" }), silent);
  await host.prepare();
  for (let times = 0; times < 2; times++) {
    const answer = await host.invoke(frontEnds["an ALB"]({ method: "GET", path: "/v1/bundle" }), Date.now() + 30_000);
    expect(answer).toMatchObject({ statusCode: 503, headers: { "content-type": "application/problem+json", "cache-control": "no-store" } });
    expect(JSON.parse((answer as { body: string }).body)).toMatchObject({ code: "store_unavailable" });
    await expect(host.invoke({ countersign: "maintenance" }, Date.now() + 30_000)).rejects.toMatchObject({ code: "store_unavailable" });
  }
  const alive = await host.invoke(frontEnds["an ALB"]({ method: "GET", path: "/healthz" }), Date.now() + 30_000);
  expect(alive).toMatchObject({ statusCode: 200, body: "ok\n" });
});

test("a first start that fails after the store was filled gives its admin token all the same", async () => {
  const kms = await startKmsServer();
  for (const [name, value] of Object.entries(kms.env)) vi.stubEnv(name, value);
  try {
    const { keyId } = kms.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    const host = lambdaHost(settings({ store: await createDatabase(), sealing: `kms:${keyId}`, rootKey: `kms:${keyId}`, kmsEndpoint: kms.endpoint }), silent);
    const first = await host.invoke({ countersign: "first-start" }, Date.now() + 30_000);
    expect(first).toEqual({ adminToken: expect.any(String), unfinished: expect.stringContaining("key") });
  } finally {
    vi.unstubAllEnvs();
    await kms.close();
  }
});

test("a CA whose root's key is offline does not begin in a function", async () => {
  const host = lambdaHost(settings({ store: postgres, sealing: "kms:alias/x", rootKey: "offline" }), silent);
  await expect(host.invoke({ countersign: "first-start" }, Date.now() + 30_000)).rejects.toThrow("countersign ceremony request root");
});

test("a CA that began with ceremonies, as infra/terraform has it, issues in a function that may use no key of the root", async () => {
  const kms = await startKmsServer();
  for (const [name, value] of Object.entries(kms.env)) vi.stubEnv(name, value);
  const folder = mkdtempSync(join(tmpdir(), "countersign-lambda-host-"));
  const inFolder = (name: string): string => join(folder, name);
  try {
    const [root, intermediate] = [kms.createKey("ECC_NIST_P256").keyId, kms.createKey("ECC_NIST_P256").keyId];
    const shared = {
      ...kms.env, COUNTERSIGN_STORE: await createDatabase(), COUNTERSIGN_SEALING: `kms:${kms.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").keyId}`,
      COUNTERSIGN_ROOT_KEY: "offline", COUNTERSIGN_TRUST_DOMAIN: "east", COUNTERSIGN_KMS_ENDPOINT: kms.endpoint, COUNTERSIGN_DATA_DIR: folder,
    };
    const run = async (...args: readonly string[]): Promise<string> => {
      const { exitCode, stdout, stderr } = await countersign(["ceremony", ...args], shared);
      if (exitCode !== 0) throw new Error(stderr);
      return stdout;
    };
    for (const [kind, ...more] of [["root"], ["intermediate", "--key", `kms:${intermediate}`]] as const) {
      const [request, answer] = [inFolder(`${kind}.request`), inFolder(`${kind}.answer`)];
      const fingerprint = fingerprintIn(await run("request", kind, "--out", request, ...more));
      const signed = await run("sign", request, "--key", `kms:${root}`, "--out", answer, "--confirm", fingerprint);
      await run("import", answer, ...(kind === "root" ? ["--confirm", fingerprintIn(signed)] : []));
    }
    const signedByRoot = kms.calls.filter(({ keyId }) => keyId?.includes(root)).length;
    const host = lambdaHost(readConfig({ env: { ...shared, COUNTERSIGN_PUBLIC_URL: "https://ca.example" } }), silent);
    const unwrapped = () => kms.count("Decrypt");
    const before = unwrapped();
    await host.prepare();
    expect(unwrapped(), "the CA is open before there is a request").toBe(before + 1);
    const answer = await host.invoke(frontEnds["API Gateway, payload 2.0"]({
      method: "POST", path: "/v1/certificates", headers: { authorization: `Bearer ${readFileSync(inFolder("admin-token"), "utf8").trim()}`, "content-type": "application/json" },
      body: JSON.stringify({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/web" } }),
    }), Date.now() + 30_000) as { readonly statusCode: number; readonly body: string };
    expect([answer.statusCode, chainOf(JSON.parse(answer.body) as { chain: string }).length]).toEqual([201, 3]);
    expect(unwrapped()).toBe(before + 1);
    expect(await host.invoke({ countersign: "maintenance" }, Date.now() + 30_000)).toEqual({ pruned: 0 });
    expect(kms.calls.filter(({ keyId }) => keyId?.includes(root))).toHaveLength(signedByRoot);
  } finally {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
    await kms.close();
  }
});

function fingerprintIn(printed: string): string {
  return /^ {2}([0-9a-f-]{24})$/m.exec(printed)?.[1] ?? "";
}
