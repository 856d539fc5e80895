import type { IdentitySource } from "../identity/source.ts";
import { upstreamPool, type UpstreamPool } from "../http/pool.ts";
import { upstreamConnection, type Upstream, type UpstreamKeeper } from "../http/upstream.ts";
import type { IdleWatch } from "../http/watch.ts";
import type { Destination, Dial } from "./dial.ts";

/** Keeps mTLS connections to HTTP servers open between requests. */
export interface DestinationPools {
  /** The pool of this very destination object. */
  of(destination: Destination): UpstreamPool;
  /** Ends the pools of destinations that are no more; requests under way may finish. */
  drop(destinations: readonly Destination[]): void;
  close(): void;
}

/**
 * Makes the pools, one for each destination, of connections under our present identity. Trust is no reason to start anew:
 * `trackConnections` judges every pooled connection again when trust changes, and a revocation anywhere would
 * otherwise throw away all connections everywhere.
 */
export function destinationPools(dial: Dial, source: IdentitySource, watch: IdleWatch): DestinationPools {
  const pools = new Map<Destination, UpstreamPool>();

  async function open(destination: Destination, keeper: UpstreamKeeper): Promise<Upstream> {
    let upstream: Upstream | undefined;
    const dialed = await dial(destination, { allowHalfOpen: false, retire: () => upstream?.retire() });
    upstream = upstreamConnection(dialed, keeper, source.identity() !== dialed.identity);
    return upstream;
  }

  const unsubscribe = source.onChange((what) => {
    if (what === "identity") for (const pool of pools.values()) pool.retireAll();
  });

  return {
    of(destination) {
      const known = pools.get(destination);
      if (known !== undefined) return known;
      const pool = upstreamPool({ open: (keeper) => open(destination, keeper), maxIdle: maxIdlePerDestination, idleMs: poolIdleMs, watch });
      pools.set(destination, pool);
      return pool;
    },
    drop(destinations) {
      for (const destination of destinations) {
        pools.get(destination)?.retireAll();
        pools.get(destination)?.close();
        pools.delete(destination);
      }
    },
    close() {
      unsubscribe();
      for (const pool of pools.values()) pool.close();
    },
  };
}

/** Well below the 75 s for which the other side's server keeps an idle connection. */
const poolIdleMs = 30_000;
const maxIdlePerDestination = 256;
