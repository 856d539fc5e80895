import type { UpstreamInvitation } from "../config/upstream.ts";
import type { UpstreamVitals } from "../contract/vitals.ts";
import type { Store } from "../store/store.ts";

export interface StatusDeps {
  readonly store: Pick<Store, "report" | "reports">;
  readonly invitation: Pick<UpstreamInvitation, "url" | "parentTrustDomain">;
  readonly now: () => Date;
}

/** As it is stored. */
interface Status {
  readonly succeededAt?: string;
  readonly failures: number;
  readonly error?: string;
}

/** Keeps how the looks at the CA above go, for all replicas. */
export function statusKeeper({ store, invitation, now }: StatusDeps) {
  let known: Status | undefined;
  let writtenAtMs = -Infinity;

  async function stored(): Promise<Status> {
    const [row] = await store.reports({ kind: place.kind, name: place.name, nowMs: now().getTime(), limit: 1 });
    return row === undefined ? { failures: 0 } : JSON.parse(row.body) as Status;
  }

  async function write(status: Status): Promise<void> {
    known = status;
    writtenAtMs = now().getTime();
    await store.report({ ...place, body: JSON.stringify(status), reportedAtMs: writtenAtMs, expiresAtMs: writtenAtMs + retentionMs });
  }

  return {
    /** @returns whether it had failed before */
    async succeeded(): Promise<boolean> {
      const before = known ?? (await stored());
      const nowMs = now().getTime();
      // A look is made every few seconds: that all is well need not be written each time.
      if (before.failures > 0 || nowMs - writtenAtMs >= writeEveryMs || nowMs < writtenAtMs) await write({ succeededAt: new Date(nowMs).toISOString(), failures: 0 });
      return before.failures > 0;
    },
    /** @returns whether it is the first failure, or another one than before */
    async failed(message: string): Promise<boolean> {
      const before = known ?? (await stored());
      const error = message.slice(0, maxErrorLength);
      await write({ ...(before.succeededAt !== undefined && { succeededAt: before.succeededAt }), failures: before.failures + 1, error });
      return before.error !== error;
    },
    async read(): Promise<UpstreamVitals> {
      const { url, parentTrustDomain: trustDomain } = invitation;
      return { url, trustDomain, ...(await stored()) };
    },
  };
}

const place = { kind: "upstream-status", name: "status", part: "" } as const;
const writeEveryMs = 30_000;
const maxErrorLength = 500;
const retentionMs = 90 * 86_400_000;
