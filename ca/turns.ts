/** Lets few do something at once, some wait, and turns the others away. */
export interface Turns {
  /** @param full  makes what is thrown when there is no place to wait */
  run<Result>(act: () => Promise<Result>, full: () => Error): Promise<Result>;
}

/** Lets so many go on at once and so many wait; the next one is turned away. */
export function turns({ atOnce, waiting }: { readonly atOnce: number; readonly waiting: number }): Turns {
  const queue: (() => void)[] = [];
  let running = 0;
  return {
    async run(act, full) {
      if (running >= atOnce) {
        if (queue.length >= waiting) throw full();
        // Whoever leaves hands its place on: running stays as it is.
        await new Promise<void>((resolve) => void queue.push(resolve));
      } else {
        running += 1;
      }
      try {
        return await act();
      } finally {
        const next = queue.shift();
        if (next === undefined) running -= 1;
        else next();
      }
    },
  };
}
