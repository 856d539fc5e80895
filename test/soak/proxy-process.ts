// One proxy in a process of its own, for the soak: its clock can be moved, its identity lives faster than it, and it tells what it holds.
import { readdirSync } from "node:fs";
import { readConfig } from "../../proxy/config/config.ts";
import { systemClock } from "../../proxy/clock.ts";
import { runProxy } from "../../proxy/run.ts";
import { recordedLog } from "../support/recorded-log.ts";
import type { Measure, Order, ProxySettings, Told } from "./messages.ts";

const { args, bootstrap, startMs, scale } = JSON.parse(process.env["SOAK_PROXY"] ?? "") as ProxySettings;
const [realNow, realAfter] = [Date.now, systemClock.after];
let jumpedMs = 0;
// The data path asks for the time itself.
Date.now = () => realNow() + jumpedMs;

/** Identity, trust and policy see time pass `scale` times faster, so that a thousand rotations fit into a minute. */
const clock = {
  now: () => startMs + (realNow() - startMs) * scale + jumpedMs,
  after: (delayMs: number, run: () => void) => realAfter(delayMs / scale, run),
};

const log = recordedLog();
const running = await runProxy({ config: readConfig({ args, env: { COUNTERSIGN_BOOTSTRAP: bootstrap } }), log, clock });
const tell = (told: Told): void => void process.send?.(told);

process.on("message", (order: Order) => {
  if (order.ask === "jump") jumpedMs = order.toMs;
  if (order.ask === "jump") tell({ told: "jumped" });
  if (order.ask === "measure") tell({ told: "measure", measure: measure() });
  if (order.ask === "log") tell({ told: "log", lines: log.lines.slice(-order.lines).map(({ level, message, fields }) => `${level} ${message} ${JSON.stringify(fields)}`) });
  // Or the log would be the leak that is found.
  log.lines.splice(0, log.lines.length - keptLines);
});
process.once("disconnect", () => process.exit(0));
tell({ told: "listening", inbound: running.inbound, outbound: running.outbound, admin: running.admin ?? "" });

function measure(): Measure {
  globalThis.gc?.();
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  return { rssBytes: rss, heapBytes: heapUsed, descriptors: readdirSync("/proc/self/fd").length };
}

const keptLines = 50;
