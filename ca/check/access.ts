import type { TokenSummary } from "../contract/tokens.ts";
import type { CheckFacts } from "./facts.ts";
import { findingOf, type Finding } from "./finding.ts";

/** Who may act: tokens and roles that are old, too wide or not used. */
export function judgeAccess({ tokens, operators, nowMs }: CheckFacts): readonly Finding[] {
  const live = (tokens ?? []).filter((token) => isLive(token, nowMs));
  const api = live.filter(({ type }) => type === "api");
  const old = api.filter(({ createdAt }) => nowMs - Date.parse(createdAt) > oldDays * dayMs);
  const wide = api.filter(({ role, scope = [], expiresAt }) => role === "operator" && expiresAt === undefined && scope.some(isWhole));
  const unused = live.filter((token) => nowMs - Date.parse(token.lastUsedAt ?? token.createdAt) > unusedDays * dayMs);
  const idle = (operators ?? []).filter(({ createdAt, lastUsedAt }) => nowMs - Date.parse(lastUsedAt ?? createdAt) > idleDays * dayMs);
  const roles = (operators ?? []).filter(({ role, spiffeId }) => (role === "admin" && spiffeId.endsWith("/*")) || isWhole(spiffeId));
  return [
    ...(tokens === undefined ? [] : [
      findingOf("token-age", "warning", old.map((token) => `${nameOf(token)} is from ${token.createdAt.slice(0, 10)}`)),
      findingOf("token-scope", "warning", wide.map((token) => `${nameOf(token)} has ${token.scope?.filter(isWhole).join(" and ")} for ever`)),
      findingOf("token-used", "warning", unused.map((token) => `${nameOf(token)} was ${useOf(token)}`)),
    ]),
    ...(operators === undefined ? [] : [
      findingOf("operator-scope", "warning", roles.map(({ spiffeId, role }) => `whoever is ${spiffeId} is ${role}`)),
      findingOf("operator-used", "warning", idle.map((operator) => `${operator.spiffeId} (${operator.role}) was ${useOf(operator)}`)),
    ]),
  ];
}

/** A whole trust domain. */
function isWhole(pattern: string): boolean {
  return /^spiffe:\/\/[^/]+\/\*$/.test(pattern);
}

/** A join token that was redeemed is over, as is whatever has expired. */
function isLive({ redeemedAt, expiresAt }: TokenSummary, nowMs: number): boolean {
  return redeemedAt === undefined && (expiresAt === undefined || Date.parse(expiresAt) > nowMs);
}

function useOf({ lastUsedAt }: { readonly lastUsedAt?: string }): string {
  return lastUsedAt === undefined ? "never used" : `last used on ${lastUsedAt.slice(0, 10)}`;
}

function nameOf({ name, id, type, role, spiffeId = "" }: TokenSummary): string {
  return type === "join" ? `the join token ${id} for ${spiffeId.replace(/^spiffe:\/\/[^/]*/, "")}` : `${name ?? id} (${role})`;
}

const dayMs = 86_400_000;
/** Long enough for a habit of renewing them by hand, four times a year. The catalogue tells people of all three. */
export const oldDays = 100;
export const unusedDays = 30;
/** A role is mostly a person's: no secret of it lies about, and whoever has it may be needed once a season. */
export const idleDays = 100;
