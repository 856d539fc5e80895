/** Acts on names side by side, up to a limit. */
export interface Lane {
  /** Acts on it when there is room; one that waits or is under way already is not taken twice. */
  add(name: string): void;
  /** When all that was added has been acted upon. */
  idle(): Promise<void>;
}

/** Makes a lane. @param act  must not reject */
export function lane(limit: number, act: (name: string) => Promise<void>): Lane {
  const waiting = new Set<string>();
  const underWay = new Map<string, Promise<void>>();

  function fill(): void {
    for (const name of waiting) {
      if (underWay.size >= limit) return;
      waiting.delete(name);
      underWay.set(name, act(name).finally(() => {
        underWay.delete(name);
        fill();
      }));
    }
  }

  return {
    add(name) {
      if (underWay.has(name)) return;
      waiting.add(name);
      fill();
    },
    async idle() {
      while (underWay.size > 0) await Promise.all(underWay.values());
    },
  };
}
