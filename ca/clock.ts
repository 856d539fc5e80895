import { uptime } from "node:os";
import { Refusal } from "./refusal.ts";

/** The time to issue by, as long as there is no reason to doubt it. */
export interface IssuingClock {
  /** @throws {Refusal} clock_uncertain */
  now(): Date;
  /**
   * What is wrong with the clock, or undefined.
   * @param remedy  said where a person can end the doubt; default: by confirming the clock of the CA that runs
   */
  doubt(remedy?: string): string | undefined;
  /**
   * Compares the clock with another one, by which somebody knows what time it is.
   * @returns `trust` ends a doubt that came of what this machine remembers
   * @throws {Refusal} clock_uncertain
   */
  witnessed(otherMs: number): { readonly trust: () => void };
}

export interface ClockSources {
  readonly now: () => Date;
  /** The database's clock, where it has one of its own. */
  readonly databaseMs: () => number | undefined;
  /** Milliseconds of a clock that nobody sets; undefined where `now` is a test's. */
  readonly elapsedMs: ElapsedClock | undefined;
  /** When the newest certificate that was in the store at the start was issued. */
  readonly newestMs: number | undefined;
  /** Of a certificate's notBefore: who follows the right clock must find it valid. */
  readonly clockSkewMs: number;
}

export interface ElapsedClock {
  /** Costs nothing; stands still while the machine sleeps. */
  readonly awakeMs: () => number;
  /** Costs a system call or two. */
  readonly sinceBootMs: () => number;
}

/**
 * Doubts this machine's clock when it is not the database's, when it jumped, or when it is behind what was issued already: a
 * certificate issued by a wrong clock is expired or not yet valid for everybody else, and we cannot tell which time is right. The
 * database decides where it has a clock; else issuing goes on when the clock is back, when an admin whose clock agrees says that it is
 * right, or with a restart, by which an operator says so; behind the newest certificate only with `acceptClock`. Never by itself for having run evenly since it jumped: a wrong clock runs as
 * evenly as a right one.
 */
export function issuingClock({ now, databaseMs, elapsedMs, clockSkewMs, ...sources }: ClockSources): IssuingClock {
  const toleranceMs = Math.max(clockSkewMs, minToleranceMs);
  let { newestMs } = sources;
  let trusted = reading();

  /** All clocks at a moment at which this machine's was right. */
  function reading() {
    return { ms: now().getTime(), awakeMs: elapsedMs?.awakeMs() ?? 0, sinceBootMs: elapsedMs?.sinceBootMs() ?? 0 };
  }

  function doubtOf(nowMs: number, remedy = confirmRemedy): string | undefined {
    const reference = databaseMs();
    if (reference !== undefined) return far(nowMs - reference, "the database's clock");
    if (newestMs !== undefined && nowMs < newestMs - toleranceMs) {
      return `this machine's clock is ${seconds(newestMs - nowMs)} behind the newest certificate, issued at ${new Date(newestMs).toISOString()}${remedy}`;
    }
    if (elapsedMs === undefined) return undefined;
    const passedMs = nowMs - trusted.ms;
    const since = `the time that has passed since it was trusted${remedy}`;
    const doubted = far(passedMs - (elapsedMs.awakeMs() - trusted.awakeMs), since);
    return doubted && far(passedMs - (elapsedMs.sinceBootMs() - trusted.sinceBootMs), since);
  }

  function far(aheadMs: number, of: string): string | undefined {
    return Math.abs(aheadMs) <= toleranceMs ? undefined : `this machine's clock is ${seconds(aheadMs)} ${aheadMs > 0 ? "ahead of" : "behind"} ${of}`;
  }

  return {
    now() {
      const time = now();
      const doubt = doubtOf(time.getTime());
      if (doubt !== undefined) {
        throw new Refusal("clock_uncertain", `Nothing is issued while the time is in doubt: ${doubt}. An operator must look; try again later.`);
      }
      return time;
    },
    doubt: (remedy) => doubtOf(now().getTime(), remedy),
    witnessed(otherMs) {
      const nowMs = now().getTime();
      const reference = databaseMs();
      const difference = reference === undefined ? far(nowMs - otherMs, "the one it is confirmed by") : far(nowMs - reference, "the database's clock");
      if (difference !== undefined) {
        throw new Refusal("clock_uncertain", `The clock is not confirmed: ${difference}. It is ${new Date(nowMs).toISOString()} here; set the wrong one of the two right.`);
      }
      return {
        trust() {
          newestMs = undefined;
          trusted = reading();
        },
      };
    },
  };
}

/** This machine's. */
export const elapsedClock: ElapsedClock = { awakeMs: () => performance.now(), sinceBootMs: () => uptime() * 1000 };

function seconds(ms: number): string {
  return `${Math.round(Math.abs(ms) / 1000)} s`;
}

const confirmRemedy = '; if it is right now, an admin says so with "countersign clock confirm"';
/** Machines that follow NTP are within a second of each other. */
const minToleranceMs = 10_000;
