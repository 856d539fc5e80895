import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { randomUUID } from "node:crypto";

/**
 * What AWS Lambda is to a function: its Runtime API over HTTP, and a process that runs only while an invocation is under way.
 * @source AWS Lambda Developer Guide, "Using the Lambda runtime API for custom runtimes", "Understanding the Lambda execution environment lifecycle"
 */
export interface LambdaRuntime {
  /** Invokes the function, in the process there is or in a new one. @throws {Error} what the function threw */
  invoke(event: unknown, options?: { readonly timeoutMs?: number }): Promise<unknown>;
  /** What happens to the process after each invocation, from now on; at first it stays as it is. */
  readonly after: { each: "keep" | "freeze" | "kill" };
  /** Ends the process, without a word. */
  kill(): Promise<void>;
  /** How many processes were started. */
  readonly starts: number;
  /** Of the process there is. */
  pid(): number | undefined;
  /** When the process there is asked for its first event, by `performance.now()`. */
  askedAtMs(): number;
  /** Its log. */
  readonly lines: readonly string[];
}

export interface LambdaFunction {
  /** The bundle. */
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
  /** Default: ours. */
  readonly node?: string | undefined;
  /** Whether AWS's runtime imports it, under its flags; default: it is its own runtime. */
  readonly managed?: boolean;
  readonly nodeArgs?: readonly string[];
  /** Program and arguments before Node's. */
  readonly command?: readonly string[];
}

export function lambdaRuntime(fn: LambdaFunction): LambdaRuntime {
  const lines: string[] = [];
  const after: LambdaRuntime["after"] = { each: "keep" };
  let starts = 0;
  let environment: Environment | undefined;

  async function kill(): Promise<void> {
    const ended = environment;
    environment = undefined;
    await ended?.kill();
  }

  return {
    after, lines, kill,
    get starts() {
      return starts;
    },
    pid: () => environment?.child.pid,
    askedAtMs: () => environment?.askedAtMs() ?? NaN,
    async invoke(event, { timeoutMs = 30_000 } = {}) {
      if (environment === undefined || environment.child.exitCode !== null) {
        starts++;
        environment = await startEnvironment(fn, lines);
      }
      const { child, invoke } = environment;
      child.kill("SIGCONT");
      try {
        return await invoke(event, Date.now() + timeoutMs);
      } finally {
        // At once, as Lambda does: whatever the process still meant to do, it does later or never.
        if (after.each === "freeze") child.kill("SIGSTOP");
        if (after.each === "kill") await kill();
      }
    },
  };
}

/** One process and the Runtime API for it alone: what one that was killed had still sent is no other's. */
interface Environment {
  readonly child: ChildProcess;
  askedAtMs(): number;
  invoke(event: unknown, deadlineMs: number): Promise<unknown>;
  kill(): Promise<void>;
}

async function startEnvironment({ file, env, node = process.execPath, managed = false, nodeArgs = [], command = [] }: LambdaFunction, lines: string[]): Promise<Environment> {
  /** The process's question for the next invocation, which is answered when there is one. */
  let asking: ServerResponse | undefined;
  let askedAtMs = NaN;
  let pending: { readonly id: string; readonly event: unknown; readonly deadlineMs: number } | undefined;
  let settle: ((outcome: { readonly body: string } | { readonly error: Error }) => void) | undefined;

  const server = createServer((request, response) => {
    const [, what] = /^\/2018-06-01\/runtime\/invocation\/[\w-]+\/(response|error)$/.exec(request.url ?? "") ?? [];
    if (request.url === "/2018-06-01/runtime/invocation/next") {
      asking = response;
      if (Number.isNaN(askedAtMs)) askedAtMs = performance.now();
      hand();
      return;
    }
    void text(request).then((body) => {
      response.writeHead(what === undefined ? 404 : 202).end();
      if (what === "response") settle?.({ body });
      if (what === "error") settle?.({ error: new Error((JSON.parse(body) as { readonly errorMessage: string }).errorMessage) });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const [program = process.execPath, ...args] = [...command, node, ...managed ? managedFlags : [], ...nodeArgs, ...managed ? [managedRuntime] : [], file];
  const child = spawn(program, args, {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${port}`, ...env },
  });
  child.stderr!.setEncoding("utf8").on("data", (chunk: string) => lines.push(...chunk.trimEnd().split("\n")));
  const exited = once(child, "exit").then(([code]) => {
    server.close();
    server.closeAllConnections();
    settle?.({ error: new Error(`the function's process ended (${code}):\n${lines.slice(-20).join("\n")}`) });
  });

  function hand(): void {
    if (asking === undefined || pending === undefined) return;
    const { id, event, deadlineMs } = pending;
    asking.writeHead(200, { "content-type": "application/json", "lambda-runtime-aws-request-id": id, "lambda-runtime-deadline-ms": String(deadlineMs) });
    asking.end(JSON.stringify(event));
    asking = pending = undefined;
  }

  return {
    child,
    askedAtMs: () => askedAtMs,
    async invoke(event, deadlineMs) {
      const outcome = await new Promise<{ readonly body: string } | { readonly error: Error }>((resolve) => {
        settle = resolve;
        pending = { id: randomUUID(), event, deadlineMs };
        hand();
      });
      if ("error" in outcome) throw outcome.error;
      return JSON.parse(outcome.body) as unknown;
    },
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** With which AWS starts Node.js for a function of 1024 MB; `/var/runtime/bootstrap` of its images. */
const managedFlags = ["--expose-gc", "--max-http-header-size", "81920", "--max-semi-space-size=51", "--max-old-space-size=922"];
const managedRuntime = fileURLToPath(new URL("managed-runtime.ts", import.meta.url));
