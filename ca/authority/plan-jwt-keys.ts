import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { HolderRow } from "../store/rows/holders.ts";

/** When keys for JWT-SVIDs are replaced. */
export interface JwtKeyPolicy {
  /** How long a key signs. */
  readonly jwtKeyRotationMs: number;
  readonly jwtSvidLifetimeMaxMs: number;
  /** Somebody asks for a JWT-SVID now; until then there are no keys. */
  readonly jwtWanted?: boolean;
}

export type JwtKeyStep =
  | { readonly kind: "create-jwt-key"; readonly state: "active" | "prepared"; readonly replaces: string | undefined }
  | { readonly kind: "activate"; readonly authorityId: string; readonly replaces: string | undefined };

/**
 * Decides what is due of the keys for JWT-SVIDs. There is always a next one in the bundle, so that a taint leaves everybody with a key
 * they know. It takes over when all holders have it, but waits no longer than for one more rotation: a holder without it refuses tokens
 * until it reads the bundle, which is less than tokens for nobody. Pure.
 */
export function planJwtKeys(
  authorities: readonly AuthorityRow[], holders: { readonly sequence: number; readonly behind: readonly HolderRow[] } | undefined, policy: JwtKeyPolicy, nowMs: number,
): JwtKeyStep | undefined {
  const { active, next } = keysOf(authorities, policy, nowMs);
  if (active === undefined && policy.jwtWanted !== true) return undefined;
  const isOverdue = active === undefined || !lasts(active, policy, nowMs) || nowMs >= active.stateSinceMs + 2 * policy.jwtKeyRotationMs;
  if (next === undefined) return { kind: "create-jwt-key", state: active === undefined || !lasts(active, policy, nowMs) ? "active" : "prepared", replaces: active?.id };
  const known = next.publishedSequence !== undefined && holders !== undefined && holders.sequence >= next.publishedSequence && holders.behind.length === 0;
  return isOverdue || (isDue(next, active, policy, nowMs) && known) ? { kind: "activate", authorityId: next.id, replaces: active?.id } : undefined;
}

/** The prepared key that is due but for its holders; its `publishedSequence` is what they must acknowledge. */
export function awaitingJwtKey(authorities: readonly AuthorityRow[], policy: JwtKeyPolicy, nowMs: number): AuthorityRow | undefined {
  const { active, next } = keysOf(authorities, policy, nowMs);
  return active !== undefined && next !== undefined && isDue(next, active, policy, nowMs) ? next : undefined;
}

/** The newest prepared key that lasts. */
export function nextJwtKey(authorities: readonly AuthorityRow[], policy: JwtKeyPolicy, nowMs: number): AuthorityRow | undefined {
  return authorities.findLast((row) => row.type === "jwt" && row.state === "prepared" && lasts(row, policy, nowMs));
}

/**
 * How long a key lives: it may wait for its holders twice as long as it should, sign for twice as long for the next one's, and what it
 * signed last has to end before it.
 */
export function jwtKeyLifetimeMs({ jwtKeyRotationMs, jwtSvidLifetimeMaxMs }: JwtKeyPolicy): number {
  return 4 * jwtKeyRotationMs + jwtSvidLifetimeMaxMs + spareMs;
}

function keysOf(authorities: readonly AuthorityRow[], policy: JwtKeyPolicy, nowMs: number) {
  const active = authorities.find(({ type, state }) => type === "jwt" && state === "active");
  return { active, next: nextJwtKey(authorities, policy, nowMs) };
}

function isDue({ activateAtMs }: AuthorityRow, active: AuthorityRow, { jwtKeyRotationMs }: JwtKeyPolicy, nowMs: number): boolean {
  return nowMs >= (activateAtMs ?? active.stateSinceMs + jwtKeyRotationMs);
}

/** Whether what it signs now ends before it. */
function lasts({ notAfterMs }: AuthorityRow, { jwtSvidLifetimeMaxMs }: JwtKeyPolicy, nowMs: number): boolean {
  return notAfterMs >= nowMs + jwtSvidLifetimeMaxMs;
}

const spareMs = 86_400_000;
