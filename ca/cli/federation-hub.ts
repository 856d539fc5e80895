import type { FederationHubs, HubHoldingsNote, HubSummary } from "../contract/federation-hubs.ts";
import type { FederationRefresh } from "../contract/federation.ts";
import { paths } from "../contract/paths.ts";
import { hubHoldingsFile } from "../federation/hub-holdings.ts";
import { hubLogFile } from "../federation/hub-log.ts";
import { trustDomainOfKey } from "../federation/hub-notes.ts";
import { hubBundleFile } from "../federation/plan-hub.ts";
import { ObjectStoreError } from "../publishing/object-store.ts";
import { openPublishPlace, type PlaceOptions, type PublishPlace } from "../publishing/place.ts";
import { ApiError, type Api } from "./api.ts";
import { minute, table } from "./table.ts";

/** Puts this CA's bundle into a hub, once: signed, and plain for software that knows no hubs. @throws {ApiError} */
export async function publishToHub(ca: Api, where: string, options: PlaceOptions): Promise<{ readonly trustDomain: string; readonly key: string; readonly where: string }> {
  const { key } = await ca.call<FederationHubs>("GET", paths.hubs);
  const trustDomain = trustDomainOfKey(key);
  const place = openPlace(where, options);
  await putIn(place, hubBundleFile(trustDomain), await ca.fetchPublic(paths.hubBundle, "text/plain"));
  await putIn(place, `${trustDomain}.bundle.json`, await ca.fetchPublic(paths.bundle, "application/json"));
  const { note, log } = await ca.call<HubHoldingsNote>("GET", paths.hubHoldings);
  await putIn(place, hubHoldingsFile(trustDomain), note);
  if (log !== undefined) await putIn(place, hubLogFile(trustDomain), log);
  return { trustDomain, key, where };
}

/** @throws {ApiError} */
export function openPlace(where: string, options: PlaceOptions): PublishPlace {
  try {
    return openPublishPlace(where, options);
  } catch (cause) {
    if (cause instanceof ObjectStoreError) throw new ApiError(cause.message, { cause });
    throw cause;
  }
}

/** @throws {ApiError} */
export async function putIn({ put }: PublishPlace, name: string, text: string): Promise<void> {
  try {
    await put(name, text, { type: name.endsWith(".json") ? "application/json" : "text/plain; charset=utf-8", cacheControl: "max-age=30" });
  } catch (cause) {
    if (cause instanceof ObjectStoreError) throw new ApiError(cause.message, { cause });
    throw cause;
  }
}

/** A hub that is subscribed to, for people. */
export function describeHub({ name, url, key, list, own, excluded, kept, refresh, addedAt, addedBy }: HubSummary): string {
  const lines: readonly (readonly [string, string | undefined])[] = [
    ["hub", name],
    ["at", url],
    ["its key", key],
    ["added", `${minute(addedAt)} by ${addedBy}`],
    ["list", list && `${list.sequence}, of ${minute(list.signedAt)}: ${list.members} trust domains${list.validUntil === undefined ? "" : `, until ${minute(list.validUntil)}`}`],
    ["this CA", own && standing[own]],
    ["stay as they are", kept?.join(", ")],
    ["removed by hand", excluded?.join(", ")],
    ["read", refresh && minute(refresh.succeededAt)],
    ["failing", failing(refresh)],
  ];
  return lines.filter(([, value]) => value !== undefined).map(([label, value]) => `${label}: ${value}\n`).join("");
}

/** All of them, and how this CA is in hubs. */
export function describeHubs({ hubs, key, publication }: FederationHubs): string {
  const rows = hubs.map(({ name, list, own, refresh, url }) => [name, list === undefined ? "none" : String(list.members), own ?? "unknown", failing(refresh) ?? minute(refresh?.succeededAt), url]);
  const published = publication === undefined ? "no place: set federationHub, or run countersign federation publish" : `${publication.where}, ${failing(publication.refresh) ?? minute(publication.refresh?.succeededAt)}`;
  return `${table(["HUB", "MEMBERS", "THIS CA", "READ", "AT"], rows)}\nthis CA's key: ${key}\npublished to: ${published}\n`;
}

function failing(refresh: FederationRefresh | undefined): string | undefined {
  return refresh?.error === undefined ? undefined : `failing (${refresh.failures} times): ${refresh.error}`;
}

const standing = { listed: "is in it", "other-key": "is in it with another key: its owner is to admit the one that countersign federation hubs shows", absent: "is not in it: its owner admits it by the key that countersign federation hubs shows" };
