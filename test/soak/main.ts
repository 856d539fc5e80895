// `npm run soak [-- --idle 10000 --rotations 1000 --trouble 15]`: what a proxy is put through in a year, in some minutes.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { endure } from "./endurance.ts";
import { judge } from "./judge.ts";

const otherDescriptors = 500;
const { values } = parseArgs({
  options: { idle: { type: "string", default: "10000" }, rotations: { type: "string", default: "1000" }, trouble: { type: "string", default: "10" } },
});
const idleConnections = Math.min(Number(values.idle), mostConnections());
if (idleConnections < Number(values.idle)) console.log(`${idleConnections} idle connections: more do not fit into the descriptors of a process here, see ulimit -Hn`);
const result = await endure({
  idleConnections, rotations: Number(values.rotations), troubleMs: Number(values.trouble) * 1000, scale: 10, report: (line) => console.log(line),
});

/** Each takes a descriptor on the way in and one on the way out. */
function mostConnections(): number {
  const [, limit] = /^Max open files +\S+ +(\d+)/m.exec(process.platform === "linux" ? readFileSync("/proc/self/limits", "utf8") : "") ?? [];
  return limit === undefined ? Infinity : Math.floor((Number(limit) - otherDescriptors) / 2);
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
for (const [name, { before, after, rotations }] of Object.entries(result.measures)) {
  console.log(`${name}, ${rotations} rotations: heap ${mebibytes(before.heapBytes)} -> ${mebibytes(after.heapBytes)}, RSS ${mebibytes(before.rssBytes)} -> ${mebibytes(after.rssBytes)}, descriptors ${before.descriptors} -> ${after.descriptors}`);
}
for (const [name, bytes] of Object.entries(result.idle.rssBytesPerConnection)) {
  console.log(`${name}: ${result.idle.connections} idle connections, ${mebibytes(bytes * 1000)} of RSS per 1000`);
}
const faults = judge(result);
for (const fault of faults) console.error(`× ${fault}`);
console.log(`${result.done} requests and answers, ${result.failures.length} failures`);
process.exit(faults.length === 0 ? 0 : 1);
