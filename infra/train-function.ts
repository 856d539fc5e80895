import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runCompiled } from "../ca/runtime/compiled.ts";
import { startKmsServer } from "../test/support/kms-server.ts";
import { frontEnds } from "../test/support/lambda-events.ts";
import { startPostgres } from "../test/support/postgres-server.ts";
import { newCsr } from "../test/support/running-ca.ts";

/**
 * Runs the function of a folder from its first start to a certificate, and keeps what V8 compiled for that: a cold start then compiles nothing.
 * @param env  the function's settings, with an empty database
 */
export async function trainFunction(folder: string, env: NodeJS.ProcessEnv): Promise<void> {
  // A process of its own: what is compiled under other flags is refused.
  await promisify(execFile)(process.execPath, [fileURLToPath(import.meta.url), folder], { env, timeout: timeoutMs });
}

/** A Postgres and a KMS to train on, for as long as `train` takes. */
export async function withTrainingGround(train: (env: NodeJS.ProcessEnv) => Promise<void>): Promise<void> {
  const [postgres, kms] = [await startPostgres(), await startKmsServer()];
  try {
    await train({
      ...kms.env, COUNTERSIGN_TRUST_DOMAIN: trustDomain, COUNTERSIGN_PUBLIC_URL: "https://ca.example", COUNTERSIGN_STORE: await postgres.createDatabase(),
      COUNTERSIGN_SEALING: `kms:${kms.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").keyId}`, COUNTERSIGN_KMS_ENDPOINT: kms.endpoint,
    });
  } finally {
    await kms.close();
    await postgres.stop();
  }
}

async function runOnce(folder: string): Promise<void> {
  const { exports, keepCompiled } = runCompiled(join(folder, "countersign.cjs"));
  const { invoke } = exports as typeof import("../ca/runtime/lambda-function.ts");
  const deadlineMs = Date.now() + timeoutMs;
  const { adminToken } = (await invoke({ countersign: "first-start" }, deadlineMs)) as { readonly adminToken: string };
  const issue = frontEnds["API Gateway, payload 2.0"]({
    method: "POST", path: "/v1/certificates", headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
    body: JSON.stringify({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: `spiffe://${process.env["COUNTERSIGN_TRUST_DOMAIN"] ?? trustDomain}/ns/shop/sa/web` } }),
  });
  const { statusCode, body } = (await invoke(issue, deadlineMs)) as { readonly statusCode: number; readonly body: string };
  if (statusCode !== 201) throw new Error(`the function answered ${statusCode} ${body}`);
  keepCompiled();
}

const trustDomain = "east";
const timeoutMs = 60_000;

if (import.meta.main) {
  await runOnce(process.argv[2]!);
  process.exit(0);
}
