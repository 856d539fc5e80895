import type { Upstream, UpstreamKeeper } from "./upstream.ts";
import type { IdleWatch } from "./watch.ts";

/** Connections to one server, kept between requests. */
export interface UpstreamPool {
  /** The one that was used last, or a new one. Rejects with the reason why there is none. */
  acquire(): Upstream | Promise<Upstream>;
  /** Gives back a connection that no exchange was begun on. */
  release(upstream: Upstream): void;
  /** No connection of now carries another request. */
  retireAll(): void;
  close(): void;
}

export interface PoolOptions {
  readonly open: (keeper: UpstreamKeeper) => Upstream | Promise<Upstream>;
  /** More than this many are not kept. */
  readonly maxIdle: number;
  readonly idleMs: number;
  readonly watch: IdleWatch;
}

/** Makes an empty pool. */
export function upstreamPool({ open, maxIdle, idleMs, watch }: PoolOptions): UpstreamPool {
  const all = new Set<Upstream>();
  /** Used last, last. */
  const idle: { readonly upstream: Upstream; readonly sinceMs: number }[] = [];
  let closed = false;

  const keeper: UpstreamKeeper = {
    free(upstream) {
      if (closed || idle.length >= maxIdle) upstream.closeIdle();
      else idle.push({ upstream, sinceMs: watch.nowMs() });
    },
    gone(upstream) {
      all.delete(upstream);
      const index = idle.findIndex((entry) => entry.upstream === upstream);
      if (index >= 0) idle.splice(index, 1);
    },
  };

  function opened(upstream: Upstream): Upstream {
    if (!closed) all.add(upstream);
    else upstream.closeIdle();
    return upstream;
  }

  const unwatch = watch.add((nowMs) => {
    while (idle.length > 0 && nowMs - idle[0]!.sinceMs >= idleMs) idle[0]!.upstream.closeIdle();
  });

  return {
    acquire() {
      const kept = idle.pop();
      if (kept !== undefined) return kept.upstream;
      const upstream = open(keeper);
      return upstream instanceof Promise ? upstream.then(opened) : opened(upstream);
    },
    release: keeper.free,
    retireAll() {
      for (const upstream of [...all]) upstream.retire();
    },
    close() {
      closed = true;
      unwatch();
      for (const { upstream } of [...idle]) upstream.closeIdle();
    },
  };
}
