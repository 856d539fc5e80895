import type { TokenSummary } from "../contract/tokens.ts";
import type { CheckFacts } from "./facts.ts";
import { findingOf, type Finding } from "./finding.ts";

/** Who may act: API tokens and roles that are old, too wide or never used. */
export function judgeAccess({ tokens, operators, nowMs }: CheckFacts): readonly Finding[] {
  const api = (tokens ?? []).filter(({ type }) => type === "api");
  const old = api.filter(({ createdAt }) => nowMs - Date.parse(createdAt) > oldMs);
  const wide = api.filter(({ role, scope = [], expiresAt }) => role === "operator" && expiresAt === undefined && scope.some(isWhole));
  const unused = api.filter(({ createdAt, lastUsedAt }) => nowMs - Date.parse(lastUsedAt ?? createdAt) > unusedMs && nowMs - Date.parse(createdAt) > unusedMs);
  const roles = (operators ?? []).filter(({ role, spiffeId }) => (role === "admin" && spiffeId.endsWith("/*")) || isWhole(spiffeId));
  return [
    ...(tokens === undefined ? [] : [
      findingOf("token-age", "warning", old.map((token) => `${nameOf(token)} is from ${token.createdAt.slice(0, 10)}`)),
      findingOf("token-scope", "warning", wide.map((token) => `${nameOf(token)} has ${token.scope?.filter(isWhole).join(" and ")} for ever`)),
      findingOf("token-used", "warning", unused.map((token) => `${nameOf(token)} was ${token.lastUsedAt === undefined ? "never used" : `last used on ${token.lastUsedAt.slice(0, 10)}`}`)),
    ]),
    ...(operators === undefined ? [] : [findingOf("operator-scope", "warning", roles.map(({ spiffeId, role }) => `whoever is ${spiffeId} is ${role}`))]),
  ];
}

/** A whole trust domain. */
function isWhole(pattern: string): boolean {
  return /^spiffe:\/\/[^/]+\/\*$/.test(pattern);
}

const nameOf = ({ name, id, role }: TokenSummary): string => `${name ?? id} (${role ?? "join"})`;
const dayMs = 86_400_000;
/** Long enough for a habit of renewing them by hand, four times a year. */
const oldMs = 100 * dayMs;
const unusedMs = 30 * dayMs;
