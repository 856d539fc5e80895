import { hash } from "node:crypto";
import { encodeEntry } from "../audit/event.ts";
import type { CaConfig } from "../config.ts";
import { workloadProfile } from "../issuance/profile.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { encodePem } from "../pki/pem.ts";
import { Refusal } from "../refusal.ts";
import type { Sealing } from "../signer/sealing.ts";
import { StoreError, type AuthorityRow, type Store } from "../store/store.ts";
import { activateIssuer, authorityRow, unsealAuthority, type ActiveIssuer } from "./active-issuer.ts";
import { publishBundle, type PublishedBundle } from "./bundle.ts";
import { AuthorityError } from "./errors.ts";
import { authorityCreated, issueIssuer } from "./issue-authority.ts";
import type { AuthoritySigners } from "./signers.ts";
import { planRotation } from "./plan-rotation.ts";

/** What this replica knows of the authorities at one moment; swapped as a whole. */
export interface Authorities {
  readonly rows: readonly AuthorityRow[];
  readonly issuer: ActiveIssuer | undefined;
  readonly published: PublishedBundle;
  /** PEM of every authority's certificate, by ID. */
  readonly pems: ReadonlyMap<string, string>;
  /** SHA-256 of every authority's SPKI, hex: no workload may have one of these keys. */
  readonly keyFingerprints: ReadonlySet<string>;
}

export interface AuthorityKeeper {
  /** The newest known state. */
  current(): Authorities;
  /**
   * The issuer for a certificate that ends at `notAfterMs`; rotates first when the active one ends earlier.
   * @throws {Refusal} issuer_unavailable
   */
  issuerUntil(notAfterMs: number): ActiveIssuer | Promise<ActiveIssuer>;
  /** Looks at the store and does what is due now. The timer calls it; tests may. */
  tick(): Promise<void>;
  /** Takes what the store holds now: for whoever learned that another replica changed something. */
  refresh(): Promise<void>;
  /** Called after the issuer changed, here or on another replica. */
  onIssuerChange(listener: () => void): void;
  /** Starts looking at the named interval. */
  start(): void;
  close(): Promise<void>;
}

export interface KeeperDeps {
  readonly store: Store;
  readonly sealing: Sealing;
  readonly signers: AuthoritySigners;
  readonly config: CaConfig;
  readonly log: Log;
  readonly metrics: CaMetrics;
  readonly now: () => Date;
}

/**
 * Keeps the active issuer in memory and replaces it in time. Any number of replicas may do so at once: the commit decides
 * (`replaces` is a compare-and-swap), whoever loses takes the winner's issuer.
 * @throws {SignerError | AuthorityError} when what is stored cannot be opened
 */
export async function authorityKeeper(deps: KeeperDeps): Promise<AuthorityKeeper> {
  const { store, sealing, signers, config, log, metrics, now } = deps;
  const profile = workloadProfile(config);
  const listeners: (() => void)[] = [];
  let known = await load(undefined);
  let running: Promise<void> | undefined;
  let failedAtMs = -Infinity;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  async function load(previous: Authorities | undefined): Promise<Authorities> {
    const [rows, state] = await Promise.all([store.authorities(), store.state()]);
    const active = rows.find(({ type, state: rowState }) => type === "issuer" && rowState === "active");
    let issuer = previous?.issuer;
    if (active === undefined) issuer = undefined;
    else if (active.id !== issuer?.id) {
      const { certificate, privateKey } = unsealAuthority(active, sealing);
      issuer = activateIssuer(certificate, privateKey, profile, config.trustDomain);
    }
    metrics.authorities(rows);
    const sequence = state?.bundleSequence ?? 0;
    if (previous !== undefined && sameRows(previous.rows, rows) && previous.published.sequence === String(sequence)) {
      return { ...previous, rows, issuer };
    }
    const certificates = new Map(rows.map(({ id, certificate }) => [id, parseCertificate(certificate)]));
    const roots = rows.flatMap(({ id, type, state: rowState }) => (type === "root" && rowState !== "retired" ? certificates.get(id) ?? [] : []));
    return {
      rows, issuer,
      published: publishBundle(config.trustDomain, roots, sequence),
      pems: new Map([...certificates].map(([id, { der }]) => [id, encodePem("CERTIFICATE", der)])),
      keyFingerprints: new Set([...certificates.values()].map(({ spki }) => hash("sha256", spki, "hex"))),
    };
  }

  async function refresh(): Promise<void> {
    const before = known.issuer?.id;
    known = await load(known);
    if (known.issuer?.id !== before) for (const listener of listeners) listener();
  }

  /** One at a time; whoever asks meanwhile waits for the same run. */
  function rotateAsPlanned(issuerRenewBeforeMs: number): Promise<void> {
    running ??= (async () => {
      try {
        await refresh();
        const plan = planRotation(known.rows, { nowMs: now().getTime(), issuerRenewBeforeMs });
        if (plan.issuer !== undefined) await replaceIssuer(plan.issuer.replaces);
        for (const id of plan.retire) await retire(id);
        if (plan.issuer !== undefined || plan.retire.length > 0) await refresh();
      } finally {
        running = undefined;
      }
    })();
    return running;
  }

  async function replaceIssuer(replaces: string | undefined): Promise<void> {
    const nowMs = now().getTime();
    const root = activeRoot();
    const request = { ...config, lifetimeMs: config.issuerLifetimeMs, nowMs, profile };
    const { issuer, privateKey } = await issueIssuer(request, { certificate: parseCertificate(root.certificate), signer: signers.signerFor(root) });
    const entries: [string, ...string[]] = [authorityCreated("issuer", issuer.certificate, root.id, nowMs)];
    if (replaces !== undefined) {
      entries.push(encodeEntry({ type: "authority.state-changed", authorityId: replaces, from: "active", to: "retiring" }, "system", nowMs));
    }
    try {
      // If we die before this lands, the new issuer never signed anything and is forgotten. After it, a restart finds it.
      await store.commit({
        kind: "change-authorities", add: [authorityRow("issuer", issuer.certificate, privateKey, sealing, nowMs, root.id)], entries,
        ...(replaces !== undefined && { changes: [{ authorityId: replaces, from: "active", to: "retiring", atMs: nowMs }] }),
      });
      log.info({ issuer: issuer.id, replaces, notAfter: new Date(issuer.certificate.notAfterMs).toISOString() }, "the issuer was replaced");
    } catch (error) {
      if (!(error instanceof StoreError && error.code === "authority_superseded")) throw error;
      log.info({ replaces }, "another replica replaced the issuer first; taking its issuer");
    }
  }

  async function retire(authorityId: string): Promise<void> {
    const entry = encodeEntry({ type: "authority.state-changed", authorityId, from: "retiring", to: "retired" }, "system", now().getTime());
    try {
      await store.commit({
        kind: "change-authorities", changes: [{ authorityId, from: "retiring", to: "retired", atMs: now().getTime() }], entries: [entry],
      });
    } catch (error) {
      if (!(error instanceof StoreError && error.code === "authority_superseded")) throw error;
    }
  }

  function activeRoot(): AuthorityRow {
    const root = known.rows.find(({ type, state }) => type === "root" && state === "active");
    if (root === undefined) {
      throw new AuthorityError(
        "authority_missing",
        "the store holds no active root; restore it from a backup",
      );
    }
    return root;
  }

  async function rotateFor(notAfterMs: number): Promise<ActiveIssuer> {
    // A rotation that cannot succeed must not be tried, key and all, by each request that comes in.
    if (now().getTime() - failedAtMs < retryAfterFailureMs) throw unavailable();
    try {
      await rotateAsPlanned(Math.max(config.issuerRenewBeforeMs, notAfterMs - now().getTime()));
    } catch (cause) {
      failedAtMs = now().getTime();
      log.error({ err: cause }, "the issuer is about to end and could not be replaced");
      throw unavailable(cause);
    }
    const { issuer } = known;
    if (issuer === undefined || issuer.certificate.notAfterMs < notAfterMs) throw unavailable();
    return issuer;
  }

  async function tick(): Promise<void> {
    try {
      await rotateAsPlanned(config.issuerRenewBeforeMs);
    } catch (err) {
      // Certificates go on being issued by what is in memory; readiness tells when that ends.
      log.error({ err }, "looking after the authorities failed; the last known ones stay in use");
    }
  }

  function schedule(): void {
    if (closed) return;
    timer = setTimeout(() => void tick().finally(schedule), pollIntervalMs * (1 - pollJitter * Math.random())).unref();
  }

  return {
    current: () => known,
    issuerUntil(notAfterMs) {
      const { issuer } = known;
      return issuer !== undefined && issuer.certificate.notAfterMs >= notAfterMs ? issuer : rotateFor(notAfterMs);
    },
    tick,
    refresh,
    onIssuerChange: (listener) => void listeners.push(listener),
    start: schedule,
    async close() {
      closed = true;
      clearTimeout(timer);
      await running?.catch(() => undefined);
    },
  };
}

function sameRows(one: readonly AuthorityRow[], other: readonly AuthorityRow[]): boolean {
  return one.length === other.length && one.every(({ id, state }, index) => id === other[index]?.id && state === other[index]?.state);
}

function unavailable(cause?: unknown): Refusal {
  return new Refusal(
    "issuer_unavailable", "No issuer lasts long enough for this certificate and a new one could not be made; the CA's log says why. Try again shortly.",
    { cause, retryAfterSeconds: retryAfterFailureMs / 1000 },
  );
}

/** How late a replica may notice what another one did; both issuers are valid meanwhile. */
const pollIntervalMs = 15_000;
/** Up to half earlier, so that replicas started together do not all try to rotate in the same instant. */
const pollJitter = 0.5;
const retryAfterFailureMs = 2000;
