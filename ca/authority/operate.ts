import type { Actor } from "../audit/event.ts";
import { familyOf, isOver } from "../authority-tree.ts";
import type { AuthorityAnswer, AuthorityCommand } from "../contract/authorities.ts";
import type { RenewNotice } from "../contract/watch.ts";
import type { CaConfig } from "../config/config.ts";
import type { LintRecorder } from "../issuance/lint-failed.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import { Refusal } from "../refusal.ts";
import { SignerError } from "../signer/errors.ts";
import type { Act } from "../store/acts.ts";
import { StoreError } from "../store/errors.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { HolderRow } from "../store/rows/holders.ts";
import type { Store } from "../store/store.ts";
import { authorityDraft, type AuthorityDraft, type PreparedStep } from "./change.ts";
import type { AuthorityCraft } from "./craft.ts";
import { AuthorityError } from "./errors.ts";
import { jwtKeySteps } from "./operate-jwt-key.ts";
import type { AuthorityKeeper } from "./keeper.ts";
import { activeOf, livingBelow, mayFollow, preparedRoot, signingParent } from "./plan-rotation.ts";
import { describeHolder, maxCounted, maxNamed, summarizeAuthority } from "./summary.ts";

export interface OperatorDeps {
  readonly store: Store;
  readonly keeper: AuthorityKeeper;
  readonly craft: AuthorityCraft;
  readonly config: CaConfig;
  /** Around what is linted and signed. */
  readonly lints: LintRecorder;
  readonly metrics: CaMetrics;
  readonly log: Log;
  readonly now: () => Date;
}

/** What an operator does to authorities by hand, each in one commit. Needs no lease: each is a compare-and-swap. */
export type AuthorityOperator = (request: AuthorityCommand, caller: { readonly actor: Actor }) => Promise<AuthorityAnswer>;

/**
 * Takes an operator's step, unless a holder would be cut off by it; `force` takes it all the same, and the log says so.
 * @throws {Refusal} not_found | authority_state | authority_held_back (with the holders' names) | issuer_unavailable
 */
export function authorityOperator({ store, keeper, craft, config, lints, metrics, log, now }: OperatorDeps): AuthorityOperator {
  const jwtKeys = jwtKeySteps({ store, craft, config });

  async function operate(request: AuthorityCommand, { actor }: { readonly actor: Actor }): Promise<AuthorityAnswer> {
    // What another replica did counts too; the commit looks once more.
    await keeper.refresh();
    const { rows, published } = keeper.current();
    const nowMs = now().getTime();
    const { holders, draftOn, renew } = await inWords(() => lints(() => prepareStep(request, rows, nowMs), actor));
    const forced = "force" in request && request.force === true;
    if (holders.length > 0 && !forced) throw heldBack(request, holders);
    const draft = authorityDraft({
      actor, nowMs, bundleSequence: Number(published.sequence), ...(forced && { forced, holdersAffected: holders.length }),
    });
    await inWords(() => lints(() => draftOn(draft), actor));
    const act = { ...draft.act(), ...(renew !== undefined && { announce: announcementOf(renew, config, nowMs) }) };
    await commit(act);
    metrics.authorityStep(request.action, "taken");
    log.info({ ...request, actor, holdersAffected: holders.length }, "an operator's step in the life of the authorities");
    await keeper.tick();
    await keeper.refresh();
    const touched = new Set([...(act.kind === "change-authorities" ? [...act.add ?? [], ...(act.changes ?? []).map(({ authorityId: id }) => ({ id }))] : [])].map(({ id }) => id));
    return {
      authorities: keeper.current().rows.filter(({ id }) => touched.has(id)).map(summarizeAuthority),
      holdersAffected: holders.length,
      holders: holders.slice(0, maxNamed).map(describeHolder),
    };
  }

  /** Whom the step would cut off, and how it is drafted. */
  async function prepareStep(request: AuthorityCommand, rows: readonly AuthorityRow[], nowMs: number): Promise<PreparedStep> {
    const atOnce = { holders: [] };
    if (request.action === "prepare") return { ...atOnce, draftOn: await preparingRoot(rows, nowMs, undefined) };
    if (request.action === "rotate" && request.type === "jwt") return { ...atOnce, draftOn: jwtKeys.rotating(rows, nowMs) };
    if (request.action === "rotate") return { ...atOnce, draftOn: request.type === "root" ? await preparingRoot(rows, nowMs, nowMs) : replacingIssuer(rows, nowMs) };
    const row = rows.find(({ id }) => id === request.id);
    if (row === undefined) throw new Refusal("not_found", `This CA has no authority ${request.id}; "countersign authority list" (GET /v1/authorities) shows them.`);
    if (row.type === "jwt") return jwtKeys.step(request, row, rows, nowMs);
    if (row.key.kind === "upstream") throw wrongState(`The ${row.type} ${row.id} is the CA's above this one: ${request.action} it there; what becomes of it is followed here.`);
    switch (request.action) {
      case "activate": return activating(row, rows, nowMs);
      case "taint": return tainting(row, rows, nowMs, request.force === true);
      case "revoke": return revoking(row, rows, nowMs);
      case "retire": return retiring(row, rows, nowMs, request.force === true);
    }
  }

  async function preparingRoot(rows: readonly AuthorityRow[], nowMs: number, activateAtMs: number | undefined): Promise<PreparedStep["draftOn"]> {
    const before = activeOf(rows, "root");
    const prepared = preparedRoot(rows);
    if (prepared !== undefined && activateAtMs !== undefined) return (draft) => draft.move(prepared, "prepared", { activateAtMs });
    if (prepared !== undefined) throw wrongState(`The root ${prepared.id} is prepared already; activate it, or retire it first.`);
    if (rows.some(({ key }) => key.kind === "upstream")) {
      throw wrongState("The root is that of the CA above this one: rotate it there. This CA takes the next one into its bundle, tells that CA when all its workloads have it, and has its issuers signed by it from then on.");
    }
    if (before !== undefined && !mayFollow(before, config)) {
      throw wrongState(`The key of the active root is ${before.key.kind === "offline" ? "offline" : `in ${before.key.kind}`}: its successor is made there and brought here by a ceremony${before.key.kind === "offline" ? "" : ", or has its key made there and named by nextRootKey"}.`);
    }
    const root = await craft.root(before, rows, nowMs, activateAtMs);
    return (draft) => draft.create(root);
  }

  function replacingIssuer(rows: readonly AuthorityRow[], nowMs: number): PreparedStep["draftOn"] {
    const active = activeOf(rows, "issuer");
    return async (draft) => {
      await createIssuer(draft, signingParent(rows), rows, nowMs);
      if (active !== undefined) draft.move(active, "retiring");
    };
  }

  async function activating(row: AuthorityRow, rows: readonly AuthorityRow[], nowMs: number): Promise<PreparedStep> {
    if (row.state !== "prepared" || row.type === "issuer") throw wrongState(`The ${row.type} ${row.id} is ${row.state}; only a prepared root or intermediate is activated.`);
    const holders = row.type === "root" ? await store.holdersBehind({ sequence: row.publishedSequence ?? Number.MAX_SAFE_INTEGER, nowMs, limit: maxCounted }) : [];
    return { holders, draftOn: (draft) => takeOver(draft, row, rows, nowMs, "retiring") };
  }

  /** A root or intermediate begins, what it replaces ends in the given state, and an issuer below it signs from now on. */
  async function takeOver(draft: AuthorityDraft, row: AuthorityRow, rows: readonly AuthorityRow[], nowMs: number, end: "retiring" | "tainted"): Promise<void> {
    const replaced = activeOf(rows, row.type);
    draft.move(row, "active");
    if (replaced !== undefined) draft.move(replaced, end);
    const intermediate = row.type === "root" ? rows.find(({ type, state, parentId }) => type === "intermediate" && parentId === row.id && state === "prepared") : undefined;
    if (intermediate !== undefined) {
      const before = activeOf(rows, "intermediate");
      draft.move(intermediate, "active");
      if (before !== undefined) draft.move(before, end);
    }
    await createIssuer(draft, intermediate ?? row, rows, nowMs);
    const issuer = activeOf(rows, "issuer");
    if (issuer !== undefined) draft.move(issuer, end);
  }

  /** Its key may be known: whoever has a certificate from it renews at once, and a successor must be there to sign. */
  async function tainting(row: AuthorityRow, rows: readonly AuthorityRow[], nowMs: number, forced: boolean): Promise<PreparedStep> {
    if (isOver(row.state) || row.state === "tainted") throw wrongState(`The ${row.type} ${row.id} is ${row.state} already.`);
    const renew = row.id;
    const below = livingBelow(row, rows).filter(({ state }) => state !== "tainted");
    if (row.state !== "active") {
      return { holders: [], renew, draftOn: (draft) => { for (const one of [row, ...below]) draft.move(one, "tainted"); } };
    }
    const { row: successor, holders } = row.type === "issuer" ? { row: signingParent(rows), holders: [] } : await successorOf(row, rows, nowMs, forced);
    return {
      holders, renew,
      async draftOn(draft) {
        const isNew = successor !== undefined && !rows.includes(successor);
        if (isNew) draft.create({ ...successor, state: "active" });
        else if (successor?.state === "prepared") draft.move(successor, "active");
        // Without a successor nothing is signed until there is one: only where an operator has said so.
        if (successor !== undefined || row.type === "issuer") await createIssuer(draft, successor, isNew ? [...rows, successor] : rows, nowMs);
        for (const one of [row, ...below]) draft.move(one, "tainted");
      },
    };
  }

  /** Who signs instead of a root or intermediate from now on, and who does not trust it yet; nobody, where an operator forces that. */
  async function successorOf(row: AuthorityRow, rows: readonly AuthorityRow[], nowMs: number, forced: boolean): Promise<{ readonly row: AuthorityRow | undefined; readonly holders: readonly HolderRow[] }> {
    if (row.type === "intermediate") {
      const root = rows.find(({ id }) => id === row.parentId);
      const prepared = rows.find(({ type, state, parentId }) => type === "intermediate" && state === "prepared" && parentId === row.parentId);
      if (prepared !== undefined) return { row: prepared, holders: [] };
      // The root signs issuers itself from now on.
      if (root !== undefined && root.state === "active" && root.key.kind !== "offline") return { row: root, holders: [] };
      if (forced) return { row: undefined, holders: [] };
      throw new Refusal(
        "authority_held_back",
        `There is no other intermediate to sign instead of ${row.id}. Bring one here first: countersign ceremony request intermediate --out FILE, sign it where the ` +
          "root's key is, countersign ceremony import ANSWER; then taint this one. `force` taints it now, and nothing is issued until that intermediate is here.",
      );
    }
    const prepared = preparedRoot(rows);
    if (prepared !== undefined) return { row: prepared, holders: await store.holdersBehind({ sequence: prepared.publishedSequence ?? Number.MAX_SAFE_INTEGER, nowMs, limit: maxCounted }) };
    if (!forced) {
      throw new Refusal(
        "authority_held_back",
        `Nobody trusts another root yet, so nothing could be signed instead of ${row.id}. Publish one with POST /v1/authorities/rotate, wait until every ` +
          "holder has it, and taint this one then; `force` does all at once and cuts off who has not heard of the new root.",
      );
    }
    return { row: await craft.root(undefined, rows, nowMs), holders: await store.holdersBehind({ sequence: Number.MAX_SAFE_INTEGER, nowMs, limit: maxCounted }) };
  }

  async function revoking(row: AuthorityRow, rows: readonly AuthorityRow[], nowMs: number): Promise<PreparedStep> {
    if (isOver(row.state)) throw wrongState(`The ${row.type} ${row.id} is ${row.state} already.`);
    const family = familyOf(row, rows);
    const signing = family.find(({ state }) => state === "active");
    if (signing !== undefined) throw wrongState(`The ${signing.type} ${signing.id} is active: taint it first, which puts another one in its place.`);
    return {
      holders: await holdersOf(family, nowMs),
      draftOn(draft) {
        for (const one of family) draft.revoke(one, one.state === "tainted" ? "cACompromise" : "cessationOfOperation");
      },
    };
  }

  async function retiring(row: AuthorityRow, rows: readonly AuthorityRow[], nowMs: number, forced: boolean): Promise<PreparedStep> {
    if (row.type === "issuer") throw wrongState(`The issuer ${row.id} retires by itself when it ends; revoke it to end it sooner.`);
    if (row.state !== "retiring" && row.state !== "prepared") throw wrongState(`The ${row.type} ${row.id} is ${row.state}; only one that was replaced, or never active, is retired.`);
    const below = livingBelow(row, rows);
    const other = below.find(({ state }) => state !== "retiring" && state !== "prepared");
    if (other !== undefined) throw wrongState(`The ${other.type} ${other.id} below it is ${other.state}; ${other.state === "tainted" ? "revoke" : "replace"} it first.`);
    const unusedOnly = !forced;
    return {
      holders: await holdersOf([row, ...below], nowMs),
      draftOn(draft) {
        for (const one of [row, ...below]) draft.move(one, "retired", { unusedOnly });
      },
    };
  }

  async function createIssuer(draft: AuthorityDraft, parent: AuthorityRow | undefined, rows: readonly AuthorityRow[], nowMs: number): Promise<void> {
    if (parent === undefined) throw new Refusal("issuer_unavailable", "There is no root or intermediate here that could sign an issuer; bring an intermediate here by a ceremony.");
    try {
      await craft.addIssuer(draft, parent, rows, nowMs);
    } catch (cause) {
      if (!(cause instanceof AuthorityError)) throw cause;
      throw new Refusal("issuer_unavailable", `No issuer can be made: ${cause.message}.`, { cause });
    }
  }

  /** By their newest certificates, where those are from one of these authorities. */
  async function holdersOf(authorities: readonly AuthorityRow[], nowMs: number): Promise<readonly HolderRow[]> {
    return store.holdersBehind({ sequence: Number.MAX_SAFE_INTEGER, authorityIds: authorities.map(({ id }) => id), nowMs, limit: maxCounted });
  }

  async function commit(act: Act): Promise<void> {
    try {
      await store.commit(act);
    } catch (cause) {
      if (!(cause instanceof StoreError)) throw cause;
      if (cause.code === "authority_superseded") throw new Refusal("authority_state", "The authorities changed in this moment, by another replica or operator; look at them and try again.", { cause });
      throw cause;
    }
  }

  return operate;
}

/** What an operator is told of a key that does not sign; readiness and log have it too. */
async function inWords<T>(act: () => T | Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    if (!(cause instanceof SignerError)) throw cause;
    const mayPass = cause.code === "signer_unavailable" || cause.code === "signer_offline";
    throw new Refusal(mayPass ? "issuer_unavailable" : "authority_state", `The key that should sign does not, and nothing was changed: ${cause.message}.`, { cause });
  }
}

function announcementOf(authorityId: string, { renewWindowMs, certificateLifetimeMaxMs }: CaConfig, nowMs: number): NonNullable<Act["announce"]> {
  const notice: RenewNotice = { authorityId, windowSeconds: Math.ceil(renewWindowMs / 1000) };
  // Until then whoever was away may come back with a certificate of it.
  return { body: JSON.stringify(notice), expiresAtMs: nowMs + certificateLifetimeMaxMs + renewWindowMs };
}

function heldBack(request: AuthorityCommand, holders: readonly HolderRow[]): Refusal {
  const count = holders.length === maxCounted ? `${maxCounted} or more` : String(holders.length);
  const names = holders.slice(0, maxNamed).map(({ spiffeId, serialNumber, notAfterMs }) => `${spiffeId} (${serialNumber}, until ${new Date(notAfterMs).toISOString()})`);
  const why = request.action === "activate" || request.action === "taint" ? "do not trust what would sign from now on" : "have a certificate that would be refused from now on";
  return new Refusal(
    "authority_held_back",
    `${count} holders ${why}: ${names.join(", ")}${holders.length > maxNamed ? ", ..." : ""}. Wait for them, or use \`force\`, which cuts them off ` +
      "until they have renewed and is recorded as forced.",
  );
}

function wrongState(detail: string): Refusal {
  return new Refusal("authority_state", detail);
}
