/** Does what it is given, unless it did so for the same name within the second. */
export type Paced = (name: string, act: (heldBack: number) => void) => void;

/**
 * Makes what keeps a log readable: for each name one line a second, told how many were held back since the last one.
 * @param now  milliseconds since the epoch
 */
export function pacedByName(now: () => number): Paced {
  const last = new Map<string, { readonly atMs: number; heldBack: number }>();
  return (name, act) => {
    const before = last.get(name);
    const nowMs = now();
    // A clock that was set back must not silence it for ever.
    if (before !== undefined && Math.abs(nowMs - before.atMs) < intervalMs) {
      before.heldBack += 1;
      return;
    }
    last.delete(name);
    last.set(name, { atMs: nowMs, heldBack: 0 });
    const [oldest] = last.size > maxRemembered ? last.keys() : [];
    if (oldest !== undefined) last.delete(oldest);
    act(before?.heldBack ?? 0);
  };
}

const intervalMs = 1000;
/** Peers choose how many they are; memory is ours. */
const maxRemembered = 1024;
