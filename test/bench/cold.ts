import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { functionPackage } from "../../infra/bundle.ts";
import { trainFunction } from "../../infra/train-function.ts";
import { startKmsServer } from "../support/kms-server.ts";
import { frontEnds } from "../support/lambda-events.ts";
import { lambdaRuntime, type LambdaRuntime } from "../support/lambda-runtime.ts";
import { startPostgres } from "../support/postgres-server.ts";
import { newCsr } from "../support/running-ca.ts";
import { cpuSecondsOf } from "./cpu.ts";
import { median, printTable } from "./load.ts";

/**
 * A cold start of the function as Lambda does it: from the start of a process, on one core, to the answer with its first certificate. The
 * database is warm, KMS answers at once: what is measured is ours.
 */
export async function benchCold(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const [postgres, kms] = [await startPostgres(), await startKmsServer()];
  try {
    const { inputs, outputs } = await functionPackage(folder);
    const file = join(folder, "lambda.mjs");
    const common = { COUNTERSIGN_TRUST_DOMAIN: "east", COUNTERSIGN_PUBLIC_URL: "https://ca.example" };
    const variants = {
      "sealing key from KMS": {
        ...kms.env, ...common, COUNTERSIGN_STORE: await postgres.createDatabase(), COUNTERSIGN_KMS_ENDPOINT: kms.endpoint,
        COUNTERSIGN_SEALING: `kms:${kms.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").keyId}`,
      },
      "sealing key from the environment": { ...common, COUNTERSIGN_STORE: await postgres.createDatabase(), COUNTERSIGN_SEALING_KEY: Buffer.alloc(32, 7).toString("base64") },
    };
    const sealed = variants["sealing key from KMS"];
    await trainFunction(folder, { ...sealed, COUNTERSIGN_STORE: await postgres.createDatabase() });
    const cases = [];
    for (const [name, env] of Object.entries(variants)) {
      const lambda = lambdaRuntime({ file, env, command: oneCore });
      const { adminToken } = (await lambda.invoke({ countersign: "first-start" })) as { readonly adminToken: string };
      cases.push({ name, lambda, adminToken, runs: [] as ColdStart[] });
    }
    const bare: number[] = [];
    for (let run = 0; run < repetitions; run++) {
      bare.push(bareStartMs());
      for (const { lambda, adminToken, runs } of cases) runs.push(await coldStart(lambda, adminToken));
    }
    for (const { lambda } of cases) await lambda.kill();
    const rows = cases.map(({ name, runs }) => {
      const of = (pick: (run: ColdStart) => number) => median(runs.map(pick)).toFixed(0);
      return [name, of(({ loadedMs }) => loadedMs), of(({ answeredMs }) => answeredMs), of(({ cpuMs }) => cpuMs), of(({ warmMs }) => warmMs)];
    });
    printTable(`Cold start on one core (median of ${repetitions} runs in turn; a Node.js that does nothing takes ${median(bare).toFixed(0)} ms)`,
      ["", "ms to ready for an event", "ms to the first certificate", "CPU ms until then", "ms for the second"], rows);
    const kibibytes = (name: string): string => (statSync(join(folder, name)).size / 1024).toFixed(0);
    console.log(`The bundle: ${kibibytes("countersign.cjs")} KiB, what V8 compiled of it ${kibibytes("countersign.cjs.v8")} KiB, of ${Object.keys(inputs).length} files: ${largestParts(outputs)}.`);
  } finally {
    await kms.close();
    await postgres.stop();
    rmSync(folder, { recursive: true });
  }
}

interface ColdStart {
  /** Until the first answer. */
  readonly cpuMs: number;
  readonly loadedMs: number;
  readonly answeredMs: number;
  readonly warmMs: number;
}

async function coldStart(lambda: LambdaRuntime, adminToken: string): Promise<ColdStart> {
  await lambda.kill();
  const startedAtMs = performance.now();
  await issue(lambda, adminToken);
  const answeredAtMs = performance.now();
  const cpuMs = cpuSecondsOf(lambda.pid()!) * 1000;
  await issue(lambda, adminToken);
  return { cpuMs, loadedMs: lambda.askedAtMs() - startedAtMs, answeredMs: answeredAtMs - startedAtMs, warmMs: performance.now() - answeredAtMs };
}

async function issue(lambda: LambdaRuntime, adminToken: string): Promise<void> {
  const event = frontEnds["API Gateway, payload 2.0"]({
    method: "POST", path: "/v1/certificates", headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
    body: JSON.stringify({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/web" } }),
  });
  const { statusCode, body } = (await lambda.invoke(event)) as { readonly statusCode: number; readonly body: string };
  if (statusCode !== 201) throw new Error(`${statusCode} ${body}`);
}

function bareStartMs(): number {
  const startedAtMs = performance.now();
  spawnSync(oneCore[0]!, [...oneCore.slice(1), process.execPath, "-e", "0"]);
  return performance.now() - startedAtMs;
}

/** What the bundle is made of, by package, the largest first. */
function largestParts(outputs: Awaited<ReturnType<typeof functionPackage>>["outputs"]): string {
  const parts = new Map<string, number>();
  for (const { inputs } of Object.values(outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const [, name = "ours"] = /node_modules\/((?:@[^/]+\/)?[^/]+)\/[^]*$/.exec(path) ?? [];
      const group = /^@(aws-sdk|smithy|aws)/.test(name) ? "AWS SDK" : name;
      parts.set(group, (parts.get(group) ?? 0) + bytesInOutput);
    }
  }
  const sorted = [...parts].sort(([, one], [, other]) => other - one);
  const rest = sorted.slice(maxParts).reduce((sum, [, bytes]) => sum + bytes, 0);
  return [...sorted.slice(0, maxParts), ["others", rest] as const].map(([name, bytes]) => `${name} ${(bytes / 1024).toFixed(0)}`).join(", ");
}

const oneCore = ["taskset", "-c", "0"];
const repetitions = 9;
const maxParts = 9;
