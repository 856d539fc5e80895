import { isSecretOf, createTokenSecret, parseToken } from "./attestation/token-secret.ts";
import { checkScope, type OperatorDeps } from "./attestation/operator.ts";
import { parseRequestedId } from "./attestation/requested-id.ts";
import { encodeEntry } from "./audit/event.ts";
import type { CreatedToken, CreateTokenRequest, TokenSummary } from "./contract/tokens.ts";
import type { Caller } from "./http/services.ts";
import { authorizeNames, type NameRules } from "./issuance/names.ts";
import { encodeBootstrap } from "./pki/bootstrap.ts";
import { parseSpiffeId } from "./pki/spiffe-id.ts";
import { checkPrivilege } from "./privilege.ts";
import { Refusal } from "./refusal.ts";
import { checkRoleScope, splitScope } from "./role-scope.ts";
import { StoreError } from "./store/errors.ts";
import type { TokenRow } from "./store/rows/tokens.ts";
import type { Store } from "./store/store.ts";

export interface TokenDeps extends NameRules, OperatorDeps {
  readonly store: Store;
  readonly now: () => Date;
  readonly joinTokenLifetimeMs: number;
  /** Where proxies reach this CA. */
  readonly publicUrl: () => string;
  /** SHA-256 of the root that signs now, hex. */
  readonly rootFingerprint: () => string;
}

export interface Tokens {
  authenticate(bearerToken: string): Promise<Caller | undefined>;
  /** The caller that an API token is which was authenticated before. @param actor `token:<id>` */
  callerOf(actor: string): Promise<Caller | undefined>;
  /** @throws {Refusal} forbidden | invalid_request | spiffe_id_refused | dns_name_refused */
  create(request: CreateTokenRequest, caller: Caller): Promise<CreatedToken>;
  /** @throws {Refusal} forbidden | not_found */
  remove(id: string, caller: Caller): Promise<void>;
}

/** Join and API tokens. Of a secret only its hash is kept; the answer to `create` is the only place it is ever in. */
export function tokenService(deps: TokenDeps): Tokens {
  const { store, now, trustDomain } = deps;
  let deletions = 0;
  const remembered = new Map<string, { readonly row: TokenRow; readonly untilMs: number; used: boolean }>();

  async function authenticate(bearerToken: string): Promise<Caller | undefined> {
    const parts = parseToken(bearerToken);
    if (parts?.type !== "api") return undefined;
    const nowMs = now().getTime();
    const row = await livingRow(parts.id, nowMs);
    // The secret is compared each time, also with a remembered row.
    if (row === undefined || !isSecretOf(parts.secret, row.secretHash)) return undefined;
    noteUse(row, nowMs);
    return callerOf(row, trustDomain);
  }

  async function livingRow(id: string, nowMs: number): Promise<TokenRow | undefined> {
    const row = rememberedRow(id, nowMs) ?? (await readRow(id, nowMs));
    return row?.expiresAtMs !== undefined && nowMs >= row.expiresAtMs ? undefined : row;
  }

  function rememberedRow(id: string, nowMs: number): TokenRow | undefined {
    const found = remembered.get(id);
    return found !== undefined && nowMs < found.untilMs ? found.row : undefined;
  }

  async function readRow(id: string, nowMs: number): Promise<TokenRow | undefined> {
    const deletionsBefore = deletions;
    const row = await store.token(id);
    remembered.delete(id);
    if (row?.type !== "api" || row.deletedAtMs !== undefined) return undefined;
    // A row read while a token was being deleted may be that token's: not to be remembered.
    if (deletions !== deletionsBefore) return row;
    if (remembered.size >= maxRemembered) remembered.clear();
    remembered.set(id, { row, untilMs: nowMs + rememberMs, used: false });
    return row;
  }

  /** Once for each reading of the row, and only for a secret that fits: a stranger who knows an ID must not make a token look used. */
  function noteUse({ id }: TokenRow, nowMs: number): void {
    const found = remembered.get(id);
    if (found === undefined || found.used) return;
    found.used = true;
    // Best effort, and off the request's path: a lost note of use harms nobody.
    store.touchToken(id, nowMs).catch(() => undefined);
  }

  async function create(request: CreateTokenRequest, caller: Caller): Promise<CreatedToken> {
    const { row, token } = newToken(deps, request, caller);
    if (row.type === "join") {
      const id = parseSpiffeId(row.spiffeId ?? "");
      checkPrivilege(await deps.hasRole(id), caller, id, "vouch for");
    }
    const { id: tokenId, type: tokenType, spiffeId, dnsNames, name, role, scope, expiresAtMs } = row;
    const secretHash = Buffer.from(row.secretHash).toString("hex");
    const entry = encodeEntry(
      {
        type: "token.created", tokenId, tokenType, secretHash, ...(spiffeId && { spiffeId }), ...(dnsNames && { dnsNames }), ...(name && { name }), ...(role && { role }),
        ...(scope && { scope }),
        ...(expiresAtMs !== undefined && { expiresAt: new Date(expiresAtMs).toISOString() }),
      },
      row.createdBy, row.createdAtMs,
    );
    await store.commit({ kind: "create-token", token: row, entries: [entry] });
    const summary = summarizeToken(row);
    if (tokenType === "api") return { ...summary, token };
    const bootstrap = encodeBootstrap({ caUrl: deps.publicUrl(), token, rootFingerprint: deps.rootFingerprint(), trustDomain });
    return { ...summary, token, bootstrap };
  }

  async function remove(id: string, caller: Caller): Promise<void> {
    const row = await store.token(id);
    if (row === undefined || row.deletedAtMs !== undefined) throw tokenNotFound(id);
    if (row.type === "api") requireAdmin(caller, "delete an API token");
    else {
      const spiffeId = parseSpiffeId(row.spiffeId ?? "");
      checkScope(caller, spiffeId);
      checkPrivilege(await deps.hasRole(spiffeId), caller, spiffeId, "delete join tokens of");
    }
    const deletedAtMs = now().getTime();
    const entry = encodeEntry({ type: "token.deleted", tokenId: id }, caller.actor, deletedAtMs);
    try {
      await store.commit({ kind: "delete-token", tokenId: id, deletedAtMs, entries: [entry] });
    } catch (error) {
      if (error instanceof StoreError && error.code === "token_unknown") throw tokenNotFound(id);
      throw error;
    } finally {
      deletions += 1;
      remembered.delete(id);
    }
  }

  return {
    authenticate, create, remove,
    async callerOf(actor) {
      const row = await livingRow(actor.slice(actor.indexOf(":") + 1), now().getTime());
      return row && callerOf(row, trustDomain);
    },
  };
}

/** What a list shows of a token. */
export function summarizeToken(row: TokenRow): TokenSummary {
  const { id, type, createdAtMs, createdBy, expiresAtMs, spiffeId, dnsNames, redeemedAtMs, name, role, scope, lastUsedAtMs } = row;
  return {
    id, type, createdBy,
    createdAt: new Date(createdAtMs).toISOString(),
    ...(expiresAtMs !== undefined && { expiresAt: new Date(expiresAtMs).toISOString() }),
    ...(spiffeId !== undefined && { spiffeId }),
    ...(dnsNames !== undefined && { dnsNames }),
    ...(redeemedAtMs !== undefined && { redeemedAt: new Date(redeemedAtMs).toISOString() }),
    ...(name !== undefined && { name }),
    ...(role !== undefined && { role }),
    ...(scope !== undefined && { scope }),
    ...(lastUsedAtMs !== undefined && { lastUsedAt: new Date(lastUsedAtMs).toISOString() }),
  };
}

/** The admin token of the first start, which no API token can vouch for. */
export function firstAdminToken(nowMs: number): { readonly row: TokenRow; readonly token: string } {
  const { id, token, secretHash } = createTokenSecret("api");
  return { token, row: { id, type: "api", secretHash, version: 0, createdAtMs: nowMs, createdBy: "system", name: "first-admin", role: "admin" } };
}

function newToken(deps: TokenDeps, request: CreateTokenRequest, caller: Caller): { readonly row: TokenRow; readonly token: string } {
  const nowMs = deps.now().getTime();
  const { id, token, secretHash } = createTokenSecret(request.type);
  const common = { id, secretHash, version: 0, createdAtMs: nowMs, createdBy: caller.actor };
  const lifetimeMs = lifetimeOf(request.expiresInSeconds);
  if (request.type === "join") {
    const spiffeId = parseRequestedId(request.spiffeId);
    const dnsNames = request.dnsNames ?? [];
    checkScope(caller, spiffeId, dnsNames);
    authorizeNames(deps, spiffeId, dnsNames);
    return { token, row: { ...common, type: "join", spiffeId: spiffeId.uri, dnsNames, expiresAtMs: nowMs + (lifetimeMs ?? deps.joinTokenLifetimeMs) } };
  }
  requireAdmin(caller, "create an API token");
  const { name, role, scope = [] } = request;
  if (!tokenName.test(name)) {
    throw new Refusal(
      "invalid_request",
      "An API token's name has 1 to 64 letters, digits, dots, dashes, underscores or spaces.",
    );
  }
  return {
    token,
    row: { ...common, type: "api", name, role, scope: checkRoleScope(deps.trustDomain, role, scope), ...(lifetimeMs !== undefined && { expiresAtMs: nowMs + lifetimeMs }) },
  };
}

function callerOf({ id, name, role, scope }: TokenRow, trustDomain: string): Caller | undefined {
  if (role === undefined) return undefined;
  const common = { actor: `token:${id}`, name: name ?? id, role };
  if (role === "admin") return { ...common, scope: [`spiffe://${trustDomain}/*`] };
  return { ...common, ...splitScope(scope ?? []) };
}

function lifetimeOf(expiresInSeconds: number | undefined): number | undefined {
  if (expiresInSeconds === undefined) return undefined;
  if (!Number.isSafeInteger(expiresInSeconds) || expiresInSeconds < 1 || expiresInSeconds > maxTokenLifetimeSeconds) {
    throw new Refusal(
      "invalid_request",
      `expiresInSeconds must be a whole number from 1 to ${maxTokenLifetimeSeconds} (10 years).`,
    );
  }
  return expiresInSeconds * 1000;
}

function requireAdmin({ name, role }: Caller, what: string): void {
  if (role !== "admin") {
    throw new Refusal(
      "forbidden",
      `The caller "${name}" has the role ${role}; only an admin may ${what}.`,
    );
  }
}

function tokenNotFound(id: string): Refusal {
  return new Refusal("not_found", `There is no token ${id}, or it was deleted; "countersign token list" (GET /v1/tokens) shows them.`);
}

const tokenName = /^[A-Za-z0-9._-][A-Za-z0-9._ -]{0,63}$/;
const maxTokenLifetimeSeconds = 10 * 365 * 86_400;
/** A token deleted on another replica works here for at most this long; one deleted here ends at once. */
const rememberMs = 5000;
const maxRemembered = 10_000;
