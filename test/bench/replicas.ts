import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { Agent, get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { adminTokenOf, startCa, type RunningCa } from "../../infra/demo/processes.ts";
import { startPostgres, type PostgresServer } from "../support/postgres-server.ts";
import { cpuSecondsOfTree } from "./cpu.ts";
import { issueAll, targetOf, type Target } from "./issue.ts";
import { median, printTable } from "./load.ts";

/**
 * One replica and three on one Postgres in turn, under the same load and under as much for each replica: what a certificate costs the replicas and the database, how
 * long the log's lock is held for it, and how many a second one log would take if nothing but the lock were in the way.
 */
export async function benchReplicas(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const postgres = await startPostgres();
  const clusters: Cluster[] = [];
  try {
    const [one, three] = [await startCluster(postgres, 1, folder), await startCluster(postgres, 3, folder)];
    clusters.push(one, three);
    const cases = [{ cluster: one, connections }, { cluster: three, connections }, { cluster: three, connections: 3 * connections }];
    for (const cluster of clusters) await loadOf(cluster, connections, postgres, warmUpCount * cluster.replicas.length);
    const runs = cases.map((): Figures[] => []);
    for (let run = 0; run < repetitions; run++) {
      for (const [index, each] of cases.entries()) runs[index]!.push(await loadOf(each.cluster, each.connections, postgres, count));
    }
    const rows = cases.map(({ cluster, connections: load }, index) => {
      const of = (pick: (figures: Figures) => number) => median(runs[index]!.map(pick));
      return [
        `${cluster.replicas.length}, ${load} connections`, of(({ replicaMs }) => replicaMs).toFixed(3), of(({ databaseMs }) => databaseMs).toFixed(3), of(({ perSecond }) => perSecond).toFixed(0),
        of(({ perCommit }) => perCommit).toFixed(1), of(({ lockMs }) => lockMs).toFixed(2), of(({ perCommit, lockMs }) => (1000 * perCommit) / lockMs).toFixed(0),
      ];
    });
    printTable(
      `Replicas on one Postgres (median of ${repetitions} runs in turn)`,
      ["replicas", "CPU ms each, replicas", "CPU ms each, Postgres", "certificates/s", "acts a commit", "lock ms a commit", "saturates at /s"], rows,
    );
    for (const index of [1, 2]) {
      const ratio = (pick: (figures: Figures) => number) => (median(runs[index]!.map(pick)) / median(runs[0]!.map(pick))).toFixed(2);
      console.log(`Three with ${cases[index]!.connections} connections against one with ${connections}, CPU each: replicas ${ratio(({ replicaMs }) => replicaMs)}x, Postgres ${ratio(({ databaseMs }) => databaseMs)}x.`);
    }
  } finally {
    for (const { replicas } of clusters) for (const replica of replicas) await replica.stop();
    await postgres.stop();
    rmSync(folder, { recursive: true });
  }
}

interface Cluster {
  readonly replicas: readonly RunningCa[];
  readonly targets: readonly Target[];
}

interface Figures {
  readonly replicaMs: number;
  readonly databaseMs: number;
  readonly perSecond: number;
  readonly perCommit: number;
  readonly lockMs: number;
}

async function startCluster(postgres: PostgresServer, size: number, folder: string): Promise<Cluster> {
  const env = { COUNTERSIGN_STORE: await postgres.createDatabase(), COUNTERSIGN_SEALING_KEY: randomBytes(32).toString("base64") };
  const replicas: RunningCa[] = [];
  for (let index = 0; index < size; index++) replicas.push(await startCa({ dataDir: join(folder, `${size}-${index}`), env }));
  const token = adminTokenOf(replicas.find(({ adminTokenPath }) => existsSync(adminTokenPath))!);
  return { replicas, targets: replicas.map((replica, index) => targetOf(replica, `replica ${index}`, token)) };
}

async function loadOf({ targets }: Cluster, load: number, postgres: PostgresServer, certificates: number): Promise<Figures> {
  const share = Math.floor(certificates / targets.length);
  const cpuBefore = cpuSecondsOfTree(postgres.pid());
  const lockBefore = await lockOf(targets);
  const runs = await Promise.all(targets.map((target) => issueAll(target, share, Math.floor(load / targets.length))));
  const databaseMs = ((cpuSecondsOfTree(postgres.pid()) - cpuBefore) * 1000) / (share * targets.length);
  const lock = await lockOf(targets);
  const commits = lock.commits - lockBefore.commits;
  return {
    replicaMs: runs.reduce((sum, { cpuSecondsPer1000 }) => sum + cpuSecondsPer1000, 0) / runs.length,
    databaseMs,
    perSecond: (share * targets.length) / Math.max(...runs.map(({ seconds }) => seconds)),
    perCommit: (share * targets.length) / commits,
    lockMs: ((lock.seconds - lockBefore.seconds) * 1000) / commits,
  };
}

/** From the metrics of all replicas. */
async function lockOf(targets: readonly Target[]): Promise<{ readonly seconds: number; readonly commits: number }> {
  let [seconds, commits] = [0, 0];
  for (const { url, root, headers } of targets) {
    const text = await read(new URL("/metrics", url), root, headers);
    seconds += Number(/^countersign_store_lock_seconds_sum (\S+)$/m.exec(text)?.[1]);
    commits += Number(/^countersign_store_lock_seconds_count (\S+)$/m.exec(text)?.[1]);
  }
  return { seconds, commits };
}

function read(url: URL, ca: Buffer, headers: Readonly<Record<string, string>>): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { headers, agent: new Agent({ ca }) }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk)).on("end", () => resolve(text)).on("error", reject);
    }).on("error", reject);
  });
}

const connections = 63;
/** For each replica: code that is not compiled yet costs twice as much. */
const warmUpCount = 4_000;
const count = 6_000;
const repetitions = 3;
