import type { CallerRole } from "./contract/roles.ts";
import { rateBuckets, type RateBuckets } from "./rate-buckets.ts";
import { Refusal } from "./refusal.ts";

/**
 * How often each may ask, by who it is and not by its address: a thousand workloads behind one NAT are not one. Only what strangers
 * have together is divided by address, so that one of them does not take it all. Each method
 * returns why not, rate_limited, or undefined. The buckets are this process's: behind a load balancer each replica has its own.
 */
export interface RateLimits {
  /** A request with an API token or by an operator's SVID. An admin is not limited: it could lift any limit. */
  caller(caller: { readonly actor: string; readonly name: string; readonly role: CallerRole }): Refusal | undefined;
  /** A request for a certificate by a join token or a SPIFFE ID that has proved itself. */
  workload(actor: string): Refusal | undefined;
  /** A request that proves no identity: these share one bucket, which nobody with an identity ever takes from. */
  anonymous(): Refusal | undefined;
  /** A question for what is revoked, or for the stream, by who proved an identity: a bucket of its own, apart from its other requests. */
  follower(caller: { readonly actor: string; readonly role: CallerRole }): Refusal | undefined;
  /** The same by a stranger: a bucket that nothing else takes from, of which no address has more than a share. */
  stranger(address: string): Refusal | undefined;
  /** A request of ACME's by who has not proved to have an account, as everybody's first one is: the same with a bucket of its own. */
  applicant(address: string): Refusal | undefined;
  /** An account of ACME's that anybody may open, and that is kept for years: few, whatever else strangers may ask. */
  opening(address: string): Refusal | undefined;
}

export interface RateLimitSettings {
  /** Requests a second; ten seconds' worth may come at once. */
  readonly callerRate: number;
  readonly workloadRate: number;
  readonly anonymousRate: number;
}

/** Counts requests by who makes them, in this process alone. */
export function rateLimits({ callerRate, workloadRate, anonymousRate }: RateLimitSettings, now: () => Date): RateLimits {
  const callers = bucketsOf(callerRate);
  const workloads = bucketsOf(workloadRate);
  const strangers = bucketsOf(anonymousRate);
  const followers = bucketsOf(workloadRate);

  function take(buckets: RateBuckets, identity: string, rate: number, who: string): Refusal | undefined {
    const waitMs = buckets.take(identity, now().getTime());
    return waitMs > 0 ? tooOften(who, rate, waitMs) : undefined;
  }

  /** Of what all strangers together have, a share for each address. */
  function sharedByAddress(whoTogether: string, rate = anonymousRate, burst = rate * burstSeconds): (address: string) => Refusal | undefined {
    const together = rateBuckets({ perSecond: rate, burst });
    const addresses = rateBuckets({ perSecond: rate * addressShare, burst: burst * addressShare });
    // First its own share: what is refused there takes nothing from the others.
    return (address) => take(addresses, address, rate * addressShare, "One address without an identity") ?? take(together, "", rate, whoTogether);
  }

  return {
    caller({ actor, name, role }) {
      if (role === "admin") return undefined;
      return role === "workload" ? take(workloads, actor, workloadRate, actor) : take(callers, actor, callerRate, `The caller "${name}"`);
    },
    workload: (actor) => take(workloads, actor, workloadRate, actor.startsWith("spiffe://") ? actor : "This join token"),
    anonymous: () => take(strangers, "", anonymousRate, "All who prove no identity together"),
    follower: ({ actor, role }) => role === "admin" ? undefined : take(followers, actor, workloadRate, actor),
    stranger: sharedByAddress("All who follow the feed without an identity together"),
    applicant: sharedByAddress("All who speak ACME without an account together"),
    opening: sharedByAddress("All who open accounts together", openingsPerSecond, openingsAtOnce),
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

/** Some 300 MB a day at worst. */
const openingsPerSecond = 2;
/** A fleet that starts behind one address opens a quarter of them. */
const openingsAtOnce = 2000;
/** Of what strangers may ask of the feed, or of ACME, together, for one address. */
const addressShare = 1 / 4;
/** What came back together after an outage is let in together. */
const burstSeconds = 10;
