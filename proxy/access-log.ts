import { open } from "node:fs/promises";
import { write } from "node:fs";
import type { Exchanges } from "./exchanges.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { toTapRecord } from "./tap/tapped.ts";

export interface AccessLogDeps {
  readonly exchanges: Exchanges;
  /** Takes whole lines; the next ones come when it has resolved. */
  readonly append: (lines: string) => Promise<void>;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** A running access log. */
export interface AccessLog {
  /** Ends it; resolves when what was waiting is written or has failed. */
  stop(): Promise<void>;
}

/**
 * Writes each request as a line of JSON when it has ended: who, what, how it ended; no query, header or body. Lines are written
 * together and beside the traffic; what a slow disk or reader does not take is left out and counted.
 */
export function startAccessLog({ exchanges, append, metrics, log }: AccessLogDeps): AccessLog {
  const dropped = metrics.counter("access_log_dropped_total", "Requests that are missing in the access log, as it could not be written in time.").of({});
  let waiting: string[] = [];
  let waitingLength = 0;
  let writing: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let failing = false;

  const leave = exchanges.observe((record) => {
    if (waitingLength >= maxWaitingLength) return dropped.inc();
    const line = `${JSON.stringify(toTapRecord(record))}\n`;
    waiting.push(line);
    waitingLength += line.length;
    if (waitingLength >= batchLength) void flush();
    else timer ??= setTimeout(() => void flush(), gatherMs).unref();
  });

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    return writing ??= writeAll().finally(() => (writing = undefined));
  }

  async function writeAll(): Promise<void> {
    while (waiting.length > 0) {
      const lines = waiting;
      waiting = [];
      waitingLength = 0;
      try {
        await append(lines.join(""));
        failing = false;
      } catch (error) {
        dropped.inc(lines.length);
        if (!failing) log.warn({ error: (error as Error).message }, "the access log cannot be written; requests are missing in it until it can");
        failing = true;
      }
    }
  }

  return {
    stop() {
      leave();
      return flush();
    },
  };
}

/** Appends to a file that only we read (0600), opened anew each time, so that it can be moved away; `stdout` is our standard output. */
export function appendTo(target: string): (lines: string) => Promise<void> {
  if (target === "stdout") return async (lines) => writeWhole(Buffer.from(lines));
  return async (lines) => {
    const file = await open(target, "a", 0o600);
    try {
      await file.appendFile(lines);
    } finally {
      await file.close();
    }
  };
}

/** Not by `process.stdout`, whose writes to a pipe hold up everything until its reader takes them. */
async function writeWhole(bytes: Buffer): Promise<void> {
  for (let from = 0; from < bytes.length;) {
    from += await new Promise<number>((resolve, reject) => {
      write(1, bytes, from, (error, written) => (error === null ? resolve(written) : reject(error)));
    });
  }
}

const gatherMs = 200;
const batchLength = 64 * 1024;
/** Some 12 000 requests. */
const maxWaitingLength = 4 * 1024 * 1024;
