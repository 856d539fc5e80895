import type { Metrics } from "../metrics.ts";
import type { IdentitySource } from "./source.ts";
import type { IdentityStatus } from "./start.ts";

/** Registers what is read of the identity half whenever somebody asks for the metrics. */
export function exposeGauges(metrics: Metrics, source: IdentitySource, status: () => IdentityStatus): void {
  const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000);
  const own = () => source.trust()?.bundles.get(status().trustDomain);
  metrics.gaugeOf(
    "identity_cert_expiration_timestamp_seconds",
    "When the last certificate expires or expired.",
    () => seconds(status().last?.notAfterMs),
  );
  metrics.gaugeOf(
    "identity_cert_refresh_timestamp_seconds",
    "When a certificate was last obtained.",
    () => seconds(status().rotation.lastRefreshMs),
  );
  metrics.gaugeOf(
    "identity_cert_refresh_failures", "Failed attempts since the last success.", () => status().rotation.failures,
  );
  metrics.gaugeOf(
    "bundle_sequence",
    "Sequence of the own trust bundle.",
    () => (own()?.sequence === undefined ? undefined : Number(own()?.sequence)),
  );
  metrics.gaugeOf(
    "feed_streamed", "1 while bundle and revocations come by the CA's stream, 0 while they are polled.",
    () => (status().feed === undefined ? undefined : Number(status().feed?.watch.liveSinceMs !== undefined)),
  );
  metrics.gaugeOf(
    "bundle_acknowledged_sequence", "Sequence of the own trust bundle that the CA knows to be in force here.",
    () => (status().feed?.acknowledgedSequence === undefined ? undefined : Number(status().feed?.acknowledgedSequence)),
  );
  metrics.gaugeOf("policy_sequence", "Sequence of the newest policy or service in force.", () => source.policy()?.sequence);
  metrics.gaugeOf("revocations_held", "Revoked serial numbers in force.", () => source.trust()?.revoked.size);
  metrics.gaugeOf(
    "revocation_poll_lag_seconds", "Time since the CA last told what is revoked, restarts included.", () => status().revocation?.ageSeconds,
  );
}
