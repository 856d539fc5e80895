import type { Caller } from "./services.ts";

/**
 * What the app is given with a request that another part of this process makes for a caller it has authenticated by itself. The mark is
 * a symbol that nothing which comes over a socket can carry.
 */
export function vouchFor(caller: Caller): object {
  return { [vouched]: caller };
}

/** For whom a request is made; undefined for one from outside, which authenticates itself. */
export function vouchedCaller(env: unknown): Caller | undefined {
  return (env as { readonly [vouched]?: Caller } | undefined)?.[vouched];
}

const vouched = Symbol("caller");
