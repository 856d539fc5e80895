import { setTimeout as delay } from "node:timers/promises";
import { authorityIdOf, outsideRow } from "../authority/active-issuer.ts";
import { authorityDraft } from "../authority/change.ts";
import type { AuthorityCraft } from "../authority/craft.ts";
import type { AuthorityKeeper } from "../authority/keeper.ts";
import { leaseKeeper } from "../authority/lease.ts";
import type { AuthorityOperator } from "../authority/operate.ts";
import type { CaConfig } from "../config/config.ts";
import type { UpstreamInvitation } from "../config/upstream.ts";
import type { HeldBundle } from "../contract/acknowledgements.ts";
import type { UpstreamVitals } from "../contract/vitals.ts";
import { fetchPinned } from "../federation/fetch-pinned.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { isPublished } from "../authority-tree.ts";
import type { Sealing } from "../signer/sealing.ts";
import { StoreError } from "../store/errors.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { CaState } from "../store/rows/ca-state.ts";
import type { Store } from "../store/store.ts";
import { draftIssuer, signerIdOf, upstreamCraft } from "./craft.ts";
import { isDeclined, UpstreamError } from "./errors.ts";
import { upstreamFollower, type UpstreamFollower } from "./follow.ts";
import { identityKeeper } from "./identity.ts";
import { membershipKeeper, type Membership } from "./membership.ts";
import { issuerObtainer, type ObtainedIssuer } from "./obtain-issuer.ts";
import { failing, parentApi, type Parent } from "./parent.ts";
import { statusKeeper } from "./status.ts";

export interface UpstreamDeps {
  readonly config: CaConfig;
  readonly invitation: UpstreamInvitation;
  /** `holdersBehind` counts federated CAs among the holders. */
  readonly store: Store;
  readonly sealing: Sealing;
  readonly metrics: Pick<CaMetrics, "upstreamAsked">;
  readonly log: Log;
  readonly now: () => Date;
  /** How long a first start waits for the CA above, ms. */
  readonly patienceMs?: number;
  /** Resolves when the process is asked to end: then it waits no longer. */
  readonly stopping?: Promise<unknown> | undefined;
}

/** What is there once the CA runs. */
export interface UpstreamParts {
  readonly keeper: AuthorityKeeper;
  readonly operate: AuthorityOperator;
}

/** The CA above this one, which signs its issuers. */
export interface Upstream {
  /** The same craft, but that issuers are signed by the CA above. */
  craft(own: AuthorityCraft): AuthorityCraft;
  /**
   * Gives a store without authorities the roots of the CA above and a first issuer; asks again while that one is away, for a minute.
   * @throws {AuthorityError} upstream_* | root_names_refused
   */
  begin(state: CaState): Promise<void>;
  /** From now on it can follow. */
  attach(parts: UpstreamParts): void;
  /** Looks at the CA above. The timer calls it; tests may. Never rejects. */
  tick(): Promise<void>;
  /** How the last look went, whichever replica it was. @throws {StoreError} */
  status(): Promise<UpstreamVitals>;
  /** What an operator should know. @throws {StoreError} */
  warnings(): Promise<readonly string[]>;
  start(): void;
  close(): Promise<void>;
}

/** Puts it together. */
export function upstreamService({ config, invitation, store, sealing, metrics, log, now, patienceMs = firstPatienceMs, stopping = new Promise(() => {}) }: UpstreamDeps): Upstream {
  const webRoots = config.federationWebRoots === undefined ? undefined : [config.federationWebRoots];
  const memberships = membershipKeeper({ store, sealing, invitation, log, now });
  const lease = leaseKeeper({ store, name: "upstream", log });
  const status = statusKeeper({ store, invitation, now });
  const identity = identityKeeper({ memberships, parent: parentOf, anchors, holds: (): HeldBundle | undefined => follower?.holds(), log, now });
  const obtainIssuer = issuerObtainer(config);
  let pinned: readonly Certificate[] = [];
  let keeper: AuthorityKeeper | undefined;
  let follower: UpstreamFollower | undefined;
  let failures = 0;
  let notBeforeMs = -Infinity;
  let lastFailure: string | undefined;
  let running: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  /** The roots of the CA above, by which it is known: those in our bundle. */
  function anchors(): readonly Certificate[] {
    const held = keeper?.current().rows.filter((row) => row.type === "root" && isPublished(row)).map(({ certificate }) => parseCertificate(certificate)) ?? [];
    return held.length > 0 ? held : pinned;
  }

  function parentOf({ url, parentTrustDomain, tls }: Membership): Parent {
    return parentApi({ url, trustDomain: parentTrustDomain, tls, webRoots, anchors, now });
  }

  const parent = async (): Promise<Parent> => parentOf((await memberships.open()).membership);

  async function obtain(): Promise<ObtainedIssuer> {
    try {
      const issuer = await obtainIssuer(await parent(), await identity.current(), now().getTime());
      metrics.upstreamAsked("issuer", "ok");
      return issuer;
    } catch (error) {
      metrics.upstreamAsked("issuer", error instanceof UpstreamError ? error.code : "failed");
      throw error;
    }
  }

  /** Not at each request for a certificate: the CA above may be away for hours. */
  async function obtainPaced(): Promise<ObtainedIssuer> {
    const nowMs = now().getTime();
    if (nowMs < notBeforeMs) throw new UpstreamError("upstream_waiting", `${lastFailure ?? "the CA above this one failed"}; it is asked again from ${new Date(notBeforeMs).toISOString()} on`);
    try {
      const issuer = await obtain();
      [failures, notBeforeMs, lastFailure] = [0, -Infinity, undefined];
      return issuer;
    } catch (error) {
      failures += 1;
      lastFailure = (error as Error).message;
      notBeforeMs = nowMs + Math.min(maxPauseMs, firstPauseMs * 2 ** (failures - 1)) * (1 - pauseJitter * Math.random());
      throw error;
    }
  }

  async function beginOnce({ bundleSequence }: CaState): Promise<void> {
    const { url: apiUrl, parentTrustDomain: trustDomain, rootFingerprint, tls } = (await memberships.open()).membership;
    const { bundle } = await failing(() => fetchPinned({ apiUrl, trustDomain, rootFingerprint, ...(tls === "web" && { web: { roots: webRoots } }) }, now().getTime()));
    pinned = bundle.x509Authorities;
    const issuer = await obtain();
    const nowMs = now().getTime();
    const rootId = signerIdOf(issuer.above.at(-1) ?? issuer.certificate);
    const roots = pinned.map((anchor): AuthorityRow => ({ ...outsideRow("root", anchor, { kind: "upstream" }, nowMs), state: authorityIdOf(anchor) === rootId ? "active" : "prepared" }));
    const root = roots.find(({ state }) => state === "active");
    if (root === undefined) throw new UpstreamError("upstream_root_unknown", `the CA above this one signs by the root ${rootId}, which is not in its bundle; try again`);
    const draft = authorityDraft({ actor: "system", nowMs, bundleSequence });
    for (const one of roots) draft.create(one);
    draft.create(await draftIssuer(draft, issuer, root, [], { config, sealing, nowMs }));
    try {
      // If we die before this lands, the issuer is unknown here and signs nothing; the next start has another one signed.
      await store.commit(draft.act());
    } catch (error) {
      // Of several replicas at their first start one is first; the others take what it made.
      if (!(error instanceof StoreError && error.code === "authority_superseded")) throw error;
    }
  }

  async function look(): Promise<void> {
    const fence = await lease.hold();
    if (fence === undefined || follower === undefined) return;
    try {
      await follower.look(fence);
      metrics.upstreamAsked("look", "ok");
      if (await status.succeeded()) log.info({ url: invitation.url }, "the CA above this one is followed again");
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error;
      metrics.upstreamAsked("look", error.code);
      if (await status.failed(error.message)) log.warn({ err: error }, "the CA above this one is not followed: what is held stays in force");
    }
  }

  function tick(): Promise<void> {
    return (running ??= look().catch((err: unknown) => log.error({ err }, "looking at the CA above this one failed; tried again")).finally(() => (running = undefined)));
  }

  function schedule(): void {
    if (!closed) timer = setTimeout(() => void tick().then(schedule), Math.min(lookMs, config.bundleRefreshHintMs) * (1 - lookJitter * Math.random())).unref();
  }

  return {
    craft: (own) => upstreamCraft(own, { config, sealing, store, obtain: obtainPaced }),
    async begin(state) {
      const untilMs = performance.now() + patienceMs;
      for (let attempt = 0; ; attempt++) {
        try {
          return await beginOnce(state);
        } catch (error) {
          if (!(error instanceof UpstreamError) || isDeclined(error) || error.code === "upstream_untrusted" || error.code === "upstream_changed") throw error;
          if (performance.now() >= untilMs) throw error;
          log.warn({ err: error }, "the CA above this one does not do its part yet; asked again");
          const pauseMs = Math.min(maxFirstPauseMs, firstPauseMs * 2 ** attempt) * (1 - pauseJitter * Math.random());
          const isStopping = await Promise.race([delay(pauseMs, false, { ref: false }), stopping.then(() => true)]);
          if (isStopping) throw error;
        }
      }
    },
    attach(parts) {
      keeper = parts.keeper;
      follower = upstreamFollower({ ...parts, ...config, store, parent, identity, log, now });
    },
    tick,
    status: status.read,
    async warnings() {
      const { failures: failed, error, succeededAt } = await status.read();
      if (failed < minFailuresToWarn) return [];
      const issuer = keeper?.current().issuer?.certificate.notAfterMs;
      return [`${error ?? "the CA above this one failed"} (${invitation.parentTrustDomain} at ${invitation.url}, last followed ${succeededAt ?? "never"}); this CA's issuer ${issuer === undefined ? "is missing" : `ends at ${new Date(issuer).toISOString()}`}`];
    },
    start() {
      lease.start();
      schedule();
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await running;
      await lease.close();
    },
  };
}

/** How late a revocation over there is known here, and with it the renewal of an issuer that was tainted. */
const lookMs = 5_000;
const lookJitter = 0.2;
const firstPauseMs = 1_000;
const maxPauseMs = 60_000;
const pauseJitter = 0.5;
/** Whoever starts both CAs at once need not mind the order. */
const firstPatienceMs = 60_000;
const maxFirstPauseMs = 8_000;
/** One that fails once is nobody's business. */
const minFailuresToWarn = 2;
