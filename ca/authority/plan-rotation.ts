import type { AuthorityRow } from "../store/store.ts";

/** What has to happen to the authorities now; nothing in it: nothing to do. */
export interface RotationPlan {
  /** Make an issuer; `replaces` is the active one, which it supersedes. */
  readonly issuer?: { readonly replaces: string | undefined };
  /** Retiring authorities whose certificates have all expired. */
  readonly retire: readonly string[];
}

/**
 * Decides what is due: an issuer with less than `issuerRenewBeforeMs` left is replaced, a retiring one that has expired is
 * retired. Pure: the same rows and time give the same plan on every replica.
 */
export function planRotation(
  authorities: readonly AuthorityRow[], { nowMs, issuerRenewBeforeMs }: { readonly nowMs: number; readonly issuerRenewBeforeMs: number },
): RotationPlan {
  const active = authorities.find(({ type, state }) => type === "issuer" && state === "active");
  const retire = authorities
    .filter(({ type, state, notAfterMs }) => type === "issuer" && state === "retiring" && notAfterMs + 1000 <= nowMs)
    .map(({ id }) => id);
  const due = active === undefined || active.notAfterMs - nowMs < issuerRenewBeforeMs;
  return due ? { issuer: { replaces: active?.id }, retire } : { retire };
}
