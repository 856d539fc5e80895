import { encodeEntry, type Actor } from "./audit/event.ts";
import { AuthorityError } from "./authority/errors.ts";
import type { IssuingClock } from "./clock.ts";
import type { CaConfig } from "./config/config.ts";
import type { ClockConfirmation, ConfirmClockRequest } from "./contract/clock.ts";
import type { Log } from "./log.ts";
import type { Store } from "./store/store.ts";

/** An admin says what time it is; in the audit log before anything is issued by it. */
export type ClockConfirmer = (request: ConfirmClockRequest, caller: { readonly actor: Actor }) => Promise<ClockConfirmation>;

/**
 * Ends a doubt about the clock by the word of an admin whose own clock agrees with it.
 * @throws {Refusal} clock_uncertain: the clocks differ, or the database's decides
 */
export function clockConfirmer({ store, clock, log, now }: {
  readonly store: Pick<Store, "commit">;
  readonly clock: IssuingClock;
  readonly log: Log;
  readonly now: () => Date;
}): ClockConfirmer {
  return async ({ time }, { actor }) => {
    const doubt = clock.doubt();
    const confirmed = clock.witnessed(Date.parse(time));
    if (doubt !== undefined) {
      // If we die before this lands, the restart trusts the clock as well: an operator started us.
      await recordConfirmation(store, { doubt, witnessed: time }, actor, now().getTime());
      confirmed.trust();
      log.warn({ doubt, actor }, "an admin has confirmed the clock; issuing goes on");
    }
    return { time: now().toISOString(), ...(doubt !== undefined && { doubt }) };
  };
}

/**
 * Refuses to start by a clock that is in doubt, unless it is behind nothing but certificates that the operator says were issued by a wrong one.
 * @returns the doubt that the operator ended, to be recorded
 * @throws {AuthorityError} clock_uncertain
 */
export function acceptClock(clock: IssuingClock, newestMs: number | undefined, { acceptClockMs }: Pick<CaConfig, "acceptClockMs">, now: () => Date): string | undefined {
  const remedy = newestMs === undefined ? "" : `. If it is right now, that one was issued by a wrong clock: start once with --accept-clock ${new Date(newestMs).toISOString()}, which is recorded`;
  const doubt = clock.doubt(remedy);
  if (doubt === undefined) return undefined;
  const accepted = newestMs !== undefined && acceptClockMs !== undefined && newestMs <= acceptClockMs;
  if (!accepted) throw new AuthorityError("clock_uncertain", `the CA does not start while the time is in doubt: ${doubt}; else set the clock right`);
  clock.witnessed(now().getTime()).trust();
  return clock.doubt() === undefined ? doubt : undefined;
}

/** Writes down that somebody said what time it is. */
export async function recordConfirmation(store: Pick<Store, "commit">, said: { readonly doubt: string; readonly witnessed: string }, actor: Actor, nowMs: number): Promise<void> {
  await store.commit({ kind: "record", entries: [encodeEntry({ type: "clock.confirmed", ...said }, actor, nowMs)] });
}
