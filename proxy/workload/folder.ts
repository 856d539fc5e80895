import {
  chmodSync, closeSync, fchmodSync, fsyncSync, mkdirSync, mkdtempSync, openSync, readdirSync, readlinkSync, renameSync, rmSync, statSync, symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { makeFolder } from "../../ca/settings/folder.ts";
import { refused } from "../config/sources.ts";
import { federatedFolder, topLevelNames, type PemFile } from "./pem-files.ts";

/** A folder that shows one whole set of files at a time. */
export interface SwappedFolder {
  /**
   * When it returns, every name shows the new set and it is on disk; when it throws, or if we die in it, every name shows one
   * set, the old or the new.
   */
  replace(files: readonly PemFile[]): void;
}

/**
 * Opens a folder, made if missing, whose names are links through `..data` to a folder for each version, so that one rename
 * changes all of them.
 * @throws {ConfigError} value_refused: others may write to it, or a name is taken by something that is not ours
 * @source Kubernetes pkg/volume/util/atomic_writer.go
 */
export function openSwappedFolder(dir: string): SwappedFolder {
  try {
    makeFolder(dir, 0o755);
  } catch (cause) {
    throw refused("writeDir", dir, `it cannot be made (${(cause as NodeJS.ErrnoException).code})`);
  }
  refuseUnsafe(dir);
  const data = join(dir, dataLink);

  return {
    replace(files) {
      const version = mkdtempSync(join(dir, versionPrefix));
      try {
        mkdirSync(join(version, federatedFolder));
        for (const { path, text, mode } of files) writeSynced(version, path, text, mode);
        for (const folder of [join(version, federatedFolder), version]) {
          chmodSync(folder, 0o755);
          syncFolder(folder);
        }
        const next = join(dir, nextLink);
        rmSync(next, { force: true });
        symlinkSync(basename(version), next);
        // If we die before the rename, every name shows the old set; after it, the new one.
        renameSync(next, data);
      } catch (error) {
        rmSync(version, { recursive: true, force: true });
        throw error;
      }
      // Only the first set of all finds no names; they lead through ..data, so they are made once.
      for (const name of topLevelNames) if (!isOurs(dir, name)) symlinkSync(join(dataLink, name), join(dir, name));
      syncFolder(dir);
      removeOthers(dir, basename(version));
    },
  };
}

/** What a version that was replaced, or cut short by a crash, leaves behind: old keys must not stay. */
function removeOthers(dir: string, present: string): void {
  for (const name of readdirSync(dir)) {
    if (name.startsWith(versionPrefix) && name !== present) rmSync(join(dir, name), { recursive: true, force: true });
  }
}

function writeSynced(version: string, path: string, text: string, mode: number): void {
  const file = openSync(join(version, path), "wx", 0o600);
  try {
    writeFileSync(file, text);
    // Not by open: the umask of whoever started us would take bits away.
    fchmodSync(file, mode);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function refuseUnsafe(dir: string): void {
  const { mode, uid } = statSync(dir);
  if (process.getuid !== undefined && uid !== process.getuid()) {
    throw refused("writeDir", dir, "it belongs to another user, who could put another key into it; give it to the one the proxy runs as");
  }
  if ((mode & 0o022) !== 0) throw refused("writeDir", dir, `others may write to it, so they could put another key into it; run chmod 755 ${dir}`);
  for (const name of topLevelNames) isOurs(dir, name);
}

/** False when there is nothing of this name. */
function isOurs(dir: string, name: string): boolean {
  try {
    if (readlinkSync(join(dir, name)) === join(dataLink, name)) return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return false;
    if (code !== "EINVAL") throw error; // EINVAL: it is not a link
  }
  throw refused("writeDir", dir, `${name} in it was not made by this proxy; move it away, or choose another folder`);
}

const dataLink = "..data";
const nextLink = "..data_next";
const versionPrefix = "..version-";
