import { encodeEntry } from "../audit/event.ts";
import { isValidAt } from "../authority-tree.ts";
import { outsideRow } from "../authority/active-issuer.ts";
import { authorityDraft, type AuthorityDraft } from "../authority/change.ts";
import type { AuthorityKeeper } from "../authority/keeper.ts";
import type { AuthorityOperator } from "../authority/operate.ts";
import type { HeldBundle } from "../contract/acknowledgements.ts";
import type { RevocationPage } from "../contract/revocations.ts";
import type { RenewNotice } from "../contract/watch.ts";
import type { Log } from "../log.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { Refusal } from "../refusal.ts";
import type { Act } from "../store/acts.ts";
import { StoreError } from "../store/errors.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { Fence } from "../store/rows/leases.ts";
import type { Store } from "../store/store.ts";
import { signerIdOf } from "./craft.ts";
import { UpstreamError } from "./errors.ts";
import type { IdentityKeeper } from "./identity.ts";
import type { Parent, UpstreamIdentity } from "./parent.ts";
import { planBundle } from "./plan-bundle.ts";
import { planRevocations } from "./plan-revocations.ts";

export interface FollowDeps {
  /** `holdersBehind` counts federated CAs among the holders. */
  readonly store: Pick<Store, "commit" | "holdersBehind" | "revocations">;
  readonly keeper: Pick<AuthorityKeeper, "current" | "refresh" | "tick">;
  readonly operate: AuthorityOperator;
  readonly parent: () => Promise<Parent>;
  readonly identity: IdentityKeeper;
  /** Over how long holders spread their renewals when our issuer is revoked. */
  readonly renewWindowMs: number;
  readonly certificateLifetimeMaxMs: number;
  readonly log: Log;
  readonly now: () => Date;
}

/** What one look at the CA above does, on one replica at a time. */
export interface UpstreamFollower {
  /** @throws {UpstreamError | StoreError} what came first; what could be done was done */
  look(fence: Fence): Promise<void>;
  /** Its bundle that all holders here have, as it was told. */
  holds(): HeldBundle | undefined;
}

/**
 * Follows the CA above as a proxy does: takes its roots into our bundle, what it revoked onto our deny-list, replaces our issuer when it is told
 * to, and acknowledges its bundle as soon as everybody here has it.
 */
export function upstreamFollower({ store, keeper, operate, parent, identity, renewWindowMs, certificateLifetimeMaxMs, log, now }: FollowDeps): UpstreamFollower {
  let feedEpoch: string | undefined;
  let sequence: bigint | undefined;
  let after = 0;
  let denied: Set<string> | undefined;
  let deniedUpTo = 0;
  const revokedAbove = new Set<string>();
  let acknowledged: { readonly held: HeldBundle; readonly serialNumber: string } | undefined;

  async function look(fence: Fence): Promise<void> {
    const above = await parent();
    // First, so that whoever is revoked or renewed by it finds the roots that it needs.
    const held = await followBundle(above, fence);
    await followRevocations(above, fence);
    const us = await identity.current();
    await revokeAbove(above, us);
    await acknowledge(above, us, held);
  }

  /** An issuer of ours that an operator revoked here is to be refused by other clusters as well, who hear of it from the CA above. */
  async function revokeAbove(above: Parent, us: UpstreamIdentity): Promise<void> {
    const nowMs = now().getTime();
    const ended = keeper.current().rows.filter(({ id, type, state, notAfterMs }) => type === "issuer" && state === "revoked" && isValidAt(notAfterMs, nowMs) && !revokedAbove.has(id));
    for (const row of ended) {
      await above.revokeIssuer(parseCertificate(row.certificate).serialNumber, "cACompromise", us);
      revokedAbove.add(row.id);
      log.info({ issuer: row.id }, "the CA above this one has revoked this CA's issuer as well");
    }
  }

  /** @returns what it published, once our own bundle has its roots */
  async function followBundle(above: Parent, fence: Fence): Promise<HeldBundle | undefined> {
    const { bundle, feedEpoch: epoch } = await above.bundle();
    if (epoch !== feedEpoch) {
      if (feedEpoch !== undefined) log.warn({ before: feedEpoch, feedEpoch: epoch }, "the CA above this one was restored from a backup: it is read from the start, what was revoked stays so");
      [feedEpoch, sequence, after] = [epoch, undefined, 0];
    }
    if (bundle.sequence === undefined || epoch === undefined) throw new UpstreamError("upstream_answer", "what the CA above this one publishes has no sequence; is its URL that of a Countersign CA?");
    // A replica of it may lag behind the one that was asked last.
    if (sequence !== undefined && bundle.sequence < sequence) return undefined;
    sequence = bundle.sequence;
    const plan = planBundle(keeper.current().rows, bundle.x509Authorities);
    if (plan !== undefined) {
      const nowMs = now().getTime();
      await change((draft) => {
        for (const anchor of plan.add) draft.create({ ...outsideRow("root", anchor, { kind: "upstream" }, nowMs), state: "prepared" });
        for (const row of plan.retire) draft.move(row, "retired");
      }, { fence });
      log.info({ added: plan.add.length, retired: plan.retire.length, sequence: String(bundle.sequence) }, "the roots of the CA above this one changed, and this CA's bundle with them");
    }
    return { feedEpoch: epoch, bundleSequence: String(bundle.sequence) };
  }

  async function followRevocations(above: Parent, fence: Fence): Promise<void> {
    for (let pages = 0; pages < maxPages; pages++) {
      const page = await above.revocations(after);
      await takeRevocations(page, above.trustDomain, fence);
      for (const notice of page.renew) await renewIfMeant(notice);
      if (page.sequence < after) {
        after = 0;
        continue;
      }
      after = page.sequence;
      if (!page.more) return;
    }
  }

  async function takeRevocations({ revocations }: RevocationPage, trustDomain: string, fence: Fence): Promise<void> {
    const nowMs = now().getTime();
    const { rows } = keeper.current();
    if (!revocations.some(({ authority }) => authority === true)) return;
    const { own, others } = planRevocations(rows, revocations, await readDenied(), nowMs);
    const [first, ...rest] = others;
    if (first !== undefined) {
      const entryOf = ({ serialNumber, reason }: typeof first) => encodeEntry({ type: "upstream.revoked", serialNumber, reason, trustDomain }, "system", nowMs);
      await commit({
        kind: "change-authorities", fence, entries: [entryOf(first), ...rest.map(entryOf)],
        revocations: others.map(({ serialNumber, reason, notAfter }) => ({ serialNumber, reason, revokedAtMs: nowMs, notAfterMs: Date.parse(notAfter), authorityId: rootIdOf(rows) })),
      });
      log.warn({ serialNumbers: others.map(({ serialNumber }) => serialNumber) }, "the CA above this one revoked CAs: what they signed is refused here from now on");
    }
    for (const { row, revocation } of own) {
      const notice: RenewNotice = { authorityId: row.id, windowSeconds: Math.ceil(renewWindowMs / 1000) };
      const announce = { body: JSON.stringify(notice), expiresAtMs: nowMs + certificateLifetimeMaxMs + renewWindowMs };
      // If we die between the two, it is revoked by the next look, which finds it tainted.
      if (row.state !== "tainted") await change((draft) => draft.move(row, "tainted"), { fence, announce });
      await change((draft) => draft.revoke({ ...row, state: "tainted" }, revocation.reason), { fence });
      log.error({ [row.type]: row.id, reason: revocation.reason }, `the CA above this one revoked ${row.type === "issuer" ? "this CA's issuer" : `its ${row.type}, by which this CA's issuers are known`}: another issuer is asked for, and whoever has a certificate from it renews`);
      await keeper.tick();
    }
  }

  /** Serial numbers on our deny-list: none is put there twice. */
  async function readDenied(): Promise<ReadonlySet<string>> {
    denied ??= new Set();
    for (; ;) {
      const rows = await store.revocations({ after: deniedUpTo, limit: pageRows });
      for (const { serialNumber } of rows) denied.add(serialNumber);
      deniedUpTo = rows.at(-1)?.sequence ?? deniedUpTo;
      if (rows.length < pageRows) return denied;
    }
  }

  /** It says so as long as anybody may come back with a certificate of that authority: once our issuer is by another one, it means us no more. */
  async function renewIfMeant({ authorityId }: RenewNotice): Promise<void> {
    const { rows } = keeper.current();
    const issuer = rows.find(({ type, state }) => type === "issuer" && state === "active");
    if (issuer === undefined || !isBelow(issuer, authorityId, rows)) return;
    log.warn({ authorityId, issuer: issuer.id }, "the CA above this one wants certificates of this authority replaced, and this CA's issuer is one");
    try {
      await operate({ action: "taint", id: issuer.id }, { actor: "system" });
    } catch (error) {
      // What was meant stays so: it is tried again with the next look.
      if (!(error instanceof Refusal)) throw error;
      throw new UpstreamError("upstream_refused", `the CA above this one tainted ${authorityId}, and this CA's issuer could not be replaced: ${error.message}`, { cause: error });
    }
  }

  async function acknowledge(above: Parent, us: UpstreamIdentity, held: HeldBundle | undefined): Promise<void> {
    if (held === undefined || (acknowledged?.serialNumber === us.serialNumber && acknowledged.held.bundleSequence === held.bundleSequence && acknowledged.held.feedEpoch === held.feedEpoch)) return;
    const [behind] = await store.holdersBehind({ sequence: newestRootSequence(keeper.current().rows), nowMs: now().getTime(), limit: 1 });
    if (behind !== undefined) return;
    await above.acknowledge(held, us);
    acknowledged = { held, serialNumber: us.serialNumber };
    log.info({ sequence: held.bundleSequence }, "the bundle of the CA above this one is acknowledged: everybody here has it");
  }

  async function change(make: (draft: AuthorityDraft) => void, options: Pick<Act, "fence" | "announce">): Promise<void> {
    const draft = authorityDraft({ actor: "system", nowMs: now().getTime(), bundleSequence: Number(keeper.current().published.sequence) });
    make(draft);
    await commit({ ...draft.act(), ...options });
  }

  async function commit(act: Act): Promise<void> {
    try {
      await store.commit(act);
    } catch (error) {
      // Another replica or operator was faster: the next look sees what came of it.
      if (!(error instanceof StoreError && (error.code === "authority_superseded" || error.code === "lease_lost"))) throw error;
      throw new UpstreamError("upstream_waiting", "the authorities here changed in this moment; looked at again soon", { cause: error });
    } finally {
      await keeper.refresh();
    }
  }

  return { look, holds: () => acknowledged?.held };
}

/** The bundle of ours that first had all roots of now. */
function newestRootSequence(rows: readonly AuthorityRow[]): number {
  return Math.max(0, ...rows.filter(({ type, state }) => type === "root" && (state === "prepared" || state === "active")).map(({ publishedSequence = 0 }) => publishedSequence));
}

function isBelow(issuer: AuthorityRow, authorityId: string, rows: readonly AuthorityRow[]): boolean {
  const above = rows.find(({ id }) => id === issuer.parentId);
  return issuer.parentId === authorityId || (above !== undefined && signerIdOf(parseCertificate(above.certificate)) === authorityId);
}

function rootIdOf(rows: readonly AuthorityRow[]): string {
  return rows.find(({ type, state }) => type === "root" && state === "active")?.id ?? "";
}

const pageRows = 1000;
/** A million revocations; the next look goes on where this one stopped. */
const maxPages = 1000;
