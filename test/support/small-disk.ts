import { spawnSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A file system of our own that is soon full. */
export interface SmallDisk {
  readonly path: string;
  dispose(): void;
}

/** @returns undefined where we may not mount one, which is said loudly: only root may */
export function mountSmallDisk(sizeBytes: number): SmallDisk | undefined {
  const path = mkdtempSync(join(tmpdir(), "countersign-disk-"));
  const { status, error, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes},mode=0700`, "tmpfs", path], { encoding: "utf8" });
  const remove = () => rmdirSync(path);
  if (status !== 0) {
    remove();
    console.warn(`SKIPPED: a file system cannot be mounted here (${error?.message ?? stderr.trim()}), so nothing is shown about a full disk`);
    return undefined;
  }
  return {
    path,
    dispose() {
      spawnSync("umount", ["-l", path]);
      remove();
    },
  };
}
