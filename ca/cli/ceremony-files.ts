import { existsSync, readFileSync } from "node:fs";
import { AuthorityError } from "../authority/errors.ts";
import { CeremonyError } from "../ceremony/errors.ts";
import { PkiError } from "../pki/errors.ts";
import { Refusal } from "../refusal.ts";
import { ConfigError } from "../settings/errors.ts";
import { SignerError } from "../signer/errors.ts";
import { StoreError } from "../store/errors.ts";
import type { CliIo } from "./io.ts";
import { wrap } from "../settings/wrap.ts";

/** Runs a step of a ceremony and says what is wrong; the exit code is then 1. */
export async function explainedCeremony(io: CliIo, run: () => Promise<void>): Promise<number> {
  try {
    await run();
    return 0;
  } catch (error) {
    if (!expected.some((kind) => error instanceof kind)) throw error;
    io.stderr(`${wrap(`countersign ceremony: ${(error as Error).message}`)}\n`);
    return 1;
  }
}

/** @throws {CeremonyError} file_unusable */
export function readWholeFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new CeremonyError("file_unusable", `cannot read ${path} (${(cause as NodeJS.ErrnoException).code})`, { cause });
  }
}

/**
 * A ceremony replaces no file: what is there may be another ceremony's only copy.
 * @throws {CeremonyError} file_unusable
 */
export function refuseExisting(path: string): void {
  if (existsSync(path)) throw new CeremonyError("file_unusable", `${path} exists already; choose another name, nothing was done`);
}

const expected = [CeremonyError, AuthorityError, ConfigError, PkiError, Refusal, SignerError, StoreError];
