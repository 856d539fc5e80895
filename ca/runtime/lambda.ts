import { enableCompileCache } from "node:module";
import { join } from "node:path";

// What `npm run build` compiled with the same Node.js; for another one nothing is found, and it is compiled here.
enableCompileCache({ directory: join(import.meta.dirname, "compile-cache"), portable: true });
const { invoke, serve } = await import("./lambda-function.ts");

/** The function's handler, for the managed runtime: `lambda.handler`. */
export function handler(event: unknown, context: { readonly getRemainingTimeInMillis: () => number }): Promise<unknown> {
  return invoke(event, Date.now() + context.getRemainingTimeInMillis());
}

const api = process.env["AWS_LAMBDA_RUNTIME_API"];
if (import.meta.main && api !== undefined) await serve(api);
