import { Http2Error } from "./frames.ts";

/** What a client may do without getting anything done, counted. Each throws {Http2Error} enhanceYourCalm when it is too much. */
export interface FloodLimits {
  /** A request is taken back, or refused for its form. */
  reset(): void;
  settings(): void;
  /** PING, PRIORITY, an empty DATA frame, one of a type nobody knows. */
  idleFrame(): void;
}

/** @param nowMs milliseconds since some moment */
export function floodLimits(nowMs: () => number): FloodLimits {
  return {
    reset: bucket("requests that are taken back", maxResets, nowMs),
    settings: bucket("SETTINGS", maxSettings, nowMs),
    idleFrame: bucket("frames that carry nothing", maxIdleFrames, nowMs),
  };
}

interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

function bucket(what: string, { burst, perSecond }: Rate, nowMs: () => number): () => void {
  let left = burst;
  let filledMs = nowMs();
  return () => {
    if (left < 1) {
      const now = nowMs();
      left = Math.min(burst, left + ((now - filledMs) / 1000) * perSecond);
      filledMs = now;
      if (left < 1) throw new Http2Error("enhanceYourCalm", `too many ${what}`);
    }
    left -= 1;
  };
}

/** Rapid reset (CVE-2023-44487): the burst is nghttp2's; deadlines that pass all at once take back as many requests as there are. */
const maxResets: Rate = { burst: 1000, perSecond: 100 };
const maxSettings: Rate = { burst: 100, perSecond: 10 };
/** Go's gRPC measures bandwidth by a PING for each round trip. */
const maxIdleFrames: Rate = { burst: 10_000, perSecond: 5000 };
