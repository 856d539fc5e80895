import { chmodSync, closeSync, fsyncSync, lstatSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

/** What a restart needs to go on as who it was. */
export interface StoredIdentity {
  /** PKCS#8. */
  readonly privateKeyPem: string;
  /** Leaf first. */
  readonly chainPem: string;
  /** Trust domain -> bundle text. */
  readonly bundles: Readonly<Record<string, string>>;
  /** Own trust domain. */
  readonly trustDomain: string;
  readonly caUrl: string;
  /** SHA-256 of the bootstrap string it descends from: another string means a new beginning. */
  readonly bootstrapHash: string | undefined;
}

export interface Keystore {
  /** Undefined when nothing was saved yet. @throws {KeystoreError} */
  load(): StoredIdentity | undefined;
  /** When it returns, the whole of it is on disk; if we die before, the identity of before is. @throws {KeystoreError} */
  save(identity: StoredIdentity): void;
}

/** `keystore_exposed`: others could have read the key. */
export type KeystoreErrorCode = "keystore_exposed" | "keystore_unreadable" | "keystore_unwritable";

export class KeystoreError extends Error {
  override readonly name = "KeystoreError";
  readonly code: KeystoreErrorCode;

  constructor(code: KeystoreErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/**
 * A folder of our own (0700, made if missing) with one file in it (0600), replaced whole.
 * @throws {KeystoreError} keystore_exposed | keystore_unwritable
 */
export function openKeystore(dir: string): Keystore {
  const path = join(dir, fileName);
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw unwritable(dir, cause);
  }
  refuseExposed(dir, "chmod 700", "folder");

  return {
    load() {
      if (!exists(path)) return undefined;
      refuseExposed(path, "chmod 600", "file");
      return parseStored(path);
    },
    save(identity) {
      const temporary = join(dir, `${fileName}.new`);
      try {
        rmSync(temporary, { force: true });
        const file = openSync(temporary, "wx", 0o600);
        try {
          writeSync(file, JSON.stringify({ version: formatVersion, ...identity }));
          fsyncSync(file);
        } finally {
          closeSync(file);
        }
        chmodSync(temporary, 0o600);
        // If we die before the rename, the file of before is whole; after it, the new one is.
        renameSync(temporary, path);
        syncFolder(dir);
      } catch (cause) {
        throw unwritable(path, cause);
      }
    },
  };
}

/** A rename is on disk only when its folder is. */
function syncFolder(dir: string): void {
  const folder = openSync(dir, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function exists(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw new KeystoreError("keystore_unreadable", `cannot look at ${path}: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
  }
}

function refuseExposed(path: string, remedy: string, kind: "file" | "folder"): void {
  const stats = lstatSync(path);
  const own = process.getuid === undefined || stats.uid === process.getuid();
  const rightKind = kind === "file" ? stats.isFile() : stats.isDirectory();
  if (!rightKind) throw new KeystoreError("keystore_exposed", `${path} is refused: it is not a plain ${kind}`);
  if (!own) throw new KeystoreError("keystore_exposed", `${path} is refused: it belongs to another user; give it to the one the proxy runs as`);
  if ((stats.mode & 0o077) !== 0) {
    const mode = (stats.mode & 0o777).toString(8);
    throw new KeystoreError("keystore_exposed",
      `${path} is refused: with mode ${mode} others may read a private key in it; run ${remedy} ${path}, and delete it and make a new token if they could have`);
  }
}

function parseStored(path: string): StoredIdentity {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new KeystoreError("keystore_unreadable", `${path} is not readable: ${(cause as NodeJS.ErrnoException).code ?? "not JSON"}; ${fresh}`);
  }
  if (!isStored(value)) throw new KeystoreError("keystore_unreadable", `${path} is not an identity of this version; ${fresh}`);
  return value;
}

function isStored(value: unknown): value is StoredIdentity {
  if (typeof value !== "object" || value === null) return false;
  const { version, privateKeyPem, chainPem, bundles, trustDomain, caUrl, bootstrapHash } = value as Record<string, unknown>;
  return version === formatVersion && typeof privateKeyPem === "string" && typeof chainPem === "string" && typeof trustDomain === "string" &&
    typeof caUrl === "string" && (bootstrapHash === undefined || typeof bootstrapHash === "string") &&
    typeof bundles === "object" && bundles !== null && Object.values(bundles).every((text) => typeof text === "string");
}

function unwritable(path: string, cause: unknown): KeystoreError {
  return new KeystoreError("keystore_unwritable", `cannot write ${path} (${(cause as NodeJS.ErrnoException).code ?? "unknown"}); the identity is in memory only`, { cause });
}

const fileName = "identity.json";
const formatVersion = 1;
const fresh = "delete it and start with a new bootstrap string";
