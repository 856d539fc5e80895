import { hash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { constants, Script } from "node:vm";

/** A bundle that was run. */
export interface Run {
  readonly exports: unknown;
  /** V8 took what was compiled before. */
  readonly wasCompiled: boolean;
  /** Writes what V8 has compiled by now beside the bundle: every function that was called, and no other. */
  keepCompiled(): void;
}

/**
 * Runs a CommonJS bundle with what V8 compiled of it when it was built; another version of Node.js, another processor or other flags refuse
 * that, and then, as where there is none, each function is compiled when it is called. Node's own cache keeps none that is called later.
 * What was compiled is as good as the bundle and stands beside it, in a folder that is only read: who may write one may write the other.
 */
export function runCompiled(file: string): Run {
  // As Node.js wraps a CommonJS module.
  const source = `(function (exports, require, module, __filename, __dirname) {${readFileSync(file, "utf8")}\n})`;
  const cachedData = readCompiled(file, source);
  const script = new Script(source, { filename: file, ...(cachedData && { cachedData }), importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER });
  const module = { exports: {} };
  (script.runInThisContext() as ModuleFunction)(module.exports, createRequire(file), module, file, dirname(file));
  return {
    exports: module.exports,
    wasCompiled: script.cachedDataRejected === false,
    keepCompiled: () => writeFileSync(compiledBeside(file), Buffer.concat([digestOf(source), script.createCachedData()])),
  };
}

/** V8 looks at the length of a source alone, so its digest goes before what was made of it. */
function readCompiled(file: string, source: string): Buffer | undefined {
  try {
    const compiled = readFileSync(compiledBeside(file));
    return digestOf(source).equals(compiled.subarray(0, digestBytes)) ? compiled.subarray(digestBytes) : undefined;
  } catch {
    return undefined;
  }
}

function digestOf(source: string): Buffer {
  return hash("sha256", source, "buffer");
}

function compiledBeside(file: string): string {
  return `${file}.v8`;
}

type ModuleFunction = (exports: object, require: NodeJS.Require, module: { readonly exports: object }, filename: string, dirname: string) => void;
const digestBytes = 32;
