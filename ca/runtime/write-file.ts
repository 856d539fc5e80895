import { renameSync, rmSync, writeFileSync } from "node:fs";

/** Never half a file, never readable by others for a moment: written beside, then renamed. */
export function writeAtomically(path: string, content: string | Uint8Array, mode: number): void {
  const temporary = `${path}.${process.pid}.new`;
  rmSync(temporary, { force: true });
  writeFileSync(temporary, content, { mode, flag: "wx", flush: true });
  renameSync(temporary, path);
}
