// `npm run demo`: Countersign at work, in real processes; every step is checked as it is shown. `-- --clusters 3` shows three clusters
// that are federated, `-- --once` ends with the last step, with the exit code 1 when one did not hold.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { showThreeClusters } from "./clusters/three-clusters.ts";
import { showOneCluster } from "./one-cluster.ts";
import type { RunningProcess } from "./processes.ts";
import { showOnTerminal } from "./showing.ts";
import type { Stage } from "./stage.ts";

const demos: Readonly<Record<string, (stage: Stage) => Promise<void>>> = { 1: showOneCluster, 3: showThreeClusters };
const { values: { once, clusters } } = parseArgs({ options: { once: { type: "boolean", default: false }, clusters: { type: "string", default: "1" } } });
const demo = demos[clusters];
if (demo === undefined) {
  console.error(`There is a demo with 1 cluster and one with 3, none with ${clusters}.`);
  process.exit(2);
}
const dataDir = mkdtempSync(join(tmpdir(), "countersign-demo-"));
// Dozens of processes run the same sources: what Node.js compiles of them once is good for all.
process.env["NODE_COMPILE_CACHE"] ??= join(dataDir, "compiled");
const running: Pick<RunningProcess, "stop">[] = [];
const ends: (() => void)[] = [() => rmSync(dataDir, { recursive: true, force: true })];
const showing = showOnTerminal();

async function end(code: number): Promise<never> {
  await Promise.all(running.map((process) => process.stop()));
  for (const act of ends.reverse()) act();
  process.exit(code);
}

process.once("SIGINT", () => void end(130));
process.once("SIGTERM", () => void end(143));

try {
  await demo({
    showing, dataDir, once,
    keep(process) {
      running.push(process);
      return process;
    },
    atEnd: (act) => void ends.push(act),
  });
} catch (error) {
  showing.fail(error);
}
const failed = showing.failed();
if (failed > 0) console.error(`\n${failed} ${failed === 1 ? "step" : "steps"} did not hold.`);
if (once || failed > 0) await end(failed > 0 ? 1 : 0);
console.log("\nAll of it is running. Ctrl-C ends it and removes what it wrote.");
