import { spawn } from "node:child_process";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";

/** What is run when the files have changed. */
export interface RenewalCommand {
  /** Program and its arguments; no shell looks at them. */
  readonly argv: readonly [program: string, ...args: string[]];
  readonly timeoutMs: number;
  /** All the program sees of ours. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Runs the command, one at a time. */
export interface RenewalRunner {
  /** Runs it now; if it is running, once more when it has ended, however often it was asked meanwhile. */
  run(): void;
  /** Starts no more; one that runs may end. */
  stop(): void;
}

/** Makes a runner that counts and logs how each run ended; a run that takes too long is killed with all it has started. */
export function renewalRunner(
  { argv: [program, ...args], timeoutMs, environment }: RenewalCommand,
  { clock, log, metrics }: { readonly clock: Clock; readonly log: Log; readonly metrics: Metrics },
): RenewalRunner {
  const runs = metrics.counter("renewal_command_runs_total", "Runs of the command after the files changed, by how they ended.", ["result"]);
  let running = false;
  let again = false;
  let stopped = false;

  function start(): void {
    running = true;
    again = false;
    const startedMs = clock.now();
    let timedOut = false;
    // A group of its own, so that what the program started can be killed with it.
    const child = spawn(program, args, { env: environment, stdio: ["ignore", "ignore", "inherit"], detached: true });
    const cancelTimeout = clock.after(timeoutMs, () => {
      timedOut = true;
      if (child.pid !== undefined) killGroup(child.pid);
    });
    const end = (result: RunResult, fields: object): void => {
      if (!running) return;
      cancelTimeout();
      running = false;
      runs.inc({ result });
      const told = { program, ...fields, durationMs: clock.now() - startedMs };
      if (result === "ok") log.info(told, "renewal command done");
      else log.error(told, `renewal command ${runFaults[result]}; the files are new, and whoever uses them may not know`);
      if (again && !stopped) start();
    };
    // Both may come; the first decides.
    child.once("error", (error: NodeJS.ErrnoException) => end("not_started", { reason: error.code }));
    child.once("exit", (exitCode, signal) => {
      end(timedOut ? "timeout" : exitCode === 0 ? "ok" : "failed", { exitCode: exitCode ?? undefined, signal: signal ?? undefined });
    });
  }

  return {
    run() {
      if (stopped) return;
      if (running) again = true;
      else start();
    },
    stop: () => void (stopped = true),
  };
}

type RunResult = "ok" | "failed" | "timeout" | "not_started";

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

const runFaults = { failed: "failed", timeout: "took too long and was killed", not_started: "could not be started" } as const;
