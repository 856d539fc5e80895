import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "../bundle.ts";
import { softwareBill } from "./sbom.ts";

/** The images that ship. */
export type ImageName = "ca" | "proxy";

/**
 * Lays out all files of an image but Node.js and its C libraries: `/app`, and for the CA an empty `/data`.
 * The Dockerfiles copy what this makes, and tests start programs from it.
 */
async function layOutImage(name: ImageName, folder: string): Promise<void> {
  const app = join(folder, "app");
  const metafile = await bundle(name, join(app, "dist"));
  writeFileSync(join(app, "package.json"), `${JSON.stringify({ private: true, type: "module" })}\n`);
  cpSync(join(root, "LICENSE"), join(app, "LICENSE"));
  if (name === "ca") {
    for (const kind of ["sqlite", "postgres"]) {
      cpSync(join(root, "migrations", kind), join(app, "migrations", kind), { recursive: true, filter: (path) => !path.endsWith("_snapshot.json") });
    }
    copySqlite(app);
    mkdirSync(join(folder, "data"), { recursive: true, mode: 0o700 });
  }
  writeFileSync(join(app, "sbom.cdx.json"), `${JSON.stringify(softwareBill(name, metafile, root), null, 2)}\n`);
}

/** Without its C sources and the builds for other systems, which are nine tenths of it. */
function copySqlite(app: string): void {
  const [from, to] = [join(root, "node_modules/better-sqlite3"), join(app, "node_modules/better-sqlite3")];
  for (const path of ["package.json", "LICENSE", "lib", join("prebuilds", `${process.platform}-${process.arch}.node`)]) {
    cpSync(join(from, path), join(to, path), { recursive: true, dereference: true });
  }
}

const root = fileURLToPath(new URL("../..", import.meta.url));

if (import.meta.main) {
  const [name, folder] = process.argv.slice(2);
  if ((name !== "ca" && name !== "proxy") || folder === undefined) throw new Error("usage: node infra/containers/image.ts ca|proxy FOLDER");
  await layOutImage(name, folder);
}
