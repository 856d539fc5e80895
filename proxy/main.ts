import { ConfigError } from "../ca/settings/errors.ts";
import { runCompletion } from "./completion.ts";
import { readConfig } from "./config/config.ts";
import { renderConfigHelp } from "./config/table.ts";
import { runGateway } from "./gateway/command.ts";
import { proxyHelp } from "./help.ts";
import { KeystoreError } from "./identity/keystore.ts";
import { runIntercept, type CommandOutput } from "./intercept/command.ts";
import { runVerifyWire } from "./intercept/verify-wire.ts";
import { jsonLog } from "./log.ts";
import { ListenError, runProxy } from "./run.ts";
import { runTap } from "./tap/command.ts";
import { version } from "./version.ts";

/** The `countersign-proxy` command. Exit codes: 0 drained after SIGTERM or SIGINT, 1 could not run, 2 wrong settings. */
async function main(args: readonly string[]): Promise<void> {
  const [command, ...rest] = args;
  if (command === "completion") return void (process.exitCode = runCompletion(rest, terminal));
  if (command === "intercept") return void (process.exitCode = runIntercept(rest, terminal));
  if (command === "gateway") return void (process.exitCode = await runGateway(rest, terminal));
  if (command === "tap") return void (process.exitCode = await runTap(rest, terminal));
  if (command === "verify-wire") return void (process.exitCode = await runVerifyWire(rest, terminal));
  if (command === "version" || command === "--version") return terminal.out(`countersign-proxy ${version}, Node.js ${process.versions.node}\n`);
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${proxyHelp}${renderConfigHelp()}`);
    return;
  }
  const config = readConfig({ args, env: process.env });
  const log = jsonLog({ level: config.logLevel, now: Date.now, write: (line) => void process.stderr.write(line) });
  // Node's own warnings are lines of the log, too. That FFI is experimental, by which redirected connections are told apart, is known.
  process.removeAllListeners("warning").on("warning", ({ name, message }) => (name === "ExperimentalWarning" ? log.debug : log.warn)({ name }, message));
  const proxy = await runProxy({ config, log });

  let draining = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (draining) {
      log.warn({ signal }, "second signal: cutting open connections");
      proxy.close();
      process.exit(0);
    }
    draining = true;
    log.info({ signal }, "asked to stop");
    void proxy.drain().then(() => process.exit(0));
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
}

const terminal: CommandOutput = { out: (text) => void process.stdout.write(text), err: (text) => void process.stderr.write(text) };

// A log that nobody takes any more, or whose disk is full, ends no connection; it goes on when it can.
process.stderr.on("error", () => undefined);
process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => {
  if (code === "EPIPE") process.exit(0);
  process.stderr.write(`countersign-proxy: the output cannot be written (${code})\n`);
  process.exit(1);
});

main(process.argv.slice(2)).catch((error: unknown) => {
  if (error instanceof ConfigError) {
    process.stderr.write(`countersign-proxy: ${error.message}\n`);
    process.exit(2);
  }
  const expected = error instanceof ListenError || error instanceof KeystoreError;
  process.stderr.write(`countersign-proxy: ${expected ? error.message : (error as Error).stack}\n`);
  process.exit(1);
});
