import { setTimeout as sleep } from "node:timers/promises";
import { paths } from "../contract/paths.ts";
import type { TapEvent, TapRequest } from "../contract/taps.ts";
import { ApiError, type Api } from "./api.ts";

export interface Tapping {
  readonly request: TapRequest;
  readonly onEvent: (told: TapEvent) => void;
}

/** One tap, until it is over. @throws {ApiError} */
export async function tapOnce(ca: Api, { request, onEvent }: Tapping): Promise<void> {
  await ca.follow(paths.taps, request, (event, data) => onEvent({ event, data } as TapEvent));
}

/**
 * One tap after the other until it is to end: each is over by itself, and a CA that is started again knows none of before.
 * @param onAway  is told why there was no answer; what it throws ends it
 */
export async function tapOn(ca: Api, { onAway, ending, ...tapping }: Tapping & { readonly onAway: (error: ApiError) => void; readonly ending: AbortSignal }): Promise<void> {
  while (!ending.aborted) {
    try {
      await tapOnce(ca, tapping);
    } catch (error) {
      if (ending.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      onAway(error);
    }
    await sleep(pauseMs, undefined, { signal: ending }).catch(() => undefined);
  }
}

/** What a tap may have at most: who watches has the fewest entries in the audit log. */
export const longestTap = { seconds: 600, limit: 10_000 } as const;
/** Between two: one that is over at once, by its number of requests, is not opened many times a second. */
const pauseMs = 1000;
