import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Where the migrations of a database are: two folders up in the repository, one up from the bundle of an installed package, beside that of a function. */
export function migrationsOf(kind: "sqlite" | "postgres"): string {
  const places = ["../..", "..", "."].map((up) => fileURLToPath(new URL(`${up}/migrations/${kind}`, import.meta.url)));
  return places.find((place) => existsSync(place)) ?? places[0]!;
}
