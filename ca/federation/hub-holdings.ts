import type { NoteSigner } from "../audit/note-signer.ts";
import type { HeldBundle } from "../contract/acknowledgements.ts";
import { PkiError } from "../pki/errors.ts";
import { parseTrustDomain } from "../pki/spiffe-id.ts";
import { maxRelationships, type HeldRelationship } from "./documents.ts";
import { readInstant, readSigned, refused } from "./hub-notes.ts";

/** Which bundles of the others in hubs a cluster has, signed by its CA: to each of them an acknowledgement. */
export interface HubHoldings {
  readonly trustDomain: string;
  readonly signedAtMs: number;
  /** By the trust domain that the bundle is of. */
  readonly held: ReadonlyMap<string, HeldBundle>;
}

/** Where in a hub a member says which bundles it has. */
export function hubHoldingsFile(trustDomain: string): string {
  return `${trustDomain}.holds.note`;
}

/** What a cluster has of others, signed. */
export function signHubHoldings({ trustDomain, signedAtMs, held }: HubHoldings, signer: NoteSigner): string {
  const lines = [...held].map(([name, { feedEpoch, bundleSequence }]) => `${name} ${feedEpoch} ${bundleSequence}`);
  return signer.sign([holdingsKind, trustDomain, new Date(signedAtMs).toISOString(), ...lines, ""].join("\n"));
}

/**
 * Reads what a member says it has, by the member's key.
 * @throws {FederationError} hub_refused
 */
export function readHubHoldings(text: string, trustDomain: string, verifierKey: string): HubHoldings {
  const [kind, name, signedAt = "", ...lines] = readSigned(text, verifierKey, maxHoldingsNoteBytes);
  // One key, one trust domain, one kind of document: none may pass for another.
  if (kind !== holdingsKind || name !== trustDomain || lines.pop() !== "") throw refused(`it does not say what ${trustDomain} has`);
  if (lines.length > maxRelationships) throw refused(`it names ${lines.length} trust domains, the limit is ${maxRelationships}`);
  const held = new Map(lines.map(readLine));
  if (held.size !== lines.length) throw refused("it names a trust domain twice");
  return { trustDomain, signedAtMs: readInstant(signedAt), held };
}

/**
 * What is to be said of those that came by hubs: which bundle their CAs may rely on. One whose newest bundle not all proxies have yet
 * is said to be held as it was before, or from before all others: who says nothing of it does not believe it. Pure.
 * @param before     what was said last
 * @param settledMs  a bundle that changed until then is with all proxies
 */
export function holdingsOf(relationships: ReadonlyMap<string, HeldRelationship>, before: ReadonlyMap<string, HeldBundle>, settledMs: number): ReadonlyMap<string, HeldBundle> {
  const all = new Map<string, HeldBundle>();
  for (const [trustDomain, { hub, held }] of relationships) {
    if (hub === undefined || held?.feedEpoch === undefined) continue;
    const settled: HeldBundle = { feedEpoch: held.feedEpoch, bundleSequence: String(held.parsed.sequence ?? 0n) };
    all.set(trustDomain, held.changedAtMs <= settledMs ? settled : before.get(trustDomain) ?? { ...settled, bundleSequence: "0" });
  }
  return all;
}

function readLine(line: string): readonly [string, HeldBundle] {
  const [, name = "", feedEpoch = "", bundleSequence = ""] = lineForm.exec(line) ?? [];
  try {
    return [parseTrustDomain(name), { feedEpoch, bundleSequence }];
  } catch (cause) {
    if (cause instanceof PkiError) throw refused("a line of it names no bundle", cause);
    throw cause;
  }
}

const holdingsKind = "countersign.dev/federation-hub/holdings/v1";
/** A sequence has 64 bits. */
const lineForm = /^([^ ]{1,255}) ([\x21-\x7e]{1,64}) (0|[1-9][0-9]{0,19})$/;
/** 2000 names of 100 characters, with what is said of them: some 300 KiB. */
const maxHoldingsNoteBytes = 512 * 1024;
