import { rateBuckets } from "../rate-buckets.ts";

/** What strangers may have of the database and the CPU by asking for OCSP responses that are not at hand. */
export interface OcspBudget {
  /** For one that can be kept, so that many who ask cost one look and one signature. */
  takeCommon(address: string): boolean;
  /** For one that is good for its asker alone: with a nonce, or about several certificates, each of which is a look. */
  takeOwn(address: string, certificates: number): boolean;
}

/**
 * Both kinds apart, so that requests with a nonce, which nobody can answer from memory, never keep others from being answered; of each an
 * address has half, so that one that floods leaves the others theirs.
 */
export function ocspBudget(now: () => Date): OcspBudget {
  const [common, own] = [shared(maxCommonPerSecond), shared(maxOwnPerSecond)];

  return {
    takeCommon: (address) => common(address, 1, now().getTime()),
    takeOwn: (address, certificates) => own(address, certificates, now().getTime()),
  };
}

function shared(perSecond: number): (address: string, count: number, nowMs: number) => boolean {
  const all = rateBuckets({ perSecond, burst: perSecond });
  const each = rateBuckets({ perSecond: perSecond / 2, burst: perSecond / 2, maxIdentities: maxAddresses });
  return (address, count, nowMs) => {
    for (let taken = 0; taken < count; taken++) if (each.take(address, nowMs) > 0 || all.take("", nowMs) > 0) return false;
    return true;
  };
}

/** Some tenths of a core in looks and signatures, at most. */
const maxCommonPerSecond = 1000;
const maxOwnPerSecond = 500;
const maxAddresses = 10_000;
