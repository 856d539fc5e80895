import { BackupError } from "../backup/errors.ts";
import { readConfig, type CaConfig } from "../config/config.ts";
import { ConfigError } from "../settings/errors.ts";
import { SignerError } from "../signer/errors.ts";
import { readSecretFile } from "../signer/key-file.ts";
import { StoreError } from "../store/errors.ts";
import { UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { wrap } from "../settings/wrap.ts";

/** What `backup` and `restore` take in common. */
export const backupOptions = {
  store: { type: "string" }, "data-dir": { type: "string" }, config: { type: "string" }, "passphrase-file": { type: "string" },
} as const;
type Given = Readonly<Partial<Record<keyof typeof backupOptions, string | undefined>>>;

/** @throws {ConfigError} */
export function readBackupConfig({ store, "data-dir": folder, config }: Given, io: CliIo): CaConfig {
  return readConfig({ flags: { store, "data-dir": folder, config }, env: io.env });
}

/**
 * From the file, which must be its owner's alone, or from the environment: a command line is readable by every process.
 * @throws {UsageError | SignerError}
 */
export function readPassphrase({ "passphrase-file": path }: Given, io: CliIo): string {
  const passphrase = path === undefined ? io.env["COUNTERSIGN_BACKUP_PASSPHRASE"] : readSecretFile(path)?.replace(/\r?\n$/, "");
  if (passphrase !== undefined && passphrase !== "") return passphrase;
  throw new UsageError(path === undefined
    ? "a passphrase is needed: set COUNTERSIGN_BACKUP_PASSPHRASE, or give --passphrase-file FILE."
    : `there is no passphrase in ${path}.`);
}

/** Runs it and says what is wrong; the exit code is then 1. */
export async function explained(command: string, io: CliIo, run: () => Promise<void>): Promise<number> {
  try {
    await run();
    return 0;
  } catch (error) {
    if (![BackupError, ConfigError, StoreError, SignerError].some((kind) => error instanceof kind)) throw error;
    io.stderr(`${wrap(`countersign ${command}: ${(error as Error).message}`)}\n`);
    return 1;
  }
}
