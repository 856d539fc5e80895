import type { AcmeVitals } from "../contract/vitals.ts";

/** What came of looking at a challenge; `why` is undefined where it was met. */
export interface Proved {
  readonly name: string;
  readonly challenge: string;
  readonly why: string | undefined;
}

/** Remembers which names could not be proved lately; one that is proved since is forgotten. */
export function unprovedNames(now: () => Date) {
  const failed = new Map<string, Proved & { readonly why: string; readonly atMs: number }>();
  return {
    add({ name, challenge, why }: Proved): void {
      failed.delete(name);
      if (why !== undefined) failed.set(name, { name, challenge, why, atMs: now().getTime() });
      if (failed.size > maxRemembered) failed.delete(failed.keys().next().value!);
    },
    list: (): AcmeVitals["failures"] => [...failed.values()].filter(({ atMs }) => now().getTime() - atMs < rememberedMs).map(({ atMs, ...one }) => ({ ...one, at: new Date(atMs).toISOString() })),
  };
}

const rememberedMs = 3_600_000;
const maxRemembered = 100;
