import type { HeldBundle } from "../../ca/contract/acknowledgements.ts";
import type { IssueRequest } from "../../ca/contract/certificates.ts";
import type { ProblemCode } from "../../ca/contract/problem.ts";
import { EvidenceError } from "../attest/error.ts";
import type { CaClient } from "../ca-client.ts";
import { CaError, type CaErrorCode } from "../ca-error.ts";
import { atTime, type Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { acceptIssued, type Accepted } from "./accept.ts";
import { renewalTime, retryDelay, type FailureKind, type Random } from "./backoff.ts";
import type { HeldBundles } from "./bundles.ts";
import { prepareRequest, type PreparedRequest, type RequestInput } from "./request.ts";
import { isExpired, type Identity } from "./source.ts";

/** What the rotation works with, and whom it tells. */
export interface RotationDeps extends Pick<RequestInput, "keyAlgorithm" | "lifetimeSeconds" | "trustDomain" | "token" | "evidence"> {
  readonly client: Pick<CaClient, "issue">;
  readonly rootFingerprints: readonly string[];
  /** What a restart resumes with. */
  readonly restored: Identity | undefined;
  /** A first request whose answer a restart may have missed. */
  readonly restoredRequest?: PreparedRequest;
  /** A new first request, before it is sent: what is recorded of it now can be asked again after a crash. */
  readonly onFirstRequest?: (prepared: PreparedRequest) => void;
  readonly heldBundles: () => HeldBundles;
  /** The own bundle in force, as the CA knows it. */
  readonly holds?: () => HeldBundle | undefined;
  /**
   * Puts identity and bundles into use; called before the next request is made.
   * @param acknowledged  the bundle that the CA has taken down as held, with the request
   */
  readonly onIssued: (accepted: Accepted, acknowledged: HeldBundle | undefined) => void;
  /** The identity has just expired. */
  readonly onExpired: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** For `/identity`, `/readyz` and the log. Times in milliseconds since the epoch. */
export interface RotationStatus {
  /** Undefined while a request is under way. */
  readonly nextAttemptMs: number | undefined;
  readonly lastRefreshMs: number | undefined;
  /** Failures since the last success. */
  readonly failures: number;
  readonly lastError: { readonly code: RotationErrorCode; readonly message: string; readonly atMs: number } | undefined;
}

/**
 * `no_attestation`: expired, and there is no token to come back with. `evidence_unavailable`: the platform's is not there.
 * `internal`: our own bug.
 */
export type RotationErrorCode = CaErrorCode | "no_attestation" | "evidence_unavailable" | "internal";

/** A running rotation. */
export interface Rotation {
  status(): RotationStatus;
  /**
   * Asks for another certificate soon, e.g. because peers will not accept this one any more.
   * @param withinMs  at an instant of our own choosing within this time, and not later than planned; default 2 s
   */
  renewNow(withinMs?: number): void;
  stop(): void;
}

/**
 * Keeps a valid identity for as long as it runs: the first certificate, each renewal with a new key, and the way back after
 * expiry are one loop, in which only the attestation differs. A failure changes nothing but the time of the next attempt.
 */
export function startRotation(deps: RotationDeps): Rotation {
  const { clock, random, log, trustDomain } = deps;
  const refreshes = deps.metrics.counter(
    "identity_cert_refreshes_total", "Attempts to get a certificate, by result.", ["result"],
  );
  let last = deps.restored;
  let prepared = deps.restoredRequest;
  /** The CA takes no renewals of this workload. */
  let evidenceOnly = false;
  let status: RotationStatus = { nextAttemptMs: undefined, lastRefreshMs: undefined, failures: 0, lastError: undefined };
  let cancelAttempt = (): void => undefined;
  let cancelExpiry = (): void => undefined;
  let attempting = false;
  let stopped = false;

  async function attempt(): Promise<void> {
    attempting = true;
    cancelAttempt();
    status = { ...status, nextAttemptMs: undefined };
    const outcome = await request().then((answered) => ({ answered }), (error: unknown) => ({ error }));
    attempting = false;
    if (stopped) return;
    if ("answered" in outcome) succeed(outcome.answered);
    else fail(outcome.error);
  }

  /** The platform vouches where our own certificate does not, or not any more. */
  async function request(): Promise<Answered> {
    try {
      return await ask(evidenceOnly);
    } catch (error) {
      const code = error instanceof CaError ? error.problemCode : undefined;
      if (deps.evidence === undefined || prepared?.attestation !== "svid" || code === undefined || !certificateProblems.includes(code)) throw error;
      evidenceOnly ||= code === "attestation_required";
      prepared = undefined;
      return ask(true);
    }
  }

  async function ask(afresh: boolean): Promise<Answered> {
    if (prepared === undefined || !(await isResendable(prepared, { last, evidence: deps.evidence, afresh, nowMs: clock.now() }))) {
      prepared = undefined;
      prepared = await prepareRequest({ ...deps, last, afresh, holds: last && deps.holds?.(), nowMs: clock.now() });
      if (prepared === undefined) throw new NothingToAttestWith();
      if (prepared.attestation === "join-token") deps.onFirstRequest?.(prepared);
    }
    const { privateKey, publicKey, request: body, idempotencyKey } = prepared;
    const answer = await deps.client.issue(body, idempotencyKey);
    const accepted = acceptIssued({
      answer, privateKey, publicKey, trustDomain, held: deps.heldBundles(), rootFingerprints: deps.rootFingerprints, last, nowMs: clock.now(),
    });
    return { accepted, acknowledged: takenDown(body, answer.published) };
  }

  function succeed({ accepted, acknowledged }: Answered): void {
    const { identity } = accepted;
    const attestation = prepared?.attestation;
    prepared = undefined;
    last = identity;
    refreshes.inc({ result: "ok" });
    status = { nextAttemptMs: undefined, lastRefreshMs: clock.now(), failures: 0, lastError: undefined };
    watchExpiry(identity);
    const soonestMs = clock.now() + minRenewalDelayMs;
    const nextMs = Math.max(renewalTime(identity, random), soonestMs);
    schedule(nextMs, nextMs === soonestMs ? minRenewalDelayMs : undefined);
    // May want the next one sooner.
    deps.onIssued(accepted, acknowledged);
    log.info({
      spiffeId: identity.id.uri, serialNumber: identity.serialNumber, attestation,
      notAfter: isoTime(identity.notAfterMs), nextRenewal: isoTime(nextMs),
    }, "certificate obtained");
  }

  function fail(error: unknown): void {
    const code = codeOf(error);
    const failures = status.failures + 1;
    const nowMs = clock.now();
    // After a definite no we ask anew. An answer that is lost or makes no sense is asked for again: see isResendable.
    if (code === "ca_refused" || (code === "ca_answer_invalid" && prepared?.attestation !== "join-token")) prepared = undefined;
    const kind: FailureKind = code === "ca_refused" || code === "no_attestation" ? "refusal" : last === undefined ? "first" : "renewal";
    const delayMs = retryDelay(failures, kind, random, error instanceof CaError ? error.retryAfterMs : 0);
    const message = messageOf(error);
    refreshes.inc({ result: code });
    status = { ...status, failures, lastError: { code, message, atMs: nowMs } };
    schedule(nowMs + delayMs, delayMs);
    log.warn({
      code, error: message, failures, retryInSeconds: Math.round(delayMs / 100) / 10,
      ...(last !== undefined && { notAfter: isoTime(last.notAfterMs), expired: isExpired(last, nowMs) }),
    }, last === undefined ? "no certificate yet" : "certificate not renewed; the last one stays in use until it expires");
  }

  /** Retries count from now, whatever the clock says; renewals are for a time of day. */
  function schedule(timeMs: number, delayMs?: number): void {
    cancelAttempt();
    status = { ...status, nextAttemptMs: timeMs };
    const run = (): void => void attempt();
    cancelAttempt = delayMs === undefined ? atTime(clock, timeMs, run) : clock.after(delayMs, run);
  }

  function watchExpiry(identity: Identity): void {
    cancelExpiry();
    cancelExpiry = atTime(clock, identity.notAfterMs + lastSecondMs, () => {
      log.error(
        { spiffeId: identity.id.uri, serialNumber: identity.serialNumber },
        "certificate expired: all traffic is refused until there is a new one",
      );
      deps.onExpired();
      // From here on the attestation is another one, so what the CA said to the old one may no longer hold.
      if (!attempting) retrySoon();
    });
  }

  function retrySoon(withinMs = maxSoonMs): void {
    const delayMs = Math.round(withinMs * random());
    schedule(clock.now() + delayMs, delayMs);
  }

  if (last === undefined) void attempt();
  else {
    watchExpiry(last);
    const renewalMs = renewalTime(last, random);
    if (renewalMs > clock.now()) schedule(renewalMs);
    else retrySoon();
  }

  return {
    status: () => status,
    renewNow(withinMs = maxSoonMs) {
      if (attempting || stopped) return;
      if ((status.nextAttemptMs ?? Infinity) - clock.now() > withinMs) retrySoon(withinMs);
    },
    stop() {
      stopped = true;
      cancelAttempt();
      cancelExpiry();
    },
  };
}

interface Answered {
  readonly accepted: Accepted;
  readonly acknowledged: HeldBundle | undefined;
}

/** What the request said to hold, if the CA has published it: it takes nothing else down. */
function takenDown({ feedEpoch, bundleSequence }: IssueRequest, published: HeldBundle | undefined): HeldBundle | undefined {
  if (feedEpoch === undefined || bundleSequence === undefined || feedEpoch !== published?.feedEpoch) return undefined;
  return BigInt(bundleSequence) <= BigInt(published.bundleSequence) ? { feedEpoch, bundleSequence } : undefined;
}

/** Expired without a token: only a person can help. */
class NothingToAttestWith extends Error {
  override readonly name = "NothingToAttestWith";

  constructor() {
    super("the certificate has expired and there is no bootstrap string to come back with; " +
      'set COUNTERSIGN_BOOTSTRAP to a new one ("countersign token create") and restart');
  }
}

/**
 * Whether an unanswered request may be sent again as it is. A bare join token must be: if the CA has redeemed it, only the same
 * request gives the certificate that was lost. A proof ages, so after a minute a new request is better. Of evidence its maker knows.
 */
async function isResendable({ attestation, preparedAtMs, request }: PreparedRequest, { last, evidence, afresh = false, nowMs }: Pick<RequestInput, "last" | "evidence" | "afresh" | "nowMs">): Promise<boolean> {
  if (attestation === "join-token") return true;
  const ageMs = nowMs - preparedAtMs;
  const renewing = last !== undefined && !isExpired(last, nowMs) && !(afresh && evidence !== undefined);
  if ((attestation === "svid") !== renewing) return false;
  return renewing || evidence === undefined ? ageMs >= 0 && ageMs < maxProofAgeMs : evidence.isCurrent(request.attestation, ageMs);
}

function codeOf(error: unknown): RotationErrorCode {
  if (error instanceof CaError) return error.code;
  if (error instanceof EvidenceError) return "evidence_unavailable";
  return error instanceof NothingToAttestWith ? "no_attestation" : "internal";
}

/** What to do about it, where the CA's sentence is written for its own operator. */
function messageOf(error: unknown): string {
  if (error instanceof CaError && error.problemCode === "token_already_redeemed") {
    return `${error.message.replace(/\.$/, "")}; this proxy has lost the key it redeemed it with (keep it over restarts with --state-dir): make a new token`;
  }
  return error instanceof Error ? error.message : String(error);
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** What the CA may say of the certificate that vouches for us; evidence of the platform's is another matter. */
const certificateProblems: readonly ProblemCode[] = ["attestation_required", "certificate_expired", "certificate_revoked", "proof_refused"];
/** RFC 5280 4.1.2.5: notAfter is inclusive. */
const lastSecondMs = 1000;
/** However short certificates are, the CA is asked at most once a second. */
const minRenewalDelayMs = 1000;
/** A restart, an expiry or a dropped root hits many proxies at once. */
const maxSoonMs = 2000;
/** The CA takes proofs up to a few minutes old. */
const maxProofAgeMs = 60_000;
