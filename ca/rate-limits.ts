import type { CallerRole } from "./contract.ts";
import { rateBuckets, type RateBuckets } from "./rate-buckets.ts";
import { Refusal } from "./refusal.ts";

/**
 * How often each may ask, by who it is and never by its address: a thousand workloads behind one NAT are not one. Each method
 * returns why not, rate_limited, or undefined. The buckets are this process's: behind a load balancer each replica has its own.
 */
export interface RateLimits {
  /** A request with an API token or by an operator's SVID. An admin is not limited: it could lift any limit. */
  caller(caller: { readonly actor: string; readonly name: string; readonly role: CallerRole }): Refusal | undefined;
  /** A request for a certificate by a join token or a SPIFFE ID that has proved itself. */
  workload(actor: string): Refusal | undefined;
  /** A request that proves no identity: these share one bucket, which nobody with an identity ever takes from. */
  anonymous(): Refusal | undefined;
  /** A question for what is revoked, or for the stream: a bucket of its own, as large, that nothing else takes from. */
  feed(): Refusal | undefined;
}

export interface RateLimitSettings {
  /** Requests a second; ten seconds' worth may come at once. */
  readonly callerRate: number;
  readonly workloadRate: number;
  readonly anonymousRate: number;
}

export function rateLimits({ callerRate, workloadRate, anonymousRate }: RateLimitSettings, now: () => Date): RateLimits {
  const callers = bucketsOf(callerRate);
  const workloads = bucketsOf(workloadRate);
  const strangers = bucketsOf(anonymousRate);
  const followers = bucketsOf(anonymousRate);

  function take(buckets: RateBuckets, identity: string, rate: number, who: string): Refusal | undefined {
    const waitMs = buckets.take(identity, now().getTime());
    return waitMs > 0 ? tooOften(who, rate, waitMs) : undefined;
  }

  return {
    caller({ actor, name, role }) {
      if (role === "admin") return undefined;
      return role === "workload" ? take(workloads, actor, workloadRate, actor) : take(callers, actor, callerRate, `The caller "${name}"`);
    },
    workload: (actor) => take(workloads, actor, workloadRate, actor.startsWith("spiffe://") ? actor : "This join token"),
    anonymous: () => take(strangers, "", anonymousRate, "All who prove no identity together"),
    feed: () => take(followers, "", anonymousRate, "All who follow the feed together"),
  };
}

function bucketsOf(perSecond: number): RateBuckets {
  return rateBuckets({ perSecond, burst: perSecond * burstSeconds });
}

function tooOften(who: string, rate: number, waitMs: number): Refusal {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000));
  return new Refusal(
    "rate_limited",
    `${who} may ask ${rate} times a second and asked more often. Try again in ${seconds} s plus a random part of ${seconds * 2} s, so that ` +
      "those who were told the same do not come back at once.",
    { retryAfterSeconds: seconds },
  );
}

/** What came back together after an outage is let in together. */
const burstSeconds = 10;
