import { readConfig } from "../config.ts";
import { lambdaHost, type LambdaHost } from "./lambda-host.ts";
import { serveInvocations } from "./lambda-loop.ts";
import { caLogger } from "./log.ts";

let host: LambdaHost | undefined;

/** The function's handler, for the managed runtime: `lambda.handler`. */
export function handler(event: unknown, context: { readonly getRemainingTimeInMillis: () => number }): Promise<unknown> {
  return invoke(event, Date.now() + context.getRemainingTimeInMillis());
}

async function invoke(event: unknown, deadlineMs: number): Promise<unknown> {
  if (host === undefined) {
    const config = readConfig({ env: process.env });
    host = lambdaHost(config, caLogger(config));
  }
  return host.invoke(event, deadlineMs);
}

// With a Node.js of our own (provided.al2023, a container image) this file is the runtime, too.
const api = process.env["AWS_LAMBDA_RUNTIME_API"];
if (import.meta.main && api !== undefined) await serveInvocations(api, ({ event, deadlineMs }) => invoke(event, deadlineMs));
