import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** False where there is no openssl command: tests that need it as a second opinion are then skipped, visibly. */
export const opensslAvailable: boolean = spawnSync("openssl", ["version"]).status === 0;

export interface OpensslResult {
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs openssl in a folder of its own that holds `files` and is gone afterwards; file names are used as they are.
 * @returns what it printed; a status other than 0 does not throw
 */
export function openssl(args: readonly string[], files: Readonly<Record<string, string | Uint8Array>> = {}): OpensslResult {
  const folder = mkdtempSync(join(tmpdir(), "countersign-openssl-"));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content, { mode: 0o600 });
    const { status, stdout, stderr } = spawnSync("openssl", [...args], { cwd: folder, encoding: "utf8", timeout: 20_000 });
    return { ok: status === 0, stdout, stderr };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
