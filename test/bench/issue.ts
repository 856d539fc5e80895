import { generateKeyPairSync, randomBytes, sign, verify } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeCsr } from "../../ca/pki/csr.ts";
import { encodePem } from "../../ca/pki/pem.ts";
import { paths } from "../../ca/contract/paths.ts";
import { freePort } from "../../infra/demo/place.ts";
import { adminTokenOf, startCa, type RunningCa } from "../../infra/demo/processes.ts";
import { cpuSecondsOf } from "./cpu.ts";
import { startCfssl } from "./cfssl.ts";
import { median, printTable, runLoad, type LoadResult } from "./load.ts";

/**
 * Issuing over HTTPS with the operator attestation, from this process against `countersign serve` on SQLite in another:
 * distinct P-256 CSRs made beforehand, each certificate committed durably with its audit entry before it is answered. Where
 * cfssl is installed it signs the same load in turn, without any database.
 */
export async function benchIssue(storeUrl?: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const dataDir = join(folder, "ca");
  const ca = await startCa({ dataDir, env: storeUrl === undefined ? {} : { COUNTERSIGN_STORE: storeUrl } });
  const cfssl = await startCfssl(folder, await freePort());
  try {
    const targets: Target[] = [targetOf(ca, `countersign, ${storeUrl === undefined ? "SQLite" : "Postgres"}`)];
    if (cfssl !== undefined) {
      targets.push({ ...cfssl, name: "cfssl, no database", headers: {}, body: (csr) => ({ hosts: ["app.bench"], certificate_request: encodePem("CERTIFICATE REQUEST", csr) }) });
    }
    for (const target of targets) await issueAll(target, warmUpCount, 64);
    const rows: string[][] = [];
    for (const [connections, count] of [[1, 2000], [16, 6000], [64, 12_000]] as const) {
      const runs = targets.map((): Run[] => []);
      for (let run = 0; run < repetitions; run++) {
        for (const [index, target] of targets.entries()) runs[index]!.push(await issueAll(target, count, connections));
      }
      for (const [index, target] of targets.entries()) {
        const of = (pick: (run: Run) => number) => median(runs[index]!.map(pick));
        rows.push([
          target.name, String(connections), of((run) => run.cpuSecondsPer1000).toFixed(3), of((run) => run.perSecond).toFixed(0),
          of((run) => run.p50Ms).toFixed(2), of((run) => run.p99Ms).toFixed(2),
        ]);
      }
    }
    console.log(`\nThis machine, now: one P-256 verification costs ${verificationMicroseconds().toFixed(0)} us of CPU; each certificate needs one.`);
    if (cfssl === undefined) console.log("cfssl is not installed (Debian: golang-cfssl): nothing to compare with.");
    printTable(
      `Issuing (median of ${repetitions} runs in turn; CPU of the CA process, all its threads)`,
      ["", "connections", "CPU s per 1000", "certificates/s", "p50 ms", "p99 ms"],
      rows,
    );
  } finally {
    cfssl?.stop();
    await ca.stop();
    rmSync(folder, { recursive: true });
  }
}

/** @param token  an admin's; that of the CA's own data folder if it has one */
export function targetOf(ca: RunningCa, name: string, token = adminTokenOf(ca)): Target {
  return {
    name,
    pid: ca.pid,
    url: `${ca.url}${paths.certificates}`,
    root: readFileSync(ca.rootPemPath),
    headers: { authorization: `Bearer ${token}` },
    body: (csr) => ({ csr: Buffer.from(csr).toString("base64"), attestation: { type: "operator", spiffeId: `spiffe://${ca.trustDomain}/ns/bench/sa/app` } }),
  };
}

/** A CA under load. */
export interface Target {
  readonly name: string;
  readonly pid: number;
  readonly url: string;
  readonly root: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: (csr: Uint8Array) => object;
}
export type Run = LoadResult & { readonly cpuSecondsPer1000: number };

/** Has certificates issued, all requests made beforehand. */
export async function issueAll({ pid, url, root, headers, body }: Target, count: number, connections: number): Promise<Run> {
  const bodies = Array.from({ length: count }, () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    return Buffer.from(JSON.stringify(body(encodeCsr({ privateKey }))));
  });
  const agent = new Agent({ keepAlive: true, maxSockets: connections, ca: root });
  const before = cpuSecondsOf(pid);
  const load = await runLoad(count, connections, (index) => post(url, agent, headers, bodies[index]!));
  const cpuSeconds = cpuSecondsOf(pid) - before;
  agent.destroy();
  return { ...load, cpuSecondsPer1000: (cpuSeconds / count) * 1000 };
}

function post(url: string, agent: Agent, headers: Readonly<Record<string, string>>, body: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { method: "POST", agent, headers: { ...headers, "content-type": "application/json", "content-length": body.length } },
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

/** V8 compiles anew up to here; a CA that is busy enough for its cost to matter is far beyond. */
const warmUpCount = 30_000;
const repetitions = 3;
