import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Where the migrations of a database are: two folders up in the repository, one folder up from the bundle of an installed package. */
export function migrationsOf(kind: "sqlite" | "postgres"): string {
  const inRepository = fileURLToPath(new URL(`../../migrations/${kind}`, import.meta.url));
  return existsSync(inRepository) ? inRepository : fileURLToPath(new URL(`../migrations/${kind}`, import.meta.url));
}
