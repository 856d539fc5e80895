import { isPostgresUrl, sqlitePath, unknownScheme } from "./store-url.ts";
import type { TableSource, TableTarget } from "./table-copy.ts";

/**
 * Every table of the store that a URL names.
 * @param exclusive  refuses a store that a CA is using
 * @throws {StoreError} store_unavailable
 */
export async function openTableSource(url: string, options: { readonly exclusive: boolean }): Promise<TableSource> {
  if (url.startsWith("sqlite:")) return (await import("./sqlite-tables.ts")).openSqliteSource(sqlitePath(url), options);
  if (isPostgresUrl(url)) return (await import("./postgres-tables.ts")).openPostgresSource(url, options);
  throw unknownScheme();
}

/**
 * The store that a URL names, to fill: made where there is none, refused when there is anything in it.
 * @throws {StoreError} store_unavailable
 */
export async function openTableTarget(url: string): Promise<TableTarget> {
  if (url.startsWith("sqlite:")) return (await import("./sqlite-tables.ts")).openSqliteTarget(sqlitePath(url));
  if (isPostgresUrl(url)) return (await import("./postgres-tables.ts")).openPostgresTarget(url);
  throw unknownScheme();
}
