import { ConfigError } from "../ca/settings/errors.ts";
import { readConfig } from "./config.ts";
import { renderConfigHelp } from "./config-table.ts";
import { runGateway } from "./gateway/command.ts";
import { KeystoreError } from "./identity/keystore.ts";
import { runIntercept, type CommandOutput } from "./intercept/command.ts";
import { runVerifyWire } from "./intercept/verify-wire.ts";
import { jsonLog } from "./log.ts";
import { ListenError, runProxy } from "./run.ts";
import { runTap } from "./tap/command.ts";

/** The `countersign-proxy` command. Exit codes: 0 drained after SIGTERM or SIGINT, 1 could not run, 2 wrong settings. */
async function main(args: readonly string[]): Promise<void> {
  const [command, ...rest] = args;
  if (command === "intercept") return void (process.exitCode = runIntercept(rest, terminal));
  if (command === "gateway") return void (process.exitCode = await runGateway(rest, terminal));
  if (command === "tap") return void (process.exitCode = await runTap(rest, terminal));
  if (command === "verify-wire") return void (process.exitCode = await runVerifyWire(rest, terminal));
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${about}${renderConfigHelp()}`);
    return;
  }
  const config = readConfig({ args, env: process.env });
  const log = jsonLog({ level: config.logLevel, now: Date.now, write: (line) => void process.stderr.write(line) });
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
const about = `countersign-proxy: mutual TLS for an app that speaks plain HTTP or TCP

  countersign-proxy [options]                 run the proxy
  countersign-proxy intercept install | ...   send this host's connections through it (--help says more)
  countersign-proxy gateway ...               one address for the services of a cluster
  countersign-proxy tap ...                   look at live requests
  countersign-proxy verify-wire ...           look whether what passes on the wire is TLS

Options, each also by environment or in the JSON file that --config names:
`;

main(process.argv.slice(2)).catch((error: unknown) => {
  if (error instanceof ConfigError) {
    process.stderr.write(`countersign-proxy: ${error.message}\n`);
    process.exit(2);
  }
  const expected = error instanceof ListenError || error instanceof KeystoreError;
  process.stderr.write(`countersign-proxy: ${expected ? error.message : (error as Error).stack}\n`);
  process.exit(1);
});
