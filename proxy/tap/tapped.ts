import type { TapFilter, TapRecord } from "../../ca/contract/taps.ts";
import type { ExchangeRecord, Exchanges } from "../exchanges.ts";

export interface TapOptions {
  readonly filter: TapFilter;
  /** What comes beyond is left out and counted. */
  readonly perSecond: number;
  /** After so many records it is over. */
  readonly limit: number;
  /** Takes a record; false: it had no room, which counts as left out. */
  readonly take: (record: TapRecord) => boolean;
  /** The last record has been taken. */
  readonly onLimit: () => void;
}

/** A look at live requests. */
export interface Tap {
  /** What was left out since this was last asked. */
  takeLeftOut(): number;
  stop(): void;
}

/** Looks at requests as they end, bounded in rate and number, so that who looks cannot hold up the traffic. */
export function tapExchanges(exchanges: Exchanges, { filter, perSecond, limit, take, onLimit }: TapOptions): Tap {
  let left = limit;
  let leftOut = 0;
  let second = 0;
  let inSecond = 0;

  const stop = exchanges.observe((record) => {
    if (left === 0 || !isWanted(record, filter)) return;
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) [second, inSecond] = [now, 0];
    if (++inSecond > perSecond || !take(toTapRecord(record))) {
      leftOut += 1;
      return;
    }
    left -= 1;
    if (left === 0) onLimit();
  });

  return {
    takeLeftOut() {
      const taken = leftOut;
      leftOut = 0;
      return taken;
    },
    stop,
  };
}

/** A record as people and the CA get it. */
export function toTapRecord({ startedAtMs, trace: _, ...record }: ExchangeRecord): TapRecord {
  return { startedAt: new Date(startedAtMs).toISOString(), ...record };
}

function isWanted({ direction, method, path }: ExchangeRecord, filter: TapFilter): boolean {
  if (filter.direction !== undefined && direction !== filter.direction) return false;
  if (filter.method !== undefined && method !== filter.method) return false;
  return filter.path === undefined || path.startsWith(filter.path);
}
