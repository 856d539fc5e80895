import { createReadStream, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { CarriedFile } from "../backup/backup.ts";
import { BackupError } from "../backup/errors.ts";
import { restore as restoreFrom } from "../backup/restore.ts";
import type { CaConfig } from "../config/config.ts";
import { ConfigError } from "../settings/errors.ts";
import { createSecretFile, readSecretFile } from "../signer/key-file.ts";
import { openTableTarget } from "../store/open-tables.ts";
import { noMore, readArguments, required } from "./arguments.ts";
import { adminTokenName, sealingKeyName } from "./backup.ts";
import { backupOptions, explained, readBackupConfig, readPassphrase } from "./backup-options.ts";
import type { CliIo } from "./io.ts";
import { withProgress } from "./progress.ts";
import { wrap } from "../settings/wrap.ts";

/**
 * `countersign restore`: fills an empty store from a backup.
 * @returns the exit code: 0 restored and verified, 1 it could not be, and nothing was written
 * @throws {UsageError}
 */
export async function restore(args: readonly string[], io: CliIo): Promise<number> {
  const { values: options, positionals } = readArguments(args, {
    ...backupOptions, from: { type: "string" }, checkpoint: { type: "string", multiple: true },
  });
  if (options.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(positionals);
  const path = required(options.from, "--from", "countersign.backup");
  return explained("restore", io, async () => {
    const passphrase = readPassphrase(options, io);
    const config = readBackupConfig(options, io);
    const checkpoints = (options.checkpoint ?? []).map(readText);
    if (!existsSync(path)) throw new BackupError("file_unusable", `there is no file ${path}`);
    const saved: string[] = [];
    try {
      const { rows, size, trustDomain, createdAt } = await withProgress(io, (onProgress) => restoreFrom({
        sealed: createReadStream(path, { highWaterMark: readBytes }), passphrase, checkpoints,
        target: () => openTableTarget(config.storeUrl),
        saveFiles: (files) => saveFiles(files, config, saved),
        onProgress,
      }));
      io.stdout(`${wrap(`The CA of ${trustDomain} as it was at ${createdAt}: ${rows} rows, ${size} entries in the audit log, which verifies.`)}\n${next}`);
    } catch (error) {
      for (const each of saved) rmSync(each, { force: true });
      throw error;
    }
  });
}

/** Never over another key: what that one sealed would be lost. */
function saveFiles(files: readonly CarriedFile[], { sealingKeyPath, dataDir }: CaConfig, saved: string[]): void {
  for (const { name, content } of files) {
    const path = name === sealingKeyName ? sealingKeyPath : name === adminTokenName ? join(dataDir, adminTokenName) : undefined;
    if (path === undefined) continue;
    if (createSecretFile(path, content)) saved.push(path);
    else if (readSecretFile(path) !== content) {
      throw new BackupError("restore_refused", `there is another ${name} at ${path}; move it away, or name another --data-dir. Nothing was restored`);
    }
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new ConfigError("file_unreadable", `cannot read the checkpoint ${path} (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
}

const readBytes = 256 * 1024;
const next = `What was issued or revoked after that moment is not in it. If the CA that was
backed up still runs anywhere, stop it before you start this one.
`;

const usage = `countersign restore: a CA out of its backup.

  countersign restore --from countersign.backup

Fills an empty store, verifies the audit log in it, and only then commits: a
file that was altered or cut off, or a wrong passphrase, leaves nothing behind.

  --from FILE             what "countersign backup" wrote
  --passphrase-file FILE  or COUNTERSIGN_BACKUP_PASSPHRASE
  --checkpoint FILE       a checkpoint kept elsewhere, which the log must
                          contain; may be repeated
  --store URL             COUNTERSIGN_STORE
  --data-dir DIR          COUNTERSIGN_DATA_DIR                (./.countersign)
  --config FILE           COUNTERSIGN_CONFIG
`;
