import { StoreError } from "./errors.ts";

/** @throws {StoreError} store_unavailable */
export function sqlitePath(url: string): string {
  const path = url.slice("sqlite:".length).replace(/^\/\/\//, "/");
  if (path === "" || path.startsWith("//")) throw new StoreError("store_unavailable", `${url} does not name a file. Write sqlite:/path/to/file.db.`);
  return path;
}

/** Whether a store's URL names a Postgres. */
export function isPostgresUrl(url: string): boolean {
  return /^postgres(ql)?:/.test(url);
}

/** What is thrown for a URL of another kind of store. */
export function unknownScheme(): StoreError {
  // The URL itself may hold a password, so it is not repeated.
  return new StoreError("store_unavailable", "The store's URL starts neither with sqlite: nor with postgres:. Write sqlite:/path/to/file.db or postgres://user@host/database.");
}
