import { spawnSync } from "node:child_process";

/** Whether a program is installed here; tests that need another one as a second opinion are skipped without it, visibly. */
export function programAvailable(program: string): boolean {
  const available = spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
  if (!available) console.warn(`Tests that need ${program} are skipped: it is not installed here.`);
  return available;
}
