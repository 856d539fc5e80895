import type { FederationNotice } from "./federated-bundles.ts";
import type { RevocationBatch } from "./revocations.ts";
import type { TapNotice } from "./taps.ts";

/**
 * What `GET /v1/watch` tells, a server-sent event each. `epoch` comes first and names the feed: where it is not the one that a
 * reader held so far, the CA was restored from a backup, and all that follows is to be read as if for the first time, older bundle
 * included. A reader ignores events that it does not know.
 */
export type WatchEvent =
  | { readonly event: "epoch"; readonly data: { readonly feedEpoch: string } }
  /** The own trust domain's bundle, a SPIFFE JWK Set. */
  | { readonly event: "bundle"; readonly data: unknown }
  | { readonly event: "revocation"; readonly data: RevocationBatch }
  | { readonly event: "renew"; readonly data: RenewNotice }
  | { readonly event: "policy"; readonly data: PolicyNotice }
  | { readonly event: "tap"; readonly data: TapNotice }
  | { readonly event: "federation"; readonly data: FederationNotice };
export type WatchEventName = WatchEvent["event"];

/** Some policy or service changed: the watch event `policy`. Whom it concerns learns it by `GET /v1/policy?sequence=`. */
export interface PolicyNotice {
  readonly sequence: number;
}

/**
 * Whoever holds a certificate with this authority in its chain gets a new one within the window, at an instant of its own choosing:
 * the authority's key may be known to others, and it will be revoked. Sent as the watch event `renew`, and by polled answers.
 */
export interface RenewNotice {
  /** Lower-case hex of the authority's subject key identifier. */
  readonly authorityId: string;
  readonly windowSeconds: number;
}
