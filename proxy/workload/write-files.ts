import type { Clock } from "../clock.ts";
import type { IdentitySource } from "../identity/source.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { openSwappedFolder } from "./folder.ts";
import { pemFiles, type PemFile } from "./pem-files.ts";
import { renewalRunner, type RenewalCommand } from "./renewal-command.ts";

/** Where the files go, and what is run when they have changed. */
export interface FilesConfig {
  readonly dir: string;
  readonly onRenewal: RenewalCommand | undefined;
}

/** What the files are made from and told to. */
export interface FilesDeps {
  readonly files: FilesConfig;
  readonly source: IdentitySource;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/**
 * Keeps the folder as the identity and trust of now, for servers that do TLS themselves. While there is no identity the last
 * files stay; a set that could not be written is tried again. The command runs after the first set, too: the last one may have
 * been cut short by a restart.
 * @returns    stops it
 * @throws     {ConfigError} value_refused
 */
export function writeIdentityFiles({ files: { dir, onRenewal }, source, clock, log, metrics }: FilesDeps): () => void {
  const folder = openSwappedFolder(dir);
  const runner = onRenewal && renewalRunner(onRenewal, { clock, log, metrics });
  const writes = metrics.counter("identity_files_written_total", "Sets of certificate, key and bundles written to files, by result.", ["result"]);
  let written: readonly PemFile[] | undefined;
  let due = false;
  let cancelRetry: (() => void) | undefined;
  let stopped = false;

  function write(): void {
    due = false;
    const identity = source.identity();
    const trust = source.trust();
    if (stopped || identity === undefined || trust === undefined) return;
    const { files, leftOut } = pemFiles(identity, trust);
    if (written !== undefined && sameFiles(written, files)) return;
    cancelRetry?.();
    try {
      folder.replace(files);
    } catch (error) {
      writes.inc({ result: "failed" });
      const reason = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
      log.error({ dir, reason, againInSeconds: retryMs / 1000 }, "files not written; those of before stay");
      cancelRetry = clock.after(retryMs, write);
      return;
    }
    written = files;
    writes.inc({ result: "written" });
    log.info({ dir, serialNumber: identity.serialNumber, ...(leftOut.length > 0 && { withoutFile: leftOut }) }, "identity files written");
    runner?.run();
  }

  /** A renewal is two swaps in one turn, and one set of files. */
  function schedule(): void {
    if (due) return;
    due = true;
    queueMicrotask(write);
  }

  const unsubscribe = source.onChange(schedule);
  schedule();
  return () => {
    stopped = true;
    unsubscribe();
    cancelRetry?.();
    runner?.stop();
  };
}

function sameFiles(one: readonly PemFile[], other: readonly PemFile[]): boolean {
  return one.length === other.length && one.every(({ path, text }, index) => other[index]?.path === path && other[index]?.text === text);
}

const retryMs = 30_000;
