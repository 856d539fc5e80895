import { createHook } from "node:async_hooks";

/**
 * Preloaded into a process (`--import`): at SIGUSR2 it names, on standard error, the modules of Node.js that were loaded, and where each timer
 * was set that has not fired or been cleared.
 */
const alive = new Map<number, string>();
createHook({
  init(id, type) {
    if (type === "Timeout") alive.set(id, (new Error().stack ?? "").split("\n").slice(1).filter((line) => !line.includes(import.meta.filename)).map((line) => line.trim()).join(" < "));
  },
  destroy(id) {
    alive.delete(id);
  },
}).enable();
const { moduleLoadList } = process as unknown as { readonly moduleLoadList: readonly string[] };
process.on("SIGUSR2", () => process.stderr.write(`modules: ${JSON.stringify(moduleLoadList)}\n` +
  `timers left: ${JSON.stringify([...alive.values()])}\n`));
