/** Uniform in [0, 1). */
export type Random = () => number;

/**
 * When to renew: at 50-70 % of life, drawn anew for each certificate, so that proxies that started together drift apart.
 * @returns milliseconds since the epoch
 */
export function renewalTime({ notBeforeMs, notAfterMs }: { readonly notBeforeMs: number; readonly notAfterMs: number }, random: Random): number {
  const part = minRenewalPart + (maxRenewalPart - minRenewalPart) * random();
  return Math.round(notBeforeMs + (notAfterMs - notBeforeMs) * part);
}

/** `refusal`: the CA said no, and asking often will not change its mind. `first`: nothing works yet, and somebody is waiting. */
export type FailureKind = "first" | "renewal" | "refusal";

/**
 * How long to wait after the `failures`th failure in a row (1 or more): doubling from 1 s up to a bound that depends on the
 * kind of failure and on nothing else (linkerd2 waits 70 % of what is left, so a long outage is slept through), of which a
 * random half to whole. What the CA asked for (`retryAfterMs`) is waited at least.
 */
export function retryDelay(failures: number, kind: FailureKind, random: Random, retryAfterMs = 0): number {
  const ceilingMs = Math.min(maxRetryMs[kind], minRetryMs * 2 ** Math.min(failures - 1, maxDoublings));
  return Math.round(retryAfterMs + ceilingMs * (0.5 + 0.5 * random()));
}

/** `meanMs` give or take a tenth. */
export function jittered(meanMs: number, random: Random): number {
  return Math.round(meanMs * (0.9 + 0.2 * random()));
}

const minRenewalPart = 0.5;
const maxRenewalPart = 0.7;
const minRetryMs = 1000;
const maxRetryMs = { first: 10_000, renewal: 60_000, refusal: 300_000 } as const;
/** 2^20 s are above every bound. */
const maxDoublings = 20;
