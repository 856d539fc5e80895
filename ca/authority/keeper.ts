import type { CaConfig } from "../config/config.ts";
import type { LintRecorder } from "../issuance/lint-failed.ts";
import { workloadProfile } from "../issuance/profile.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import { Refusal } from "../refusal.ts";
import type { Sealing } from "../signer/sealing.ts";
import type { Act } from "../store/acts.ts";
import { StoreError } from "../store/errors.ts";
import type { Fence } from "../store/rows/leases.ts";
import type { Store } from "../store/store.ts";
import type { ActiveIssuer } from "./active-issuer.ts";
import { readAuthorities, type Authorities } from "./authorities.ts";
import type { AuthorityCraft } from "./craft.ts";
import { AuthorityError } from "./errors.ts";
import { leaseKeeper } from "./lease.ts";
import type { JwtSigner } from "./jwt-key.ts";
import { awaitingJwtKey } from "./plan-jwt-keys.ts";
import { awaitingHolders, planRotation, type Holders, type RotationPolicy, type RotationStep } from "./plan-rotation.ts";
import { actOfStep } from "./take-step.ts";

export interface AuthorityKeeper {
  /** The newest known state. */
  current(): Authorities;
  /**
   * The issuer for a certificate that ends at `notAfterMs`; rotates first when the active one ends earlier.
   * @throws {Refusal} issuer_unavailable
   */
  issuerUntil(notAfterMs: number): ActiveIssuer | Promise<ActiveIssuer>;
  /**
   * The key for a JWT-SVID that ends at `expiresAtMs`; makes the first one of all.
   * @throws {Refusal} issuer_unavailable
   */
  jwtSignerUntil(expiresAtMs: number): JwtSigner | Promise<JwtSigner>;
  /** Takes what the store holds now: for whoever learned that another replica changed something. @throws {StoreError} */
  refresh(): Promise<void>;
  /** Looks at the store and does what is due now. The timer calls it; tests may. */
  tick(): Promise<void>;
  /** Called after anything about the authorities or the bundle changed, here or on another replica. */
  onChange(listener: () => void): void;
  /** Starts looking at the named interval. */
  start(): void;
  close(): Promise<void>;
}

export interface KeeperDeps {
  readonly store: Store;
  readonly sealing: Sealing;
  readonly craft: AuthorityCraft;
  readonly config: CaConfig;
  /** Around what is linted and signed. */
  readonly lints: LintRecorder;
  readonly log: Log;
  readonly metrics: CaMetrics;
  readonly now: () => Date;
}

/**
 * Keeps the authorities in memory and takes the steps that are due, on one replica at a time: the lease spares the others the
 * work, and each step is a compare-and-swap, so that whoever comes late loses and takes what the winner made.
 * @throws {SignerError | AuthorityError} when what is stored cannot be opened
 */
export async function authorityKeeper(deps: KeeperDeps): Promise<AuthorityKeeper> {
  const { store, craft, config, lints, log, metrics, now } = deps;
  const readOptions = { ...deps, ...config, profile: workloadProfile(config) };
  const lease = leaseKeeper({ store, name: "authority", log });
  const listeners: (() => void)[] = [];
  let known = await load(undefined);
  let looking: Promise<void> | undefined;
  let nextLook: Promise<void> | undefined;
  let running: Promise<void> | undefined;
  let failedAtMs = -Infinity;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  /** Whoever waits for acknowledgements looks more often, but not so often that looking is all it does. */
  let lookMs: number | undefined;
  let countLogged = 0;

  async function load(previous: Authorities | undefined): Promise<Authorities> {
    // The sequence first: a change in between makes the bundle newer than its sequence says, never older.
    const state = await store.state();
    const rows = await store.authorities();
    metrics.authorities(rows);
    return readAuthorities(rows, state?.bundleSequence ?? 0, previous, readOptions);
  }

  /** Who asks while one look is under way gets the next, which begins after the question. */
  function refresh(): Promise<void> {
    if (looking === undefined) return (looking = look().finally(() => (looking = undefined)));
    return (nextLook ??= looking.catch(() => undefined).then(() => {
      nextLook = undefined;
      return refresh();
    }));
  }

  async function look(): Promise<void> {
    const before = known;
    known = await load(known);
    if (known.published !== before.published || known.issuer !== before.issuer) for (const listener of listeners) listener();
  }

  /** One at a time; whoever asks meanwhile waits for the same run. @throws what kept an issuer from being replaced */
  function takeSteps(policy: RotationPolicy, fence: Fence | undefined): Promise<void> {
    running ??= (async () => {
      try {
        await takeDueSteps(policy, fence);
      } finally {
        running = undefined;
      }
    })();
    return running;
  }

  async function takeDueSteps(policy: RotationPolicy, fence: Fence | undefined): Promise<void> {
    const failed = new Map<RotationStep["kind"], unknown>();
    for (let taken = 0; taken < maxStepsPerRun; taken++) {
      await refresh();
      const holders = await lookAtHolders(policy);
      const step = planRotation(known.rows, holders, policy, now().getTime(), new Set(failed.keys()));
      if (step === undefined) break;
      try {
        await takeStep(step, fence);
      } catch (error) {
        if (error instanceof StoreError && error.code === "lease_lost") break;
        failed.set(step.kind, error);
        metrics.authorityStep(step.kind, "failed");
        // What is in memory goes on signing; a step that fails keeps no other waiting.
        if (step.kind !== "replace-issuer") log.error({ err: error, step }, "a step in the life of the authorities failed; it is tried again");
      }
    }
    await refresh();
    if (failed.has("replace-issuer")) throw failed.get("replace-issuer");
  }

  async function takeStep(step: RotationStep, fence: Fence | undefined): Promise<void> {
    const act: Act = await lints(() => actOfStep(step, known, craft, { actor: "system", nowMs: now().getTime() }));
    try {
      // If we die before this lands, nothing was signed with what was made for it and it is forgotten. After it, a restart finds it.
      await store.commit({ ...act, ...(fence && { fence }) });
      metrics.authorityStep(step.kind, "taken");
      log.info({ step }, "a step in the life of the authorities");
    } catch (error) {
      if (!(error instanceof StoreError && (error.code === "authority_superseded" || error.code === "authority_in_use"))) throw error;
      log.info({ step }, "another replica was faster; taking what it made");
    }
  }

  /** Asked for only where somebody waits for the answer: it looks at every live certificate. */
  async function lookAtHolders(policy: RotationPolicy): Promise<Holders | undefined> {
    const nowMs = now().getTime();
    const waiting = [awaitingHolders(known.rows, policy, nowMs), awaitingJwtKey(known.rows, policy, nowMs)].filter((row) => row?.publishedSequence !== undefined);
    // Who has the later bundle has what was in the one before.
    const sequence = Math.max(...waiting.map((row) => row?.publishedSequence ?? 0));
    const [one] = waiting;
    if (one === undefined) {
      lookMs = undefined;
      metrics.holdersBehind(undefined);
      return undefined;
    }
    const startedAtMs = performance.now();
    const behind = await store.holdersBehind({ sequence, nowMs, limit: maxHoldersBehind });
    lookMs = Math.min(Math.max(minLookMs, (performance.now() - startedAtMs) * lookCostFactor), pollIntervalMs);
    metrics.holdersBehind(behind.length);
    const [first] = behind;
    if (first !== undefined && behind.length !== countLogged) {
      log.info({ [one.type]: one.id, holders: behind.length, first: first.spiffeId, until: new Date(first.notAfterMs).toISOString() }, `the prepared ${one.type} waits for its holders`);
    }
    countLogged = behind.length;
    return { sequence, behind };
  }

  async function rotateFor(notAfterMs: number): Promise<ActiveIssuer> {
    await takeStepsNow({ ...config, issuerRenewBeforeMs: Math.max(config.issuerRenewBeforeMs, notAfterMs - now().getTime()) });
    const { issuer } = known;
    if (issuer === undefined || issuer.certificate.notAfterMs < notAfterMs) throw unavailable();
    return issuer;
  }

  /** For a request that waits. @throws {Refusal} issuer_unavailable */
  async function takeStepsNow(policy: RotationPolicy): Promise<void> {
    // A rotation that cannot succeed must not be tried, key and all, by each request that comes in.
    if (now().getTime() - failedAtMs < retryAfterFailureMs) throw unavailable();
    try {
      // Without the lease: it may be held by a replica that has died, and the commit decides.
      await takeSteps(policy, undefined);
    } catch (cause) {
      failedAtMs = now().getTime();
      log.error({ err: cause }, "what signs is about to end and could not be replaced");
      throw unavailable(cause);
    }
  }

  async function makeJwtKeys(expiresAtMs: number): Promise<JwtSigner> {
    // The run that is under way may not know that somebody wants a key: then the next one makes it.
    for (let attempt = 0; attempt < 2; attempt++) {
      await takeStepsNow({ ...config, jwtWanted: true });
      const { jwtSigner } = known;
      if (jwtSigner !== undefined && jwtSigner.notAfterMs >= expiresAtMs) return jwtSigner;
    }
    throw unavailable();
  }

  async function tick(): Promise<void> {
    try {
      const fence = await lease.hold();
      if (fence === undefined) await refresh();
      else await takeSteps(config, fence);
    } catch (err) {
      // What was refused by a pause was told when it failed.
      if (err instanceof AuthorityError && err.code === "upstream_waiting") return;
      // Certificates go on being issued by what is in memory; readiness tells when that ends.
      log.error({ err }, "looking after the authorities failed; the last known ones stay in use");
    }
  }

  function schedule(): void {
    clearTimeout(timer);
    if (closed) return;
    timer = setTimeout(() => void tick().finally(schedule), (lookMs ?? pollIntervalMs) * (1 - pollJitter * Math.random())).unref();
  }

  return {
    current: () => known,
    issuerUntil(notAfterMs) {
      const { issuer } = known;
      return issuer !== undefined && issuer.certificate.notAfterMs >= notAfterMs ? issuer : rotateFor(notAfterMs);
    },
    jwtSignerUntil(expiresAtMs) {
      const { jwtSigner } = known;
      return jwtSigner !== undefined && jwtSigner.notAfterMs >= expiresAtMs ? jwtSigner : makeJwtKeys(expiresAtMs);
    },
    refresh,
    async tick() {
      await tick();
      // What an operator began may have to be looked at sooner than was planned.
      if (timer !== undefined) schedule();
    },
    onChange: (listener) => void listeners.push(listener),
    start() {
      lease.start();
      schedule();
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await running?.catch(() => undefined);
      await lease.close();
    },
  };
}

function unavailable(cause?: unknown): Refusal {
  return new Refusal(
    "issuer_unavailable", "No issuer lasts long enough for this certificate and a new one could not be made; the CA's log says why. Try again shortly.",
    { cause, retryAfterSeconds: retryAfterFailureMs / 1000 },
  );
}

/** How late a replica may notice what another one did; what both know is valid meanwhile. */
const pollIntervalMs = 15_000;
/** Up to half earlier, so that replicas started together do not all look in the same instant. */
const pollJitter = 0.5;
const retryAfterFailureMs = 2000;
/** A root's activation, its issuer, and a few that were due while nobody looked. */
const maxStepsPerRun = 8;
const minLookMs = 2000;
/** Looking for holders takes at most a fiftieth of the time. */
const lookCostFactor = 50;
/** More are as good a reason to wait. */
const maxHoldersBehind = 1000;
