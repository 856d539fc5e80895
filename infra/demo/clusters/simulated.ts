// The CA or the proxy, by the clock that its parent sets: `simulated.ts serve --data-dir ...` is the CA, `simulated.ts --app ...` the
// proxy. All else is as it ships: deadlines of connections are real, since no machine gets faster by it.
import { flushCompileCache } from "node:module";
import { simulatedClock, type Pace } from "./simulated-time.ts";

const args = process.argv.slice(2);
const clock = simulatedClock(JSON.parse(process.env["DEMO_PACES"] ?? "[]") as Pace[], Date.now);
// Where no clock is handed in.
Date.now = clock.now;
process.on("message", clock.setPaces);
process.channel?.unref();
// Its parent may have been killed.
const asked = Promise.race(["SIGTERM", "SIGINT", "disconnect"].map((event) => new Promise((resolve) => process.once(event, resolve))));
await (args[0] === "serve" ? runCa(args.slice(1)) : runProxy());
process.exit(0);

async function runCa(flags: readonly string[]): Promise<void> {
  const { readConfig } = await import("../../../ca/config/config.ts");
  const { serveCa } = await import("../../../ca/runtime/node.ts");
  const pairs = flags.flatMap((word, index) => (word.startsWith("--") ? [[word.slice(2), flags[index + 1] ?? ""] as const] : []));
  const served = await serveCa(readConfig({ flags: Object.fromEntries(pairs), env: process.env }), undefined, () => new Date(clock.now()));
  flushCompileCache();
  await asked;
  await served.stop();
}

async function runProxy(): Promise<void> {
  const { readConfig } = await import("../../../proxy/config/config.ts");
  const { jsonLog } = await import("../../../proxy/log.ts");
  const { runProxy: run } = await import("../../../proxy/run.ts");
  const log = jsonLog({ level: "info", now: clock.now, write: (line) => void process.stderr.write(line) });
  const proxy = await run({ config: readConfig({ args, env: process.env }), log, clock });
  flushCompileCache();
  await asked;
  await proxy.drain();
}
