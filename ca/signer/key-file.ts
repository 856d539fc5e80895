import { closeSync, fstatSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { makeFolder } from "../settings/folder.ts";
import { SignerError } from "./errors.ts";

/**
 * Reads a file that holds a key or another secret, if nobody else could have.
 * @returns undefined when there is no such file
 * @throws {SignerError} key_file_exposed | key_file_unreadable
 */
export function readSecretFile(path: string, ownUid = process.geteuid?.()): string | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new SignerError(
      "key_file_unreadable",
      `cannot read the key file ${path} (${code}); check its path and owner`,
      { cause },
    );
  }
  try {
    // Looked at through the open descriptor, so that the file judged is the file read.
    const { mode, uid } = fstatSync(descriptor);
    if (ownUid !== undefined && uid !== ownUid && uid !== 0) {
      throw new SignerError(
        "key_file_exposed",
        `the key file ${path} belongs to the user with ID ${uid}, who could read or replace the key, and not to us (${ownUid}); if ` +
          `it is the right one, run: chown ${ownUid} ${path}, and consider whether the key has to be replaced`,
      );
    }
    if (isExposed(mode, uid, ownUid)) {
      const octal = (mode & 0o777).toString(8).padStart(4, "0");
      throw new SignerError(
        "key_file_exposed",
        `the key file ${path} has mode ${octal}, so others on this machine could read or replace the key; run: chmod 600 ${path} ` +
          "(in a Kubernetes volume set defaultMode: 0400), and consider whether the key has to be replaced",
      );
    }
    return readFileSync(descriptor, "utf8");
  } catch (cause) {
    if (cause instanceof SignerError) throw cause;
    throw new SignerError("key_file_unreadable", `cannot read the key file ${path}: is it a directory?`, { cause });
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Writes a secret to a new file with mode 0600, durably; an existing file is never replaced.
 * @returns false when the file exists already
 */
export function createSecretFile(path: string, content: string): boolean {
  makeFolder(dirname(path), 0o700);
  let descriptor: number;
  try {
    descriptor = openSync(path, "wx", 0o600);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw new SignerError(
      "key_file_unreadable",
      `cannot create the key file ${path}; check that its folder is writable`,
      { cause },
    );
  }
  try {
    writeSync(descriptor, content);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  syncDirectory(dirname(path));
  return true;
}

/** As libpq has it for client keys: ours alone, or root's and readable by our group (how fsGroup mounts secrets). */
function isExposed(mode: number, uid: number, ownUid: number | undefined): boolean {
  const allowed = uid === 0 && ownUid !== 0 ? 0o640 : 0o600;
  return (mode & 0o777 & ~allowed & ~0o100) !== 0;
}

/** A new name survives power loss only once its directory is on disk. */
function syncDirectory(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
