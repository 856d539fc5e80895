import { acknowledgedText, type HeldBundle } from "../../ca/contract/acknowledgements.ts";
import { encodeRenewalProof } from "../../ca/pki/renewal-proof.ts";
import type { CaClient } from "../ca-client.ts";
import { CaError } from "../ca-error.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { retryDelay, type Random } from "./backoff.ts";
import type { Identity } from "./source.ts";

/** Whom to tell what is held. */
export interface AcknowledgingDeps {
  readonly client: Pick<CaClient, "acknowledge">;
  readonly trustDomain: string;
  /** The bundle in force and who holds it; undefined while one of them is missing. */
  readonly held: () => (HeldBundle & { readonly identity: Identity }) | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** A running acknowledgement of whatever is held. */
export interface Acknowledging {
  /** Bundle or identity may have changed. */
  check(): void;
  /** The CA has heard it with the request that this certificate answered. */
  heard(serialNumber: string, held: HeldBundle): void;
  /** Sequence that the CA knows us to hold. */
  sequence(): string | undefined;
  stop(): void;
}

/** Tells the CA of each bundle once it is in force: it activates no root before everybody trusts it. Tries until it is heard. */
export function startAcknowledging({ client, trustDomain, held, clock, random, log, metrics }: AcknowledgingDeps): Acknowledging {
  const attempts = metrics.counter("acknowledgements_total", "Times the CA was told which bundle is in force, by result.", ["result"]);
  let done: { readonly name: string; readonly sequence: string } | undefined;
  let cancel: (() => void) | undefined;
  let asking = false;
  let failures = 0;
  let stopped = false;

  function check(): void {
    const wanted = held();
    if (stopped || asking || wanted === undefined || nameOf(wanted.identity.serialNumber, wanted) === done?.name) return;
    failures = 0;
    schedule(Math.round(maxSoonMs * random()));
  }

  function schedule(delayMs: number): void {
    cancel?.();
    cancel = clock.after(delayMs, () => void acknowledge());
  }

  async function acknowledge(): Promise<void> {
    const now = held();
    if (now === undefined) return;
    const { identity, feedEpoch, bundleSequence } = now;
    const bound = Buffer.from(acknowledgedText(now));
    asking = true;
    try {
      const { chain, privateKey } = identity;
      const proof = encodeRenewalProof({ chain, privateKey, csr: bound, audience: trustDomain, nowMs: clock.now(), purpose: "acknowledgement" });
      await client.acknowledge({ feedEpoch, bundleSequence, proof });
      asking = false;
      if (stopped) return;
      done = { name: nameOf(identity.serialNumber, now), sequence: bundleSequence };
      attempts.inc({ result: "ok" });
      check();
    } catch (error) {
      asking = false;
      if (!stopped) fail(error);
    }
  }

  function fail(error: unknown): void {
    failures += 1;
    const refused = error instanceof CaError && error.code === "ca_refused";
    attempts.inc({ result: error instanceof CaError ? error.code : "internal" });
    if (failures === 1) log.warn({ error: (error as Error).message }, "the CA was not told which bundle is in force; it will be");
    // A replica that has not heard of the bundle yet refuses it too, and will have heard soon.
    const kind = refused && error.problemCode !== "bundle_unknown" ? "refusal" : "renewal";
    schedule(retryDelay(failures, kind, random, error instanceof CaError ? error.retryAfterMs : 0));
  }

  return {
    check,
    heard(serialNumber, bundle) {
      done = { name: nameOf(serialNumber, bundle), sequence: bundle.bundleSequence };
    },
    sequence: () => done?.sequence,
    stop() {
      stopped = true;
      cancel?.();
    },
  };
}

function nameOf(serialNumber: string, { feedEpoch, bundleSequence }: HeldBundle): string {
  return JSON.stringify([serialNumber, feedEpoch, bundleSequence]);
}

/** All proxies hear of a bundle in the same second. */
const maxSoonMs = 1000;
