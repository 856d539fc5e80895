import { build, type BuildOptions, type Metafile } from "esbuild";
import { hash } from "node:crypto";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** The bundles that ship, by name, and whatever it may not carry is a test (test/structure.test.ts). */
export const bundles = {
  ca: {
    entryPoints: { countersign: "ca/main.ts", "sqlite-writer": "ca/store/sqlite-writer.ts", "pkcs11-call": "ca/signer/pkcs11-call.ts", "graph-thread": "ca/dashboard/graph-thread.ts" },
    // Native code stays outside; pg-native is an optional add-on that we do not use.
    external: ["better-sqlite3", "pg-native"],
  },
  /** The CA as a function, without SQLite: one file, which `lambdaEntry` runs. The rest of its folder: `functionPackage`. */
  lambda: {
    entryPoints: { countersign: "ca/runtime/lambda-function.ts" }, external: ["pg-native"], outExtension: { ".js": ".cjs" }, format: "cjs", minify: true, mainFields: ["module", "main"],
    // What imports of Node.js's own modules become is require: a script that was compiled beforehand has no loader.
    define: { "import.meta.url": "__url" }, supported: { "dynamic-import": false },
    banner: { js: 'const __url = require("node:url").pathToFileURL(__filename).href;' },
  },
  lambdaEntry: { entryPoints: { lambda: "ca/runtime/lambda.ts" }, external: [], outExtension: { ".js": ".mjs" }, minify: true },
  proxy: { entryPoints: { "countersign-proxy": "proxy/main.ts" }, external: [] },
} as const satisfies Record<string, BuildOptions>;

export type BundleName = keyof typeof bundles;

/** Bundles one part into `outdir` and says what went into it. */
export async function bundle(name: BundleName, outdir: string): Promise<Metafile> {
  const { metafile } = await build({
    absWorkingDir: root,
    outdir,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node24",
    minifySyntax: true,
    legalComments: "linked",
    logLevel: "warning",
    metafile: true,
    // CommonJS packages inside an ES module still call require for Node's own modules.
    banner: { js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);' },
    ...bundles[name],
    entryPoints: { ...bundles[name].entryPoints },
    external: [...bundles[name].external],
  });
  return metafile;
}

/** The folder that is zipped for AWS Lambda, whose handler is `lambda.handler`: what starts it, the bundle, and migrations. `trainFunction` adds what V8 makes of it. */
export async function functionPackage(outdir: string): Promise<Metafile> {
  await bundle("lambdaEntry", outdir);
  const metafile = await bundle("lambda", outdir);
  const file = join(outdir, "countersign.cjs");
  // What esbuild leaves as it was written, in templates and regular expressions: a text of ASCII alone is read in half the time.
  const text = readFileSync(file, "utf8").replaceAll(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  // By its ending what was compiled of it is known to be of it.
  writeFileSync(file, `${text}//${hash("sha256", text)}`);
  cpSync(join(root, "migrations", "postgres"), join(outdir, "migrations", "postgres"), { recursive: true });
  return metafile;
}

const root = fileURLToPath(new URL("..", import.meta.url));

if (import.meta.main) {
  const { values: { node } } = parseArgs({ options: { node: { type: "string" } } });
  for (const name of ["ca", "lambda", "proxy"] as const) {
    const { outputs } = await (name === "lambda" ? functionPackage(`${root}dist/lambda`) : bundle(name, `${root}dist`));
    for (const [file, { bytes }] of Object.entries(outputs)) console.log(`${file}  ${Math.ceil(bytes / 1024)} KiB`);
  }
  const { trainFunction, withTrainingGround } = await import("./train-function.ts");
  await withTrainingGround((env) => trainFunction(`${root}dist/lambda`, env, node)).catch((error: unknown) => {
    console.error(`dist/lambda starts slower than it could: it was not run to keep what V8 compiles (${(error as Error).message})`);
  });
}
