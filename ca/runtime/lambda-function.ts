import { readConfig } from "../config/config.ts";
import { lambdaHost, type LambdaHost } from "./lambda-host.ts";
import { serveInvocations } from "./lambda-loop.ts";
import { caLogger } from "./log.ts";

let host: LambdaHost | undefined;

/** Hands one event to the CA of this process. @throws {ConfigError} and what the host throws */
export async function invoke(event: unknown, deadlineMs: number): Promise<unknown> {
  return theHost().invoke(event, deadlineMs);
}

/** Opens the CA before there is an event, in Lambda's INIT, which has more of a processor than most functions. Never rejects: events say what is wrong. */
export async function prepare(): Promise<void> {
  try {
    await theHost().prepare();
  } catch {
    // The settings are refused: each event will be, too.
  }
}

/** Is the runtime, too, with a Node.js of our own (provided.al2023, a container image). */
export function serve(api: string): Promise<never> {
  return serveInvocations(api, ({ event, deadlineMs }) => invoke(event, deadlineMs));
}

function theHost(): LambdaHost {
  if (host === undefined) {
    const config = readConfig({ env: process.env });
    host = lambdaHost(config, caLogger(config));
  }
  return host;
}
