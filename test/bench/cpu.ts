import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/**
 * CPU seconds (user and system, all threads) that a process has used so far.
 * @source proc(5): fields 14 and 15 of /proc/<pid>/stat, in clock ticks
 */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The command name is in parentheses and may hold spaces: count fields from behind it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** The same of a process and its children, those that have ended included. */
export function cpuSecondsOfTree(pid: number): number {
  let seconds = 0;
  for (const each of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${each}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
      const [own, ofEnded] = [fields[11]! + fields[12]!, fields[13]! + fields[14]!];
      if (Number(each) === pid) seconds += (own + ofEnded) / ticksPerSecond;
      else if (fields[1] === pid) seconds += own / ticksPerSecond;
    } catch {
      // It has ended since.
    }
  }
  return seconds;
}

/** Resident memory in MiB. */
export function residentMebibytesOf(pid: number): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0) / 1024;
}

const ticksPerSecond = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));
