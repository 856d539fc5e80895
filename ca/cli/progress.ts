import type { CopyProgress } from "../store/table-copy.ts";
import type { CliIo } from "./io.ts";

/**
 * Runs what may take long, and says on standard error how far it is once it has taken two seconds: on a terminal in one line that is
 * gone when it ends, elsewhere in a line now and then.
 */
export async function withProgress<T>(io: Pick<CliIo, "stderr" | "isTerminal">, run: (report: (progress: CopyProgress) => void) => Promise<T>, nowMs: () => number = () => performance.now()): Promise<T> {
  let nextAtMs = nowMs() + quietMs;
  let isDrawn = false;
  function report({ stage, done, total }: CopyProgress): void {
    if (nowMs() < nextAtMs) return;
    nextAtMs = nowMs() + (io.isTerminal === true ? redrawMs : lineMs);
    const text = `${stage === "verify" ? "verifying the audit log" : stage}: ${done}${total > 0 ? ` of ${total}, ${Math.min(100, Math.floor((100 * done) / total))} %` : ""}`;
    io.stderr(io.isTerminal === true ? `${clearLine}${text}` : `${text}\n`);
    isDrawn ||= io.isTerminal === true;
  }
  try {
    return await run(report);
  } finally {
    if (isDrawn) io.stderr(clearLine);
  }
}

/** Says on a terminal whom a command waits for, once that has taken two seconds, and takes it back when it is over. */
export async function whileWaiting<T>({ stderr, isTerminal = false }: Partial<Pick<CliIo, "stderr" | "isTerminal">>, whom: string, answer: Promise<T>, afterMs = quietMs): Promise<T> {
  if (stderr === undefined || !isTerminal) return answer;
  let isDrawn = false;
  const timer = setTimeout(() => {
    isDrawn = true;
    stderr(`${clearLine}waiting for ${whom} ...`);
  }, afterMs);
  try {
    return await answer;
  } finally {
    clearTimeout(timer);
    if (isDrawn) stderr(clearLine);
  }
}

/** What is over by then needs none. */
const quietMs = 2_000;
const redrawMs = 200;
const lineMs = 10_000;
/** Back to its beginning, and erased from there. */
const clearLine = "\r\u001b[K";
