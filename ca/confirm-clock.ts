import { encodeEntry, type Actor } from "./audit/event.ts";
import type { IssuingClock } from "./clock.ts";
import type { ClockConfirmation, ConfirmClockRequest } from "./contract.ts";
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
      await store.commit({ kind: "record", entries: [encodeEntry({ type: "clock.confirmed", doubt, witnessed: time }, actor, now().getTime())] });
      confirmed.trust();
      log.warn({ doubt, actor }, "an admin has confirmed the clock; issuing goes on");
    }
    return { time: now().toISOString(), ...(doubt !== undefined && { doubt }) };
  };
}
