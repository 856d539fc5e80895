import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startKmsServer } from "../test/support/kms-server.ts";
import { startPostgres } from "../test/support/postgres-server.ts";
import { newCsr } from "../test/support/running-ca.ts";

/**
 * Runs the function of a folder from its first start to a certificate, and keeps what V8 compiled for that: a cold start then compiles nothing.
 * @param env   the function's settings, with an empty database
 * @param node  the Node.js that will run it: what another one compiled is refused
 */
export async function trainFunction(folder: string, env: NodeJS.ProcessEnv, node: string = process.execPath): Promise<void> {
  // A process of its own: what is compiled under other flags is refused, too.
  await promisify(execFile)(node, [fileURLToPath(new URL("train-run.ts", import.meta.url)), folder, newCsr().csr], { env, timeout: timeoutMs });
}

/** A Postgres and a KMS to train on, for as long as `train` takes. */
export async function withTrainingGround(train: (env: NodeJS.ProcessEnv) => Promise<void>): Promise<void> {
  const [postgres, kms] = [await startPostgres(), await startKmsServer()];
  try {
    await train({
      ...kms.env, COUNTERSIGN_TRUST_DOMAIN: "east", COUNTERSIGN_PUBLIC_URL: "https://ca.example", COUNTERSIGN_STORE: await postgres.createDatabase(),
      COUNTERSIGN_SEALING: `kms:${kms.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").keyId}`, COUNTERSIGN_KMS_ENDPOINT: kms.endpoint,
    });
  } finally {
    await kms.close();
    await postgres.stop();
  }
}

const timeoutMs = 60_000;
