import { openSqlite } from "./sqlite.ts";
import { isPostgresUrl, sqlitePath, unknownScheme } from "./store-url.ts";
import type { LogSealer } from "./rows/log.ts";
import type { Store } from "./store.ts";

export interface OpenStoreOptions {
  /** `sqlite:/path/to/file.db` or `postgres://user:password@host/database`. */
  readonly url: string;
  /** Unlocks the store at once; without it `unlock` must come before the first commit. */
  readonly sealer?: LogSealer;
  /** Holds the migrations of this kind of database; default: those of the repository. */
  readonly migrationsFolder?: string;
  /** False: the tables of a Postgres must be there already, of this version. */
  readonly migrate?: boolean;
  /** Told how long each commit held the log's writer lock: no other replica can write meanwhile. */
  readonly onLocked?: ((lockedMs: number) => void) | undefined;
  /** For looking only: nothing is created, migrated or locked, and `commit` is refused. */
  readonly readOnly?: boolean;
  /** For a process that may be frozen between requests (see PostgresOptions); nothing where the store is SQLite. */
  readonly onDemand?: boolean;
}

/**
 * Opens the store that a URL names, makes it ready (tables, permissions) and checks the head of its log.
 * @throws {StoreError} store_unavailable | log_inconsistent
 */
export async function openStore({ url, sealer, ...options }: OpenStoreOptions): Promise<Store> {
  const store = await openByScheme(url, options);
  if (sealer === undefined) return store;
  try {
    await store.unlock(sealer);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function openByScheme(url: string, options: Omit<OpenStoreOptions, "url" | "sealer">): Promise<Store> {
  if (url.startsWith("sqlite:")) return openSqlite({ path: sqlitePath(url), ...options });
  if (isPostgresUrl(url)) {
    // Loaded when it is asked for: a CA on SQLite starts without the driver.
    const { openPostgres } = await import("./postgres.ts");
    return openPostgres({ url, ...options });
  }
  throw unknownScheme();
}
