import type { CopyProgress } from "../store/table-copy.ts";
import type { CliIo } from "./io.ts";

/** Says on stderr how far a copy is, once it has taken two seconds and then at most every two. */
export function progressReport(io: CliIo, nowMs: () => number = () => performance.now()): (progress: CopyProgress) => void {
  let saidAtMs = nowMs();
  return ({ stage, done, total }) => {
    if (nowMs() - saidAtMs < intervalMs) return;
    saidAtMs = nowMs();
    io.stderr(stage === "verify" ? `verified ${done} of ${total} entries\n` : `${stage}: ${done}${total > 0 ? ` of ${total}` : ""} rows\n`);
  };
}

const intervalMs = 2_000;
