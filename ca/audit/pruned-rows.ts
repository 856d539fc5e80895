import { decodeEntry } from "./event.ts";
import type { LogReader } from "./verify.ts";

/** Which certificates may be missing from their table, because the log says that they were pruned. */
export interface PrunedRows {
  covers(index: number, notAfter: string): Promise<boolean>;
}

/** Reads the log for it when the first row is found missing, and on when another is that nothing read so far tells of. */
export function prunedRows(source: Pick<LogReader, "entries">): PrunedRows {
  /** Of each time that rows were pruned up to, how far the log had been gone through: one or two of them matter. */
  const belowByTime = new Map<string, number>();
  let start = 0;

  const known = (index: number, notAfter: string) => [...belowByTime].some(([expiredBefore, below]) => index < below && notAfter < expiredBefore);

  /** @returns false when there is nothing more */
  async function readOn(): Promise<boolean> {
    const page = await source.entries({ start, limit: pageSize });
    for (const { body } of page) {
      // To parse a million entries for the few that matter would take longer than to verify them.
      if (!body.includes('"certificates.pruned"')) continue;
      const event = decodeEntry(body);
      // What had not expired was not pruned by us, whatever the log says.
      if (event?.type !== "certificates.pruned" || !(event.expiredBefore <= event.time)) continue;
      for (const [time, below] of belowByTime) if (time <= event.expiredBefore && below <= event.below) belowByTime.delete(time);
      belowByTime.set(event.expiredBefore, Math.max(event.below, belowByTime.get(event.expiredBefore) ?? 0));
    }
    start = (page.at(-1)?.index ?? start - 1) + 1;
    return page.length > 0;
  }

  return {
    async covers(index, notAfter) {
      while (!known(index, notAfter)) if (!await readOn()) return false;
      return true;
    },
  };
}

const pageSize = 1000;
