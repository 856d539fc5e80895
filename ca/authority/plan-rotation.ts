import { familyOf, isPublished, isValidAt } from "../authority-tree.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { HolderRow } from "../store/rows/holders.ts";
import { planJwtKeys, type JwtKeyPolicy, type JwtKeyStep } from "./plan-jwt-keys.ts";

/** When authorities are replaced. Parts are of a root's usable life: up to where an issuer made then would outlive it. */
export interface RotationPolicy extends JwtKeyPolicy {
  readonly issuerLifetimeMs: number;
  readonly issuerRenewBeforeMs: number;
  readonly rootPreparePart: number;
  readonly rootActivatePart: number;
  /** How long a replaced root stays in the bundle at least. */
  readonly rootRetirePart: number;
  /** Where the next root's key is; undefined where it is made together with the root. */
  readonly nextRootKey?: object | undefined;
}

/** Who has not acknowledged a bundle yet; some of them, where they are many. */
export interface Holders {
  readonly sequence: number;
  readonly behind: readonly HolderRow[];
}

/** What has to happen to the authorities next. */
export type RotationStep =
  /** Make a root and publish it; nothing is signed with it yet. */
  | { readonly kind: "prepare-root"; readonly after: string }
  /** Let a prepared root or intermediate take over. */
  | { readonly kind: "activate"; readonly authorityId: string; readonly replaces: string | undefined }
  /** Make an issuer below the parent. */
  | { readonly kind: "replace-issuer"; readonly parentId: string; readonly replaces: string | undefined }
  | JwtKeyStep
  /** Nothing below it lives: itself, and with a root all that is left below it. */
  | { readonly kind: "retire"; readonly authorityIds: readonly [string, ...string[]] };

/**
 * Decides what is due, at most one step: the same rows, holders and time give the same step on every replica. Pure. No root is
 * activated while a holder is behind its publication, none retired while a certificate below it is valid.
 * @param skip  kinds of steps that failed just now, so that they do not keep others waiting
 */
export function planRotation(
  authorities: readonly AuthorityRow[], holders: Holders | undefined, policy: RotationPolicy, nowMs: number,
  skip: ReadonlySet<RotationStep["kind"]> = new Set(),
): RotationStep | undefined {
  const candidates = [
    () => activation(authorities, holders, policy, nowMs), () => preparation(authorities, policy, nowMs),
    () => issuerReplacement(authorities, policy, nowMs), () => planJwtKeys(authorities, holders, policy, nowMs), () => retirement(authorities, policy, nowMs),
  ];
  for (const candidate of candidates) {
    const step = candidate();
    if (step !== undefined && !skip.has(step.kind)) return step;
  }
  return undefined;
}

/** The prepared root that waits for its holders, if it is due but for them; its `publishedSequence` is what they must acknowledge. */
export function awaitingHolders(authorities: readonly AuthorityRow[], policy: RotationPolicy, nowMs: number): AuthorityRow | undefined {
  const prepared = preparedRoot(authorities);
  const active = activeOf(authorities, "root");
  if (prepared === undefined || !canSign(prepared, authorities) || !isValidAt(prepared.notAfterMs, nowMs)) return undefined;
  return active === undefined || nowMs >= (prepared.activateAtMs ?? partOfLife(active, policy.rootActivatePart, policy)) ? prepared : undefined;
}

/**
 * Who signs issuers now: the active intermediate of the active root, or that root itself where its key can be had. Of another CA's roots any:
 * that one chooses.
 */
export function signingParent(authorities: readonly AuthorityRow[]): AuthorityRow | undefined {
  const root = activeOf(authorities, "root") ?? authorities.find((row) => row.key.kind === "upstream" && isPublished(row));
  if (root === undefined) return undefined;
  const intermediate = authorities.find(({ type, state, parentId }) => type === "intermediate" && state === "active" && parentId === root.id);
  return intermediate ?? (root.key.kind === "offline" ? undefined : root);
}

/** The active one of a type. */
export function activeOf(authorities: readonly AuthorityRow[], type: AuthorityRow["type"]): AuthorityRow | undefined {
  return authorities.find((row) => row.type === type && row.state === "active");
}

/** The newest prepared root. */
export function preparedRoot(authorities: readonly AuthorityRow[]): AuthorityRow | undefined {
  return authorities.findLast(({ type, state }) => type === "root" && state === "prepared");
}

/** When a part of a root's usable life is over. */
function partOfLife({ notBeforeMs, notAfterMs }: AuthorityRow, part: number, { issuerLifetimeMs }: RotationPolicy): number {
  return notBeforeMs + part * Math.max(notAfterMs - issuerLifetimeMs - notBeforeMs, 0);
}

function activation(authorities: readonly AuthorityRow[], holders: Holders | undefined, policy: RotationPolicy, nowMs: number): RotationStep | undefined {
  const root = awaitingHolders(authorities, policy, nowMs);
  if (root !== undefined && acknowledged(root, holders)) return { kind: "activate", authorityId: root.id, replaces: activeOf(authorities, "root")?.id };
  const activeRoot = activeOf(authorities, "root");
  const intermediate = authorities.findLast(({ type, state, parentId, activateAtMs = 0 }) => (
    type === "intermediate" && state === "prepared" && parentId === activeRoot?.id && activateAtMs <= nowMs
  ));
  return intermediate && { kind: "activate", authorityId: intermediate.id, replaces: activeOf(authorities, "intermediate")?.id };
}

/** Only for its own sequence or a later one does an empty list mean that everybody trusts it. */
function acknowledged({ publishedSequence }: AuthorityRow, holders: Holders | undefined): boolean {
  return publishedSequence !== undefined && holders !== undefined && holders.sequence >= publishedSequence && holders.behind.length === 0;
}

function preparation(authorities: readonly AuthorityRow[], policy: RotationPolicy, nowMs: number): RotationStep | undefined {
  const active = activeOf(authorities, "root");
  if (active === undefined || !mayFollow(active, policy) || preparedRoot(authorities) !== undefined) return undefined;
  return nowMs >= partOfLife(active, policy.rootPreparePart, policy) ? { kind: "prepare-root", after: active.id } : undefined;
}

function issuerReplacement(authorities: readonly AuthorityRow[], { issuerRenewBeforeMs }: RotationPolicy, nowMs: number): RotationStep | undefined {
  const parent = signingParent(authorities);
  if (parent === undefined) return undefined;
  const active = activeOf(authorities, "issuer");
  // One that begins later was made by a clock that was ahead, and signs nothing until then.
  const due = active === undefined || active.notAfterMs - nowMs < issuerRenewBeforeMs || active.notBeforeMs > nowMs
    // Where another CA signs, it chooses by which of its authorities.
    || (parent.key.kind !== "upstream" && (active.parentId ?? parent.id) !== parent.id);
  return due ? { kind: "replace-issuer", parentId: parent.id, replaces: active?.id } : undefined;
}

function retirement(authorities: readonly AuthorityRow[], policy: RotationPolicy, nowMs: number): RotationStep | undefined {
  for (const row of authorities) {
    const { id, type, state } = row;
    // Until its end an issuer can still be revoked, should its key turn up somewhere.
    const over = !isValidAt(row.notAfterMs, nowMs);
    // Another CA's roots come and go with its bundle.
    if (type === "root" && row.key.kind === "upstream") continue;
    const mayRetire = state === "retiring" || (state === "prepared" && over);
    if (!mayRetire || (type !== "root" && type !== "jwt" && !over)) continue;
    if (type === "root" && !over && nowMs < row.stateSinceMs + policy.rootRetirePart * (row.notAfterMs - row.notBeforeMs)) continue;
    const below = livingBelow(row, authorities);
    if (below.every((one) => one.state === "retiring" && !isValidAt(one.lastNotAfterMs, nowMs)) && !isValidAt(row.lastNotAfterMs, nowMs)) {
      return { kind: "retire", authorityIds: [id, ...below.map((one) => one.id)] };
    }
  }
  return undefined;
}

/** Authorities below one that are not at their end yet. */
export function livingBelow(row: AuthorityRow, authorities: readonly AuthorityRow[]): readonly AuthorityRow[] {
  return familyOf(row, authorities).filter(({ id }) => id !== row.id);
}

/** Whether the CA can make the next root by itself: where a key is elsewhere, an operator makes the next one. */
export function mayFollow({ key }: AuthorityRow, { nextRootKey }: Pick<RotationPolicy, "nextRootKey">): boolean {
  return key.kind === "sealed" || (nextRootKey !== undefined && key.kind !== "offline" && key.kind !== "upstream");
}

function canSign(root: AuthorityRow, authorities: readonly AuthorityRow[]): boolean {
  if (root.key.kind === "upstream") return false;
  if (root.key.kind !== "offline") return true;
  return authorities.some(({ type, state, parentId }) => type === "intermediate" && parentId === root.id && (state === "prepared" || state === "active"));
}
