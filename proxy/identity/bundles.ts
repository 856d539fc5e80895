import { parseBundle, type Bundle } from "../../ca/pki/bundle.ts";

/** A bundle and the text it was read from, which is what is stored and compared. */
export interface HeldBundle {
  readonly text: string;
  readonly bundle: Bundle;
}

/** By trust domain. */
export type HeldBundles = ReadonlyMap<string, HeldBundle>;

/** What is held after an offer. */
export interface MergedBundles {
  readonly held: HeldBundles;
  /** Offers that were not taken, for the log: the last good bundle of that trust domain is still held. */
  readonly refused: readonly { readonly trustDomain: string; readonly reason: string }[];
}

/**
 * Takes what the CA offers into what is held. An offer that cannot be read, is older than what is held (a replica may
 * lag behind), or takes away our own last anchor changes nothing. Trust domains that are no longer offered are dropped, the own one never.
 * @param options.restored  the own CA came back from a backup: its sequence begins anew, so an older one is taken
 */
export function mergeBundles(
  ownTrustDomain: string, held: HeldBundles, offered: Readonly<Record<string, string>>, { restored = false } = {},
): MergedBundles {
  const merged = new Map<string, HeldBundle>();
  const ownBefore = held.get(ownTrustDomain);
  if (ownBefore !== undefined) merged.set(ownTrustDomain, ownBefore);
  const refused: { trustDomain: string; reason: string }[] = [];
  for (const [trustDomain, text] of Object.entries(offered)) {
    const before = held.get(trustDomain);
    const own = trustDomain === ownTrustDomain;
    try {
      merged.set(
        trustDomain, before?.text === text ? before : newer(before, { text, bundle: parseBundle(trustDomain, text) }, own, own && restored),
      );
    } catch (error) {
      if (before !== undefined) merged.set(trustDomain, before);
      refused.push({ trustDomain, reason: (error as Error).message });
    }
  }
  return { held: merged, refused };
}

/** As `mergeBundles`, for an offer of the own bundle alone: all others stay. */
export function mergeOwnBundle(ownTrustDomain: string, held: HeldBundles, text: string, options: { readonly restored?: boolean } = {}): MergedBundles {
  const others = [...held].filter(([trustDomain]) => trustDomain !== ownTrustDomain).map(([trustDomain, one]) => [trustDomain, one.text]);
  return mergeBundles(ownTrustDomain, held, { ...Object.fromEntries(others), [ownTrustDomain]: text }, options);
}

/**
 * Takes what the CA says of other trust domains: who is not named is dropped, and of who is the bundle that came with it or else the
 * one that is held. The CA has judged which is newer; what cannot be read changes nothing. The own bundle is never touched.
 */
export function mergeFederation(
  ownTrustDomain: string, held: HeldBundles, trustDomains: readonly string[], offered: Readonly<Record<string, string>>,
): MergedBundles {
  const merged = new Map<string, HeldBundle>();
  const refused: { trustDomain: string; reason: string }[] = [];
  for (const trustDomain of [ownTrustDomain, ...trustDomains]) {
    const before = held.get(trustDomain);
    if (before !== undefined) merged.set(trustDomain, before);
    const text = trustDomain !== ownTrustDomain && Object.hasOwn(offered, trustDomain) ? offered[trustDomain] : undefined;
    if (text === undefined || text === before?.text) continue;
    try {
      merged.set(trustDomain, { text, bundle: parseBundle(trustDomain, text) });
    } catch (error) {
      refused.push({ trustDomain, reason: (error as Error).message });
    }
  }
  return { held: merged, refused };
}

/** True if both hold the same texts. */
export function sameBundles(one: HeldBundles, other: HeldBundles): boolean {
  return one.size === other.size && [...one].every(([trustDomain, { text }]) => other.get(trustDomain)?.text === text);
}

/** The texts alone, to be stored. */
export function bundleTexts(held: HeldBundles): Readonly<Record<string, string>> {
  return Object.fromEntries([...held].map(([trustDomain, { text }]) => [trustDomain, text]));
}

function newer(before: HeldBundle | undefined, offer: HeldBundle, own: boolean, restored: boolean): HeldBundle {
  // Empty is how a trust domain says that nothing of it verifies; from our own CA it could only be a mistake that locks us out.
  if (own && offer.bundle.x509Authorities.length === 0) {
    throw new Error("it has no X.509 authority; the last good one is kept");
  }
  if (restored) return offer;
  const { sequence } = offer.bundle;
  const heldSequence = before?.bundle.sequence;
  if (sequence === undefined && heldSequence !== undefined) {
    throw new Error(`it has no sequence, so it may be older than ${heldSequence}, which is held already; that one is kept`);
  }
  if (sequence !== undefined && heldSequence !== undefined && sequence < heldSequence) {
    throw new Error(`its sequence ${sequence} is below ${heldSequence}, which is held already; the newer one is kept`);
  }
  return offer;
}
