import type { AuthorityHolder } from "../contract/authorities.ts";
import type { HolderRow } from "../store/rows/holders.ts";
import type { Store } from "../store/store.ts";
import { inTextOrder } from "./text-order.ts";

export interface WorkloadReaderDeps {
  readonly store: Pick<Store, "holdersBehind">;
  readonly now: () => Date;
}

export interface WorkloadQuery {
  /** Asked of each ID: what is not in it is left out. */
  readonly isInView: (spiffeId: string) => boolean;
  /** Part of the ID. */
  readonly search?: string | undefined;
  readonly offset: number;
  readonly limit: number;
}

export interface WorkloadPage {
  /** By ID, one for each holder: replicas of a workload have its ID in common. */
  readonly workloads: readonly AuthorityHolder[];
  /** How many there are on all pages. */
  readonly total: number;
  /** There are more than are ever listed. */
  readonly truncated: boolean;
}

/** Makes the listing of who holds a certificate that lives and was neither renewed nor revoked; those who ask at once share it, and it is some seconds old. */
export function workloadReader({ store, now }: WorkloadReaderDeps) {
  let reading: Promise<readonly HolderRow[]> | undefined;
  let readAtMs = -Infinity;

  async function read(nowMs: number): Promise<readonly HolderRow[]> {
    // Nobody has acknowledged what is never published.
    const rows = await store.holdersBehind({ sequence: Number.MAX_SAFE_INTEGER, nowMs, limit: maxWorkloads + 1 });
    return [...rows].sort((a, b) => inTextOrder(a.spiffeId, b.spiffeId) || b.notAfterMs - a.notAfterMs || inTextOrder(a.serialNumber, b.serialNumber));
  }

  return async function workloads({ isInView, search = "", offset, limit }: WorkloadQuery): Promise<WorkloadPage> {
    const nowMs = now().getTime();
    if (reading === undefined || Math.abs(nowMs - readAtMs) >= staleAfterMs) {
      readAtMs = nowMs;
      reading = read(nowMs);
      reading.catch(() => (reading = undefined));
    }
    const all = await reading;
    const wanted = all.slice(0, maxWorkloads).filter(({ spiffeId }) => spiffeId.includes(search) && isInView(spiffeId));
    return {
      workloads: wanted.slice(offset, offset + limit).map(({ spiffeId, serialNumber, acknowledgedSequence, notAfterMs }) => (
        { spiffeId, serialNumber, acknowledgedSequence: String(acknowledgedSequence), notAfter: new Date(notAfterMs).toISOString() }
      )),
      total: wanted.length, truncated: all.length > maxWorkloads,
    };
  };
}

/** 10 000 of them are some tenths of a second on Postgres. */
const staleAfterMs = 3000;
/** Some 10 MB. */
const maxWorkloads = 50_000;
