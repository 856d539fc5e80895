import { open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { backup as backupOf, type CarriedFile } from "../backup/backup.ts";
import { BackupError } from "../backup/errors.ts";
import { requirePassphrase } from "../backup/sealed-stream.ts";
import type { CaConfig } from "../config/config.ts";
import { readSecretFile } from "../signer/key-file.ts";
import { openTableSource } from "../store/open-tables.ts";
import { noMore, readArguments, required } from "./arguments.ts";
import { backupOptions, explained, readBackupConfig, readPassphrase } from "./backup-options.ts";
import type { CliIo } from "./io.ts";
import { withProgress } from "./progress.ts";

/**
 * `countersign backup`: everything the CA is, in one sealed file; the CA may go on meanwhile.
 * @returns the exit code: 0 written, 1 it could not be
 * @throws {UsageError}
 */
export async function backup(args: readonly string[], io: CliIo): Promise<number> {
  const { values: options, positionals } = readArguments(args, { ...backupOptions, out: { type: "string" } });
  if (options.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(positionals);
  const path = required(options.out, "--out", "countersign.backup");
  return explained("backup", io, async () => {
    const passphrase = readPassphrase(options, io);
    requirePassphrase(passphrase);
    const config = readBackupConfig(options, io);
    const files = carriedFiles(config);
    const source = await openTableSource(config.storeUrl, { exclusive: false });
    try {
      const sizeBytes = await withProgress(io, (onProgress) => writeNewFile(path, backupOf({ source, files, passphrase, now: new Date(), onProgress })));
      io.stdout(`${path}: ${sizeBytes} bytes, with ${["the store", ...files.map(({ name }) => name)].join(", ")}.\n`);
    } finally {
      await source.close();
    }
    if (!files.some(({ name }) => name === sealingKeyName)) {
      io.stdout("The sealing key is not in it, for it is not a file here: keep it elsewhere.\n");
    }
  });
}

/** The secrets of the data folder that nothing else could bring back. */
function carriedFiles({ sealingKey, sealingKeyPath, dataDir }: CaConfig): readonly CarriedFile[] {
  const read = (name: string, path: string) => {
    const content = readSecretFile(path);
    return content === undefined ? [] : [{ name, content }];
  };
  return [...(sealingKey === undefined ? read(sealingKeyName, sealingKeyPath) : []), ...read(adminTokenName, join(dataDir, adminTokenName))];
}

/** Written beside and then renamed: there is never half a backup under that name. */
async function writeNewFile(path: string, bytes: AsyncIterable<Uint8Array>): Promise<number> {
  const temporary = `${path}.${process.pid}.new`;
  try {
    // Taken at once, so that nothing is overwritten in the end.
    await (await open(path, "wx", 0o600)).close();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new BackupError("file_unusable", code === "EEXIST" ? `${path} exists; a backup replaces no file, choose another name` : `${path} cannot be written (${code}); name a file in a folder that is there and yours`, { cause });
  }
  try {
    const file = await open(temporary, "wx", 0o600);
    let sizeBytes = 0;
    try {
      for await (const chunk of bytes) {
        await file.appendFile(chunk);
        sizeBytes += chunk.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    const folder = await open(dirname(path));
    await folder.sync().finally(() => folder.close());
    return sizeBytes;
  } catch (error) {
    await Promise.all([temporary, path].map((each) => rm(each, { force: true })));
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw new BackupError("file_unusable", `the backup cannot be written to ${path} (${(error as NodeJS.ErrnoException).code}); nothing is left there`, { cause: error });
  }
}

export const sealingKeyName = "sealing.key";
export const adminTokenName = "admin-token";

const usage = `countersign backup: everything the CA is, in one sealed file.

  countersign backup --out countersign.backup

Every row of the store at one instant, the sealing key and the first admin's
token where they are files. Whoever has the file and the passphrase has the
CA: keep them apart. The CA may go on meanwhile. Keys in KMS, on a PKCS#11
token or offline are not in it.

Then, anywhere: countersign restore --from countersign.backup

  --out FILE              made new, readable by you alone
  --passphrase-file FILE  or COUNTERSIGN_BACKUP_PASSPHRASE; 12 characters at
                          the least
  --store URL             COUNTERSIGN_STORE
  --data-dir DIR          COUNTERSIGN_DATA_DIR                (./.countersign)
  --config FILE           COUNTERSIGN_CONFIG
`;
