import { generateKeyPairSync, randomBytes, sign, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeCsr } from "../../ca/pki/csr.ts";
import { paths } from "../../ca/contract.ts";
import { adminTokenOf, startCa } from "../../infra/demo/processes.ts";
import { cpuSecondsOf } from "./cpu.ts";
import { median, printTable, runLoad } from "./load.ts";

/**
 * Issuing over HTTPS with the operator attestation, from this process against `countersign serve` on SQLite in another:
 * distinct P-256 CSRs made beforehand, each certificate committed durably with its audit entry before it is answered.
 */
export async function benchIssue(storeUrl?: string): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const ca = await startCa({ dataDir, env: storeUrl === undefined ? {} : { COUNTERSIGN_STORE: storeUrl } });
  try {
    const root = readFileSync(ca.rootPemPath);
    const authorization = `Bearer ${adminTokenOf(ca)}`;
    const issueAll = async (count: number, connections: number) => {
      const bodies = Array.from({ length: count }, () => requestBody(ca.trustDomain));
      const agent = new Agent({ keepAlive: true, maxSockets: connections, ca: root });
      const before = cpuSecondsOf(ca.pid);
      const load = await runLoad(count, connections, (index) => post(`${ca.url}${paths.certificates}`, agent, authorization, bodies[index]!));
      const cpuSeconds = cpuSecondsOf(ca.pid) - before;
      agent.destroy();
      return { ...load, cpuSecondsPer1000: (cpuSeconds / count) * 1000 };
    };
    await issueAll(warmUpCount, 64);
    const rows: string[][] = [];
    for (const [connections, count] of [[1, 2000], [16, 6000], [64, 12_000]] as const) {
      const runs: Awaited<ReturnType<typeof issueAll>>[] = [];
      for (let run = 0; run < repetitions; run++) runs.push(await issueAll(count, connections));
      const of = (pick: (run: Awaited<ReturnType<typeof issueAll>>) => number) => median(runs.map(pick));
      rows.push([
        String(connections), of((run) => run.cpuSecondsPer1000).toFixed(3), of((run) => run.perSecond).toFixed(0),
        of((run) => run.p50Ms).toFixed(2), of((run) => run.p99Ms).toFixed(2),
      ]);
    }
    console.log(`\nThis machine, now: one P-256 verification costs ${verificationMicroseconds().toFixed(0)} us of CPU; each certificate needs one.`);
    printTable(
      `Issuing, ${storeUrl === undefined ? "SQLite" : "Postgres"} (median of ${repetitions} runs; CPU of the CA process, all its threads)`,
      ["connections", "CPU s per 1000", "certificates/s", "p50 ms", "p99 ms"],
      rows,
    );
  } finally {
    await ca.stop();
    rmSync(dataDir, { recursive: true });
  }
}

function requestBody(trustDomain: string): Buffer {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const csr = Buffer.from(encodeCsr({ privateKey })).toString("base64");
  return Buffer.from(JSON.stringify({ csr, attestation: { type: "operator", spiffeId: `spiffe://${trustDomain}/ns/bench/sa/app` } }));
}

function post(url: string, agent: Agent, authorization: string, body: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { method: "POST", agent, headers: { authorization, "content-type": "application/json", "content-length": body.length } },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk)).on("error", reject).on("end", () => {
          if (response.statusCode === 201 || response.statusCode === 200) return resolve();
          reject(new Error(`issuing was answered ${response.statusCode}: ${text}`));
        });
      },
    );
    outgoing.on("error", reject).end(body);
  });
}

/** What the dearest single step costs here and now: the figure to compare machines, and hours, by. */
function verificationMicroseconds(): number {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const message = randomBytes(300);
  const signature = sign("sha256", message, privateKey);
  const before = process.cpuUsage();
  for (let count = 0; count < 2000; count++) verify("sha256", message, publicKey, signature);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 2000;
}

const warmUpCount = 6000;
const repetitions = 3;
