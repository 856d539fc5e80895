import { randomUUID } from "node:crypto";
import type { AuthorityKeeper } from "./authority/keeper.ts";
import type { DenialRecorder } from "./audit/denials.ts";
import type { Log } from "./log.ts";
import type { Pruner } from "./pruning.ts";
import type { CrlPublisher } from "./revocation/crl-publisher.ts";
import type { Store } from "./store/store.ts";

/** What a host calls whose process may be frozen after each request, or ended: it takes the place of every timer. */
export interface OnDemand {
  /** Before a request: learns what happened while the process stood still. Never rejects; a database that is away is refused by whoever needs it. */
  attend(): Promise<void>;
  /**
   * For a schedule: does all that is due (rotation, CRLs, bundles of other trust domains, pruning), asks for the keys outside and publishes. Idempotent, under the leases of each.
   * @param untilMs  by `performance.now()`: no further step of pruning begins then
   * @returns rows of certificates that were forgotten
   */
  maintain(untilMs: number): Promise<{ readonly pruned: number }>;
  /** After a request: resolves when what was begun for it has ended, so that nothing is lost or held up when the process stops. */
  settle(): Promise<void>;
}

export interface OnDemandDeps {
  readonly store: Pick<Store, "ping" | "acquireLease">;
  readonly keeper: AuthorityKeeper;
  readonly crls: CrlPublisher;
  /** Polls other trust domains. */
  readonly federation: { tick(): Promise<void> };
  /** Follows the CA above this one, where there is one. */
  readonly upstream: { tick(): Promise<void> } | undefined;
  /** Puts bundle and CRLs where they are read without the CA, if there is such a place. */
  readonly publisher: { tick(): Promise<void> } | undefined;
  readonly pruning: Pruner;
  readonly denials: DenialRecorder;
  /** Logs what ceremonies are due. */
  readonly ceremonies: { look(): Promise<void> };
  /** Asks for the keys outside. */
  readonly checkKeys: () => Promise<void>;
  readonly log: Log;
}

/**
 * Runs the CA for one request after another. Where no schedule calls `maintain`, requests do: the first one in ten minutes, of all
 * processes, which the lease `maintenance` counts.
 */
export function onDemand({ store, keeper, crls, federation, upstream, publisher, pruning, denials, ceremonies, checkKeys, log }: OnDemandDeps): OnDemand {
  const holder = randomUUID();
  let readAtMs = Date.now();
  let claimedAtMs = -Infinity;
  let claiming: Promise<unknown> | undefined;

  async function doWhatIsDue(untilMs: number): Promise<{ readonly pruned: number }> {
    await keeper.tick();
    await crls.tick();
    await federation.tick();
    await upstream?.tick();
    await ceremonies.look();
    return { pruned: await pruning.tick(untilMs) };
  }

  async function maintainIfNobodyDid(): Promise<void> {
    const { held } = await store.acquireLease({ name: leaseName, holder, ttlMs: maintainEveryMs });
    if (held) await doWhatIsDue(performance.now() + maxMaintenanceMs);
  }

  return {
    async attend() {
      const nowMs = Date.now();
      try {
        await store.ping();
        // By the wall clock: another one may have stood still with the process.
        if (Math.abs(nowMs - readAtMs) > readEveryMs) {
          await keeper.refresh();
          readAtMs = nowMs;
        }
      } catch (err) {
        log.warn({ err }, "the database could not be looked at before a request");
        return;
      }
      if (Math.abs(nowMs - claimedAtMs) < maintainEveryMs) return;
      claimedAtMs = nowMs;
      claiming = maintainIfNobodyDid().catch((err: unknown) => log.warn({ err }, "what was due could not be done; tried again in some minutes"));
    },
    async maintain(untilMs) {
      // Then no request has to.
      await store.acquireLease({ name: leaseName, holder: "schedule", ttlMs: maintainEveryMs });
      await checkKeys();
      const done = await doWhatIsDue(untilMs);
      // Last, since it may fail: then the schedule's invocation does, and is seen. No request waits for it.
      await publisher?.tick();
      return done;
    },
    async settle() {
      await claiming;
      claiming = undefined;
      denials.flushDue();
    },
  };
}

const leaseName = "maintenance";
/** How late such a process may notice what another one did, if nothing else tells it: as a replica. */
const readEveryMs = 5_000;
const maintainEveryMs = 10 * 60_000;
/** Of one request: what is left waits for the next one. */
const maxMaintenanceMs = 1_000;
