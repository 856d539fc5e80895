import type { PolicyNotice } from "../../ca/contract/watch.ts";
import { compileInbound } from "../../ca/policy/decide.ts";
import { parsePolicy, parseService } from "../../ca/policy/parse.ts";
import type { CaClient } from "../ca-client.ts";
import { CaError } from "../ca-error.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { jittered, retryDelay, type Random } from "./backoff.ts";
import type { Identity, PolicyInForce } from "./source.ts";

/** A policy as the CA told it, and in which feed. */
export interface HeldPolicy {
  readonly text: string;
  readonly feedEpoch?: string | undefined;
}

/** Whom to ask for the policy, and whom to tell. */
export interface PolicyPollingDeps {
  readonly client: Pick<CaClient, "policy">;
  /** What a restart goes on with: in force at once, however old. */
  readonly restored: HeldPolicy | undefined;
  /** Whose policy it is. */
  readonly identity: () => Identity | undefined;
  readonly feedEpoch: () => string | undefined;
  /** True while changes are told: then the CA is asked now and then only. */
  readonly isStreamed: () => boolean;
  /** How often the CA is asked while it tells of nothing: every so many ms, but not more often than each 10 s, the default. */
  readonly leastIntervalMs?: number;
  readonly onPolicyInForce: (policy: PolicyInForce) => void;
  readonly onPolicyChanged: (held: HeldPolicy) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Times in milliseconds since the epoch. */
export interface PolicyStatus {
  readonly sequence: number | undefined;
  readonly policies: readonly string[];
  readonly services: number;
  readonly lastSuccessMs: number | undefined;
  readonly lastError: string | undefined;
}

/** A running poll. */
export interface PolicyPolling {
  status(): PolicyStatus;
  /** The stream tells that something changed: it is asked for. */
  heardOf(notice: PolicyNotice): void;
  /** Asks now: the stream broke. */
  lookNow(): void;
  /** The CA was restored from a backup: what it has now is taken, also where its sequence is older. */
  beginAnew(): void;
  stop(): void;
}

/**
 * Asks who may call this workload: at once, after each change that is told, and at an interval. An answer is taken whole or not at all;
 * whatever fails, the last good one stays in force. Before the first one there is none: nobody is let in.
 */
export function startPolicyPolling(deps: PolicyPollingDeps): PolicyPolling {
  const { client, restored, identity, feedEpoch, isStreamed, clock, random, log } = deps;
  const fetches = deps.metrics.counter("policy_fetches_total", "Questions for the policy, by result.", ["result"]);
  let held: ReadPolicy | undefined;
  let heldEpoch: string | undefined;
  let etag: string | undefined;
  let heardSequence: number | undefined;
  let lastSuccessMs: number | undefined;
  let lastError: string | undefined;
  let failures = 0;
  let asking = false;
  let again = false;
  let anew = false;
  let stopped = false;
  let cancel = (): void => undefined;

  function restore({ text, feedEpoch: epoch }: HeldPolicy): void {
    try {
      putInForce(readPolicy(text, identity()), epoch);
    } catch (error) {
      log.error({ error: (error as Error).message }, "stored policy refused; everybody is refused until the CA has told");
    }
  }

  function putInForce(read: ReadPolicy, epoch: string | undefined): void {
    held = read;
    heldEpoch = epoch;
    deps.onPolicyInForce(read.policy);
    log.info({ sequence: read.policy.sequence, policies: read.names, services: read.policy.services.length }, "policy in force");
  }

  async function ask(): Promise<void> {
    cancel();
    if (asking) {
      again = true;
      return;
    }
    const by = identity();
    asking = true;
    const epoch = feedEpoch();
    // A sequence says nothing about a CA that was restored from a backup since.
    const otherFeed = anew || (heldEpoch !== undefined && epoch !== undefined && heldEpoch !== epoch);
    const before = otherFeed ? undefined : held;
    anew = false;
    try {
      if (by === undefined) throw new Error("there is no certificate to ask with");
      const heard = heardSequence;
      const answer = await client.policy(by, before && etag, heard);
      if (stopped) return;
      if (answer !== undefined) take(answer.text, by, before, epoch);
      etag = answer?.etag ?? etag;
      heldEpoch ??= feedEpoch();
      if (heard === heardSequence) heardSequence = undefined;
      fetches.inc({ result: answer === undefined ? "unchanged" : "ok" });
      if (lastError !== undefined && failures > 0) log.info({ failures }, "the policy is up to date again");
      lastSuccessMs = clock.now();
      lastError = undefined;
      failures = 0;
    } catch (error) {
      if (stopped) return;
      anew ||= otherFeed;
      fail(error as Error);
    } finally {
      asking = false;
    }
    wait();
  }

  function take(text: string, by: Identity, before: ReadPolicy | undefined, epoch: string | undefined): void {
    const read = readPolicy(text, by);
    if (before !== undefined && read.policy.sequence < before.policy.sequence) {
      throw new Error(`its sequence ${read.policy.sequence} is below ${before.policy.sequence}, which is in force already`);
    }
    if (text === before?.text) return;
    putInForce(read, epoch);
    deps.onPolicyChanged({ text, feedEpoch: epoch });
  }

  function fail({ message }: Error): void {
    failures += 1;
    fetches.inc({ result: "error" });
    if (lastError !== message) {
      log.warn({ error: message }, held === undefined ? "the policy is not known; everybody is refused until it is" : "policy not refreshed; the last good one stays in force");
    }
    lastError = message;
  }

  function wait(): void {
    if (again) {
      again = false;
      return void ask();
    }
    const pauseMs = failures === 0 ? jittered(isStreamed() ? streamedIntervalMs : Math.max(intervalMs, deps.leastIntervalMs ?? 0), random) : retryDelay(Math.min(failures, maxCountedFailures), held === undefined ? "first" : "renewal", random);
    cancel = clock.after(pauseMs, () => void ask());
  }

  if (restored !== undefined) restore(restored);
  void ask();
  return {
    status: () => ({
      sequence: held?.policy.sequence, policies: held?.names ?? [], services: held?.policy.services.length ?? 0, lastSuccessMs, lastError,
    }),
    heardOf({ sequence }) {
      if (stopped) return;
      heardSequence = sequence;
      cancel();
      cancel = clock.after(Math.round(maxSoonMs * random()), () => void ask());
    },
    lookNow() {
      if (!stopped) void ask();
    },
    beginAnew() {
      anew = true;
      heardSequence = undefined;
      if (!stopped) void ask();
    },
    stop() {
      stopped = true;
      cancel();
    },
  };
}

interface ReadPolicy {
  readonly text: string;
  readonly names: readonly string[];
  readonly policy: PolicyInForce;
}

/** Reads all of it strictly: what is not understood is a condition that would not be kept. @throws {CaError} ca_answer_invalid */
function readPolicy(text: string, by: Identity | undefined): ReadPolicy {
  try {
    const { sequence, workload, policies, services } = JSON.parse(text) as Record<string, unknown>;
    if (by === undefined || workload !== by.id.uri) throw new Error("it was made for another workload");
    if (!Number.isSafeInteger(sequence) || (sequence as number) < 0) throw new Error("it has no sequence");
    if (!Array.isArray(policies) || !Array.isArray(services)) throw new Error("it has no list of policies, or none of services");
    const inbound = compileInbound(by.id, policies);
    return {
      text, names: policies.map((policy) => parsePolicy(policy).name),
      policy: { sequence: sequence as number, inbound, services: services.map(parseService) },
    };
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? "it is not JSON" : (cause as Error).message;
    throw new CaError("ca_answer_invalid", `the CA's policy is refused: ${reason}`, { cause });
  }
}

/** While nobody tells of changes. A 304 costs a signature on either side. */
const intervalMs = 10_000;
/** While they are told: only for what a stream might have missed. */
const streamedIntervalMs = 300_000;
/** A change sends every proxy to the CA, but within a second it has to be in force. */
const maxSoonMs = 200;
/** The CA is back for this long at most before its policy is in force again: 8 s. */
const maxCountedFailures = 4;
