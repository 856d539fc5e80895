import { readConfig } from "../config.ts";
import { lambdaHost, type LambdaHost } from "./lambda-host.ts";
import { serveInvocations } from "./lambda-loop.ts";
import { caLogger } from "./log.ts";

let host: LambdaHost | undefined;

/** Hands one event to the CA of this process, which starts with the first. @throws {ConfigError} and what the host throws */
export async function invoke(event: unknown, deadlineMs: number): Promise<unknown> {
  if (host === undefined) {
    const config = readConfig({ env: process.env });
    host = lambdaHost(config, caLogger(config));
  }
  return host.invoke(event, deadlineMs);
}

/** Is the runtime, too, with a Node.js of our own (provided.al2023, a container image). */
export function serve(api: string): Promise<never> {
  return serveInvocations(api, ({ event, deadlineMs }) => invoke(event, deadlineMs));
}
