import { hash, randomBytes } from "node:crypto";
import type { Operator, OperatorDeps } from "../attestation/operator.ts";
import { checkScope } from "../attestation/operator.ts";
import { parseRequestedId } from "../attestation/requested-id.ts";
import { encodeEntry } from "../audit/event.ts";
import type { AuthorityKeeper } from "../authority/keeper.ts";
import type { IssuedJwtSvid, IssueJwtSvidRequest } from "../contract/jwt-svids.ts";
import { lintJwtSvid } from "../lint/jwt-svid.ts";
import { encodeJwtSvid } from "../pki/jwt-svid.ts";
import type { SpiffeId } from "../pki/spiffe-id.ts";
import { checkPrivilege } from "../privilege.ts";
import { Refusal } from "../refusal.ts";
import { StoreError } from "../store/errors.ts";
import type { Store } from "../store/store.ts";
import type { LintRecorder } from "./lint-failed.ts";
import { authorizeNames, type NameRules } from "./names.ts";

export interface JwtSvidDeps extends OperatorDeps, NameRules {
  readonly store: Pick<Store, "commit">;
  readonly keeper: Pick<AuthorityKeeper, "jwtSignerUntil" | "refresh">;
  readonly lints: LintRecorder;
  readonly now: () => Date;
  readonly config: { readonly jwtSvidLifetimeMs: number; readonly jwtSvidLifetimeMaxMs: number };
  /** Called for each token that was made. */
  readonly onIssued: () => void;
}

/** An API caller that may be a workload: then it has a SPIFFE ID, which it proved by its SVID's key. */
export type JwtSvidCaller = Operator & { readonly spiffeId?: string };

/**
 * Issues JWT-SVIDs: to whoever signs the request with its SVID, for that ID; and to operators, for IDs in their scope. As with
 * certificates a token leaves once its entry, with its hash and never itself, is on disk.
 */
export function jwtSvidIssuer(deps: JwtSvidDeps) {
  const { store, keeper, lints, now, onIssued } = deps;

  /** @throws {Refusal} forbidden | spiffe_id_refused | lifetime_refused | invalid_request | issuer_unavailable | lint_failed | clock_uncertain */
  return async function issueJwtSvid(request: IssueJwtSvidRequest, caller: JwtSvidCaller): Promise<IssuedJwtSvid> {
    const spiffeId = await authorize(deps, request, caller);
    if (new Set(request.audience).size !== request.audience.length) throw new Refusal("invalid_request", "audience: a name is in it twice.");
    const issuedAt = Math.floor(now().getTime() / 1000);
    const expiresAt = issuedAt + lifetimeSeconds(deps, request);
    const sign = () => signOne({ spiffeId, audience: request.audience, issuedAt, expiresAt, actor: caller.actor });
    try {
      return await sign();
    } catch (error) {
      // The key was tainted, say, while it signed: that token has not left, and the next key signs instead.
      if (!(error instanceof StoreError && error.code === "authority_superseded")) throw error;
      await keeper.refresh();
      return sign();
    }
  };

  async function signOne({ spiffeId, audience, issuedAt, expiresAt, actor }: Wanted): Promise<IssuedJwtSvid> {
    const signer = await keeper.jwtSignerUntil(expiresAt * 1000);
    const content = { keyId: signer.keyId, spiffeId: spiffeId.uri, audience, issuedAt, expiresAt, jwtId: randomBytes(jwtIdBytes).toString("base64url") };
    const { trustDomain, config: { jwtSvidLifetimeMaxMs: lifetimeMaxMs } } = deps;
    const token = await lints(() => signer.sign(lintJwtSvid(encodeJwtSvid(content), { kind: "workload", meant: content, trustDomain, lifetimeMaxMs })), actor);
    const times = { issuedAt: new Date(issuedAt * 1000).toISOString(), expiresAt: new Date(expiresAt * 1000).toISOString() };
    const event = {
      type: "jwt-svid.issued", jwtId: content.jwtId, spiffeId: spiffeId.uri, audience, authorityId: signer.keyId, fingerprint: hash("sha256", token), ...times,
    } as const;
    // If we die before this lands, the token was in our memory only.
    const { logIndex } = await store.commit({
      kind: "issue-jwt-svid", authorityId: signer.keyId, expiresAtMs: expiresAt * 1000, entries: [encodeEntry(event, actor, now().getTime())],
    });
    onIssued();
    return { token, spiffeId: spiffeId.uri, audience, keyId: signer.keyId, ...times, logIndex };
  }
}

interface Wanted {
  readonly spiffeId: SpiffeId;
  readonly audience: readonly string[];
  /** Seconds since the epoch. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly actor: string;
}

/** Everybody may have tokens of its own ID; of others those who may vouch for them, as for certificates. */
async function authorize(deps: JwtSvidDeps, { spiffeId: asked }: IssueJwtSvidRequest, caller: JwtSvidCaller): Promise<SpiffeId> {
  const own = caller.spiffeId;
  if (asked === undefined && own === undefined) throw new Refusal("invalid_request", "spiffeId: say whose token it is to be; an API token has no SPIFFE ID of its own.");
  const spiffeId = parseRequestedId(asked ?? own ?? "");
  if (spiffeId.uri === own) return spiffeId;
  checkScope(caller, spiffeId);
  authorizeNames(deps, spiffeId, []);
  checkPrivilege(await deps.hasRole(spiffeId), caller, spiffeId, "vouch for");
  return spiffeId;
}

function lifetimeSeconds({ config: { jwtSvidLifetimeMs, jwtSvidLifetimeMaxMs } }: JwtSvidDeps, { lifetimeSeconds: asked }: IssueJwtSvidRequest): number {
  const seconds = asked ?? Math.floor(jwtSvidLifetimeMs / 1000);
  if (Number.isSafeInteger(seconds) && seconds >= 1 && seconds * 1000 <= jwtSvidLifetimeMaxMs) return seconds;
  throw new Refusal("lifetime_refused", `A JWT-SVID lives for 1 to ${jwtSvidLifetimeMaxMs / 1000} whole seconds; ask for that, or leave lifetimeSeconds out.`);
}

const jwtIdBytes = 16;
