import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { functionPackage } from "../../infra/bundle.ts";
import { freePort } from "../../infra/demo/place.ts";
import { trainFunction } from "../../infra/train-function.ts";
import { startKmsServer, type KmsServer } from "../support/kms-server.ts";
import { frontEnds } from "../support/lambda-events.ts";
import { lambdaRuntime, type LambdaRuntime } from "../support/lambda-runtime.ts";
import { startPostgres, type PostgresServer } from "../support/postgres-server.ts";
import { newCsr } from "../support/running-ca.ts";
import { cpuSecondsOf } from "./cpu.ts";
import { median, printTable } from "./load.ts";
import { relay } from "./relay.ts";

/**
 * A cold start of the function as Lambda does it: from the start of a process, on one core, to the answer with its first certificate. The
 * database is warm, KMS answers at once: what is measured is ours. Then the same once more by way of relays, which tell what it waited for.
 */
export async function benchCold(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const ground = await trainingGround(folder);
  try {
    const { inputs, outputs } = await functionPackage(folder);
    const file = join(folder, "lambda.mjs");
    await trainFunction(folder, { ...ground.variants[kmsVariant]!, COUNTERSIGN_STORE: await ground.postgres.createDatabase() });
    const cases = [];
    for (const [name, env] of Object.entries(ground.variants)) {
      const lambda = lambdaRuntime({ file, env, command: oneCore });
      const { adminToken } = (await lambda.invoke({ countersign: "first-start" })) as { readonly adminToken: string };
      cases.push({ name, lambda, adminToken, runs: [] as ColdStart[] });
    }
    const bare: ColdStart[] = [];
    for (let run = 0; run < repetitions; run++) {
      bare.push(bareStart());
      for (const { lambda, adminToken, runs } of cases) runs.push(await coldStart(lambda, adminToken));
    }
    for (const { lambda } of cases) await lambda.kill();
    const floor = { answeredMs: median(bare.map(({ answeredMs }) => answeredMs)), cpuMs: median(bare.map(({ cpuMs }) => cpuMs)) };
    printTable(`Cold start on one core (median of ${repetitions} runs in turn)`,
      ["", "ms to ready for an event", "ms to the first certificate", "CPU ms until then", "ms for the second", "MiB at most"],
      [["Node.js that does nothing", "", floor.answeredMs.toFixed(0), floor.cpuMs.toFixed(0), "", ""], ...cases.map(({ name, runs }) => {
        const of = (pick: (run: ColdStart) => number) => median(runs.map(pick));
        const times = (ms: number, floorMs: number) => `${ms.toFixed(0)} (${(ms / floorMs).toFixed(1)} x)`;
        return [name, of(({ loadedMs }) => loadedMs).toFixed(0), times(of(({ answeredMs }) => answeredMs), floor.answeredMs), times(of(({ cpuMs }) => cpuMs), floor.cpuMs),
          of(({ warmMs }) => warmMs).toFixed(0), of(({ peakMib }) => peakMib).toFixed(0)];
      })]);
    await printSteps(ground, file, cases.find(({ name }) => name === kmsVariant)!.adminToken, floor.answeredMs);
    const kibibytes = (name: string): string => (statSync(join(folder, name)).size / 1024).toFixed(0);
    console.log(`The bundle: ${kibibytes("countersign.cjs")} KiB, what V8 compiled of it ${kibibytes("countersign.cjs.v8")} KiB, of ${Object.keys(inputs).length} files: ${largestParts(outputs)}.`);
  } finally {
    await ground.close();
    rmSync(folder, { recursive: true });
  }
}

interface Ground {
  readonly postgres: PostgresServer;
  readonly kms: KmsServer;
  /** The function's settings, by name. */
  readonly variants: Readonly<Record<string, Readonly<Record<string, string>>>>;
  close(): Promise<void>;
}

/** Two Postgres and two KMS: with nothing in between, and as they are on AWS, by TLS and with a password. */
async function trainingGround(folder: string): Promise<Ground> {
  const [key, cert] = [join(folder, "tls.key"), join(folder, "tls.pem")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench", "-addext",
    "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], { stdio: "ignore" });
  const tls = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
  const port = await freePort();
  const [postgres, far] = [await startPostgres(), await startPostgres({ port, chainPem: tls.cert, privateKeyPem: tls.key })];
  const [kms, farKms] = [await startKmsServer(), await startKmsServer({ tls })];
  const admin = new pg.Client({ connectionString: `postgres://postgres@127.0.0.1:${port}/postgres` });
  await admin.connect();
  await admin.query("create role countersign login password 'bench'");
  await admin.query("create database countersign owner countersign");
  const { rows: [hba] } = await admin.query<{ hba_file: string }>("show hba_file");
  writeFileSync(hba!.hba_file, "hostssl all all 127.0.0.1/32 scram-sha-256\n");
  await admin.query("select pg_reload_conf()");
  await admin.end();
  const common = { COUNTERSIGN_TRUST_DOMAIN: "east", COUNTERSIGN_PUBLIC_URL: "https://ca.example" };
  const sealedBy = (server: KmsServer) => ({
    ...server.env, COUNTERSIGN_KMS_ENDPOINT: server.endpoint, COUNTERSIGN_SEALING: `kms:${server.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").keyId}`,
  });
  return {
    postgres, kms,
    variants: {
      [kmsVariant]: { ...common, ...sealedBy(kms), COUNTERSIGN_STORE: await postgres.createDatabase() },
      "sealing key from the environment": { ...common, COUNTERSIGN_STORE: await postgres.createDatabase(), COUNTERSIGN_SEALING_KEY: Buffer.alloc(32, 7).toString("base64") },
      "from KMS; both by TLS, Postgres with a password": {
        ...common, ...sealedBy(farKms), COUNTERSIGN_STORE: `postgres://countersign:bench@127.0.0.1:${port}/countersign?sslmode=verify-full`, NODE_EXTRA_CA_CERTS: cert,
      },
    },
    async close() {
      for (const server of [kms, farKms]) await server.close();
      for (const server of [postgres, far]) await server.stop();
    },
  };
}

/** What a start does when, and how often it asks. */
async function printSteps({ kms, variants }: Ground, file: string, adminToken: string, floorMs: number): Promise<void> {
  const env = variants[kmsVariant]!;
  const folder = mkdtempSync(join(tmpdir(), "countersign-relay-"));
  const store = new URL(env["COUNTERSIGN_STORE"]!);
  const socket = ".s.PGSQL.5432";
  const database = await relay(join(folder, socket), { path: join(store.searchParams.get("host")!, socket) }, "begin isolation level read committed\0");
  const keys = await relay(0, { port: Number(new URL(kms.endpoint).port), host: "127.0.0.1" }, "TrentService.Decrypt");
  store.searchParams.set("host", folder);
  const lambda = lambdaRuntime({ file, env: { ...env, COUNTERSIGN_STORE: store.href, COUNTERSIGN_KMS_ENDPOINT: `http://127.0.0.1:${keys.port}` }, command: oneCore });
  const steps: number[][] = [];
  let counted = "";
  for (let run = 0; run < repetitions; run++) {
    await lambda.kill();
    for (const each of [database, keys]) each.clear();
    const startedAtMs = performance.now();
    await issue(lambda, adminToken);
    const answeredAtMs = performance.now();
    const [asked, sealed] = [database.passed(), keys.passed()];
    steps.push([asked.firstAtMs, sealed.firstAtMs, sealed.lastAnswerAtMs, lambda.askedAtMs(), asked.markedAtMs, answeredAtMs].map((atMs) => atMs - startedAtMs));
    counted = `${asked.connections} connection(s) to Postgres with ${asked.roundTrips} round trips, ${sealed.connections} to KMS`;
  }
  await lambda.kill();
  for (const each of [database, keys]) each.close();
  rmSync(folder, { recursive: true });
  const names = ["the bundle is loaded, Postgres is connected to", "KMS is asked for the sealing key", "KMS has answered", "the CA is open, an event is asked for", "the certificate's commit begins", "it is answered"];
  const until = [floorMs, ...names.map((_, index) => median(steps.map((times) => times[index]!)))];
  printTable(`Where the time goes (${kmsVariant}; ${counted})`, ["until", "ms since the start", "ms more"],
    ["Node.js has started", ...names].map((name, index) => [name, until[index]!.toFixed(0), (until[index]! - (until[index - 1] ?? 0)).toFixed(0)]));
}

interface ColdStart {
  /** Until the first answer. */
  readonly cpuMs: number;
  readonly loadedMs: number;
  readonly answeredMs: number;
  readonly warmMs: number;
  /** Of memory that is resident, both answers included. */
  readonly peakMib: number;
}

async function coldStart(lambda: LambdaRuntime, adminToken: string): Promise<ColdStart> {
  await lambda.kill();
  const startedAtMs = performance.now();
  await issue(lambda, adminToken);
  const answeredAtMs = performance.now();
  const cpuMs = cpuSecondsOf(lambda.pid()!) * 1000;
  await issue(lambda, adminToken);
  const warmMs = performance.now() - answeredAtMs;
  const peakMib = Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${lambda.pid()}/status`, "utf8"))?.[1]) / 1024;
  return { cpuMs, loadedMs: lambda.askedAtMs() - startedAtMs, answeredMs: answeredAtMs - startedAtMs, warmMs, peakMib };
}

async function issue(lambda: LambdaRuntime, adminToken: string): Promise<void> {
  const event = frontEnds["API Gateway, payload 2.0"]({
    method: "POST", path: "/v1/certificates", headers: { authorization: `Bearer ${adminToken}`, "content-type": "application/json" },
    body: JSON.stringify({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/web" } }),
  });
  const { statusCode, body } = (await lambda.invoke(event)) as { readonly statusCode: number; readonly body: string };
  if (statusCode !== 201) throw new Error(`${statusCode} ${body}`);
}

function bareStart(): ColdStart {
  const startedAtMs = performance.now();
  const { stdout } = spawnSync(oneCore[0]!, [...oneCore.slice(1), process.execPath, "-e", "const { user, system } = process.cpuUsage(); console.log((user + system) / 1000)"], { encoding: "utf8" });
  return { answeredMs: performance.now() - startedAtMs, cpuMs: Number(stdout), loadedMs: 0, warmMs: 0, peakMib: 0 };
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

const kmsVariant = "sealing key from KMS";
const oneCore = ["taskset", "-c", "0"];
const repetitions = 9;
const maxParts = 9;
