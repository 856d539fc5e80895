import { build, type BuildOptions, type Metafile } from "esbuild";
import { execFile } from "node:child_process";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The bundles that ship, by name, and whatever it may not carry is a test (test/structure.test.ts). */
export const bundles = {
  ca: {
    entryPoints: { countersign: "ca/main.ts", "sqlite-writer": "ca/store/sqlite-writer.ts", "pkcs11-call": "ca/signer/pkcs11-call.ts" },
    // Native code stays outside; pg-native is an optional add-on that we do not use.
    external: ["better-sqlite3", "pg-native"],
  },
  /** The CA as a function, without SQLite: what starts it, it, and what it loads when first used. The rest of its folder: `functionPackage`. */
  lambda: { entryPoints: { lambda: "ca/runtime/lambda.ts" }, external: ["pg-native"], outExtension: { ".js": ".mjs" }, minify: true, splitting: true, mainFields: ["module", "main"] },
  proxy: { entryPoints: { "countersign-proxy": "proxy/main.ts" }, external: [] },
} as const satisfies Record<string, BuildOptions>;

export type BundleName = keyof typeof bundles;

/** Bundles one part into `outdir` and says what went into it. */
export async function bundle(name: BundleName, outdir: string): Promise<Metafile> {
  const { metafile } = await build({
    ...bundles[name],
    entryPoints: { ...bundles[name].entryPoints },
    external: [...bundles[name].external],
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
  });
  return metafile;
}

/** The folder that is zipped for AWS Lambda, whose handler is `lambda.handler`: bundle, what V8 made of it, and migrations. */
export async function functionPackage(outdir: string): Promise<Metafile> {
  const metafile = await bundle("lambda", outdir);
  cpSync(join(root, "migrations", "postgres"), join(outdir, "migrations", "postgres"), { recursive: true });
  await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", compileAll, outdir]);
  return metafile;
}

/** Loads each file, as `ca/runtime/lambda.ts` does, and keeps what V8 compiled. */
const compileAll = `
  import { enableCompileCache, flushCompileCache } from "node:module";
  import { readdirSync } from "node:fs";
  import { join, resolve } from "node:path";
  const folder = resolve(process.argv[1]);
  enableCompileCache({ directory: join(folder, "compile-cache"), portable: true });
  for (const name of readdirSync(folder)) if (name.endsWith(".mjs")) await import(join(folder, name));
  flushCompileCache();
`;

const root = fileURLToPath(new URL("..", import.meta.url));

if (import.meta.main) {
  for (const name of Object.keys(bundles) as BundleName[]) {
    const { outputs } = await (name === "lambda" ? functionPackage(`${root}dist/lambda`) : bundle(name, `${root}dist`));
    for (const [file, { bytes }] of Object.entries(outputs)) console.log(`${file}  ${Math.ceil(bytes / 1024)} KiB`);
  }
}
