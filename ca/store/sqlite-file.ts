import { accessSync, closeSync, constants, openSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { migrate } from "drizzle-orm/better-sqlite3/migrator";
import { makeFolder } from "../settings/folder.ts";
import { closeFile, closeFolder } from "./file-access.ts";
import { describe } from "./reads.ts";
import { logHead } from "./schema-sqlite.ts";
import { StoreError } from "./errors.ts";

/**
 * Makes the database ready for use: the directory (mode 0700) and the file (0600) if they are not there, then the migrations
 * that it lacks.
 * @throws {StoreError} store_unavailable for a network file system, for a path that cannot be written, and for one that others may write
 */
export function prepareSqliteFile(path: string, migrationsFolder: string): void {
  try {
    makeFolder(dirname(path), 0o700);
    refuse(closeFolder(dirname(path)));
    // A planted write-ahead log would be taken into the database.
    for (const file of [path, `${path}-wal`, `${path}-shm`]) refuse(closeFile(file));
    // SQLite gives its -wal and -shm files the mode of the database.
    closeSync(openSync(path, "a", 0o600));
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    throw new StoreError("store_unavailable", `The database ${path} cannot be created or written. Give the CA's user the right to, or name another path.`, { cause });
  }
  refuseNetworkFileSystem(path);
  for (let attempt = 1; ; attempt++) {
    try {
      migrateSqlite(path, migrationsFolder);
      return;
    } catch (cause) {
      // Drizzle reads what is applied before it takes the lock: of two processes that start at once, one finds the tables made.
      if (attempt === maxMigrationAttempts) {
        if (freeBytes(path) < leastFreeBytes) throw new StoreError("store_unavailable", `The database ${path} cannot be made or brought up to date: its disk is full. Make room, or name another place.`, { cause });
        throw new StoreError("store_unavailable", `The tables of ${path} cannot be brought up to date from ${migrationsFolder} (${describe(cause)}). Look whether it is a database of the CA and that no newer version has used it.`, { cause });
      }
    }
  }
}

/**
 * Refuses what is not there or not ours to read, before SQLite says of all of it that it is unable to open the file.
 * @throws {StoreError} store_unavailable
 */
export function requireReadable(path: string): void {
  try {
    accessSync(path, constants.R_OK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new StoreError("store_unavailable", code === "ENOENT"
      ? `There is no database at ${path}. Start the CA once, or name the right path.`
      : `The database ${path} cannot be read (${code}). Look at its path, or run this as the CA's user.`, { cause });
  }
}

function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(dirname(path));
  return bavail * bsize;
}

function refuse(why: string | undefined): void {
  if (why !== undefined) throw new StoreError("store_unavailable", `The database is not opened: ${why}.`);
}

function migrateSqlite(path: string, migrationsFolder: string): void {
  const database = new Database(path, { timeout: migrationLockTimeoutMs });
  try {
    database.pragma("journal_mode = WAL");
    const db = drizzle(database);
    migrate(db, { migrationsFolder });
    db.insert(logHead).values({ id: 1, size: 0, hashes: Buffer.alloc(0) }).onConflictDoNothing().run();
  } finally {
    database.close();
  }
}

/** WAL mode needs memory shared by all that use the file, which no network file system has. (SQLite documentation, WAL) */
function refuseNetworkFileSystem(path: string): void {
  const name = networkFileSystems.get(statfsSync(path).type);
  if (name === undefined) return;
  throw new StoreError("store_unavailable", `The database ${path} is on ${name}, a network file system, where SQLite can lose data. Use a local disk, or Postgres.`);
}

/** Magic numbers of statfs(2). */
const networkFileSystems: ReadonlyMap<number, string> = new Map([[0x6969, "NFS"], [0xff534d42, "CIFS"], [0xfe534d42, "SMB2"], [0x517b, "SMB"]]);
const migrationLockTimeoutMs = 10_000;
const maxMigrationAttempts = 3;
/** What the tables of an empty store take, and their write-ahead log. */
const leastFreeBytes = 1024 * 1024;
