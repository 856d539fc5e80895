import type { HubPublication, HubSummary } from "../contract/federation-hubs.ts";
import type { CheckFacts } from "./facts.ts";
import { finding, type Finding, type Trouble } from "./finding.ts";

/** Hubs, where there are any: that their lists are read, that they have this CA as it is, and that it publishes. */
export function judgeHubs({ hubs, nowMs }: CheckFacts): readonly Finding[] {
  if (hubs === undefined) return [];
  const { publication } = hubs;
  return [
    ...hubs.hubs.map((hub) => finding("hub-read", judgeList(hub, nowMs), `the list of the hub ${hub.name}`)),
    ...hubs.hubs.filter(({ own }) => own !== undefined).map((hub) => finding("hub-listed", judgeOwn(hub, publication !== undefined), `the hub ${hub.name}`)),
    ...(publication === undefined ? [] : [finding("hub-published", judgePublication(publication, nowMs))]),
  ];
}

function judgeList({ list, refresh, addedAt }: HubSummary, nowMs: number): Trouble | undefined {
  const why = refresh?.error ?? "nobody has looked for it yet";
  if (list === undefined) return { status: "failed", what: `it was never had, so nobody came by it: ${why}` };
  const { signedAt, validUntil } = list;
  if (validUntil !== undefined && Date.parse(validUntil) <= nowMs) return { status: "failed", what: `it ended at ${validUntil}, so nobody that came by it is believed: ${why}`, remedy: renewIt };
  const endsSoon = validUntil !== undefined && Date.parse(validUntil) - nowMs < (Date.parse(validUntil) - Date.parse(signedAt)) * endingShare;
  if (endsSoon) return { status: "warning", what: `it ends at ${validUntil}, and then nobody that came by it is believed`, remedy: renewIt };
  if (validUntil === undefined && nowMs - Date.parse(signedAt) >= oldListMs) {
    return { status: "warning", what: `it was signed at ${signedAt} and does not end: whoever holds the hub could keep a newer one back, and with it who was expelled`, remedy: renewIt };
  }
  if (nowMs - Date.parse(refresh?.succeededAt ?? addedAt) < staleListMs) return undefined;
  return { status: "warning", what: `it was last read at ${refresh?.succeededAt ?? addedAt}; who was in it then stays: ${why}` };
}

/** Who does not publish may well only listen. */
function judgeOwn({ own }: HubSummary, publishes: boolean): Trouble | undefined {
  if (own === "other-key") return { status: "failed", what: "it has another key for this trust domain: its subscribers take no bundle of this CA" };
  return own === "absent" && publishes ? { status: "warning", what: "its list does not have this trust domain: its subscribers believe nobody of it" } : undefined;
}

function judgePublication({ where, refresh }: HubPublication, nowMs: number): Trouble | undefined {
  if (refresh?.succeededAt !== undefined && nowMs - Date.parse(refresh.succeededAt) < stalePublicationMs) return undefined;
  const when = refresh?.succeededAt === undefined ? `it was never put into ${where}` : `it was last put into ${where} at ${refresh.succeededAt}`;
  return { status: "warning", what: `${when}: ${refresh?.error ?? "nobody has tried yet"}` };
}

const renewIt = "its owner runs: countersign federation hub renew";
export const endingShare = 1 / 4;
export const oldListMs = 30 * 86_400_000;
/** Five looks. */
export const staleListMs = 5 * 60_000;
/** Twice what lies between two publications. */
export const stalePublicationMs = 2 * 3_600_000;
