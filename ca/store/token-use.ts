/**
 * Keeps the use of API tokens off the database: at most one write a minute for each token, and none that anybody waits for.
 * @param write  best effort: its failure is not the caller's
 */
export function tokenUse(write: (id: string, usedAtMs: number) => Promise<void>): (id: string, usedAtMs: number) => Promise<void> {
  const written = new Map<string, number>();
  return async (id, usedAtMs) => {
    const last = written.get(id);
    if (last !== undefined && usedAtMs - last < resolutionMs) return;
    if (written.size >= maxTokens) written.clear();
    written.set(id, usedAtMs);
    await write(id, usedAtMs).catch(() => written.delete(id));
  };
}

const resolutionMs = 60_000;
/** Bounds the memory of what was written; forgetting it costs a write for each token. */
const maxTokens = 10_000;
