import type { FederationRefresh } from "./federation.ts";

/** `GET /v1/hubs`: the hubs this CA subscribes to, and where it publishes for them. */
export interface FederationHubs {
  readonly hubs: readonly HubSummary[];
  /** C2SP verifier key of this CA in hubs: by it a hub's owner admits it. */
  readonly key: string;
  /** Absent: the setting `federationHub` names no place. */
  readonly publication?: HubPublication;
}

/** A list of trust domains, signed by its owner's key, with all of which this CA is federated. */
export interface HubSummary {
  /** Of its key. */
  readonly name: string;
  readonly url: string;
  /** C2SP verifier key. */
  readonly key: string;
  readonly addedAt: string;
  readonly addedBy: string;
  /** The newest list that was taken; from `validUntil` on nobody is believed by it. */
  readonly list?: { readonly sequence: number; readonly signedAt: string; readonly validUntil?: string; readonly members: number };
  /** Removed here by hand, though the hub has them. */
  readonly excluded?: readonly string[];
  /** Federated with by another way, which stays. */
  readonly kept?: readonly string[];
  /** How the list has this trust domain: with its key, with another one, or not at all; absent until it was read. */
  readonly own?: "listed" | "other-key" | "absent";
  /** How the last look at the list went; each member's bundle is looked for by itself. */
  readonly refresh?: FederationRefresh;
}

/** How the last publication of this CA's bundle went. */
export interface HubPublication {
  /** Folder or bucket. */
  readonly where: string;
  readonly refresh?: FederationRefresh;
}

/** `GET /v1/hub-holdings`: C2SP signed notes that this CA has in a hub beside its bundle. */
export interface HubHoldingsNote {
  /** Which bundles of others it has. */
  readonly note: string;
  /** What it shows of its audit log, and what it cosigned of others'; absent: it came by no hub. */
  readonly log?: string;
}

/** `POST /v1/hubs`: again, it takes back who was removed by hand. */
export interface SubscribeToHubRequest {
  /** What the hub's owner shows: `countersign_hub_...`. */
  readonly subscription: string;
}
