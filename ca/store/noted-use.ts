/**
 * Keeps who uses what off the database: at most one write an hour for each token or role, and none that anybody waits for.
 * @param write  best effort: its failure is not the caller's
 */
export function notedUse(write: (name: string, usedAtMs: number) => Promise<void>): (name: string, usedAtMs: number) => Promise<void> {
  const written = new Map<string, number>();
  return async (name, usedAtMs) => {
    const last = written.get(name);
    if (last !== undefined && usedAtMs - last < resolutionMs) return;
    if (written.size >= maxNames) written.clear();
    written.set(name, usedAtMs);
    await write(name, usedAtMs).catch(() => written.delete(name));
  };
}

/** What is judged by it is judged by days. */
const resolutionMs = 3_600_000;
/** Bounds the memory of what was written; forgetting it costs a write for each. */
const maxNames = 10_000;
