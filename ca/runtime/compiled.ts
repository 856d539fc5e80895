import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { Script } from "node:vm";

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
 * @param file  of ASCII (`infra/bundle.ts` makes sure of it); ends in what tells it from every other, such as `//` and its digest: making one at each start was a sixth of it
 */
export function runCompiled(file: string): Run {
  // AWS's runtime sets the flag, and V8 refuses what was compiled under others though this one changes nothing in it; `gc` is there all the same.
  if (process.execArgv.includes("--expose-gc")) process.getBuiltinModule("node:v8").setFlagsFromString("--no-expose-gc");
  const text = readFileSync(file, "latin1");
  const ending = Buffer.from(text.slice(-endingLength), "latin1");
  const cachedData = readCompiled(file, ending);
  // As Node.js wraps a CommonJS module.
  const source = `(function (exports, require, module, __filename, __dirname) {${text}\n})`;
  const script = new Script(source, { filename: file, ...(cachedData && { cachedData }) });
  const module = { exports: {} };
  (script.runInThisContext() as ModuleFunction)(module.exports, createRequire(file), module, file, dirname(file));
  return {
    exports: module.exports,
    wasCompiled: script.cachedDataRejected === false,
    keepCompiled: () => writeFileSync(compiledBeside(file), Buffer.concat([ending, script.createCachedData()])),
  };
}

/** V8 looks at the length of a source alone, so what the source ends in goes before what was made of it. */
function readCompiled(file: string, ending: Buffer): Buffer | undefined {
  try {
    const compiled = readFileSync(compiledBeside(file));
    return ending.equals(compiled.subarray(0, ending.length)) ? compiled.subarray(ending.length) : undefined;
  } catch {
    return undefined;
  }
}

function compiledBeside(file: string): string {
  return `${file}.v8`;
}

type ModuleFunction = (exports: object, require: NodeJS.Require, module: { readonly exports: object }, filename: string, dirname: string) => void;
/** A SHA-256 in hex. */
const endingLength = 64;
