import { verifyPossession, type PossessionDeps } from "./possession.ts";
import { acknowledgedText, type AcknowledgeRequest, type HeldBundle } from "../contract/acknowledgements.ts";
import type { RateLimits } from "../rate-limits.ts";
import { Refusal } from "../refusal.ts";
import type { Store } from "../store/store.ts";

/** What this CA has published so far. */
export interface Published {
  readonly feedEpoch: string;
  readonly sequence: number;
}

export interface AcknowledgerDeps extends PossessionDeps {
  readonly store: Pick<Store, "certificate" | "acknowledge">;
  readonly published: () => Published;
  readonly limits: Pick<RateLimits, "workload" | "anonymous">;
}

/**
 * Takes down which bundle the holder of a certificate holds; durable when it resolves.
 * @throws {Refusal} rate_limited | bundle_unknown | proof_refused | certificate_expired | certificate_revoked
 */
export function bundleAcknowledger(deps: AcknowledgerDeps) {
  return async function acknowledge(request: AcknowledgeRequest): Promise<void> {
    const sequence = acknowledgedSequence(request, deps.published());
    if (sequence === undefined) {
      throw new Refusal(
        "bundle_unknown",
        `This CA has not published the bundle ${request.bundleSequence} of the feed "${request.feedEpoch}": it was restored from a backup, or ` +
          "a replica has not heard of it yet. Read the bundle again and acknowledge that one.",
      );
    }
    const bound = Buffer.from(acknowledgedText(request));
    const { row } = await verifyPossession(deps, request.proof, bound, { graceMs: 0, purpose: "acknowledgement" }).catch((error: unknown) => {
      throw (error instanceof Refusal ? deps.limits.anonymous() : undefined) ?? error;
    });
    const excess = deps.limits.workload(row.spiffeId);
    if (excess !== undefined) throw excess;
    if (sequence > (row.acknowledgedSequence ?? 0)) await deps.store.acknowledge({ serialNumber: row.serialNumber, sequence });
  };
}

/**
 * The sequence that somebody holds, if this CA has published it.
 * @returns undefined for one of another feed or of the future: it says nothing about what we published
 */
export function acknowledgedSequence({ feedEpoch, bundleSequence }: Partial<HeldBundle>, published: Published): number | undefined {
  if (feedEpoch !== published.feedEpoch || bundleSequence === undefined) return undefined;
  const sequence = Number(bundleSequence);
  return sequence <= published.sequence ? sequence : undefined;
}
