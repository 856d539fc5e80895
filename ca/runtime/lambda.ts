import { join } from "node:path";
import { runCompiled } from "./compiled.ts";

// What `npm run build` left beside this file.
const { exports, wasCompiled } = runCompiled(join(import.meta.dirname, "countersign.cjs"));
const { invoke, prepare, serve } = exports as typeof import("./lambda-function.ts");
// AWS moves functions to newer versions of their runtime by itself, after which all goes well but slower.
if (!wasCompiled) console.warn(`what V8 compiled of the bundle is not of this Node.js (${process.version}, ${process.arch}), so each cold start compiles anew; build the package with it`);

/** The function's handler, for the managed runtime: `lambda.handler`. */
export function handler(event: unknown, context: { readonly getRemainingTimeInMillis: () => number }): Promise<unknown> {
  return invoke(event, Date.now() + context.getRemainingTimeInMillis());
}

const api = process.env["AWS_LAMBDA_RUNTIME_API"];
// Lambda waits for a module, so that nothing is half done when it stops the process until there is an event.
if (api !== undefined) await prepare();
if (import.meta.main && api !== undefined) await serve(api);
