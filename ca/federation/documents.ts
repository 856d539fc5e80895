import type { AddFederationRequest, FederationProfile } from "../contract/federation.ts";
import type { DocumentSet } from "../documents.ts";
import { encodeBundle, parseBundle, type Bundle } from "../pki/bundle.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { decodePem } from "../pki/pem.ts";

/** Where another trust domain's bundle is, as it is stored and logged. */
export interface Relationship {
  readonly trustDomain: string;
  readonly profile: FederationProfile;
  readonly endpointUrl: string;
  readonly endpointSpiffeId?: string;
  /** Of a Countersign CA that was invited, or invited us. */
  readonly apiUrl?: string;
  /** Of its CA's audit log, and of its CA as a witness of ours: as first seen, by the endpoint's own proof of itself. */
  readonly logKey?: string;
  readonly witnessKey?: string;
  /** By which hub it came, and by which key what is there of it is signed: then the endpoint is a place in the hub. */
  readonly hub?: { readonly name: string; readonly key: string };
  /** Where the row was written anew since. */
  readonly added?: { readonly atMs: number; readonly by: string };
}

/** The last good bundle, as it is stored and logged. */
export interface StoredBundle {
  /** SPIFFE JWK Set as text, since a sequence has 64 bits: written by us, so it holds no more than we understood, and no refresh hint. */
  readonly bundle: string;
  readonly refreshHintSeconds?: number;
  /** Which feed the sequence is of, where the publisher says. */
  readonly feedEpoch?: string;
  /** When what is in the hub was signed; later ones that say the same are not written down. */
  readonly signedAt?: string;
}

/** A hub this CA subscribes to, as it is stored and logged. */
export interface StoredHub {
  /** `https`, ending in a slash. */
  readonly url: string;
  /** C2SP verifier key of the hub: who may say who is in it. */
  readonly key: string;
  /** The newest list that was taken: an older one is refused. */
  readonly list?: { readonly sequence: number; readonly signedAt: string; readonly validUntil?: string; readonly members: number };
  /** Trust domains that an admin removed, though the hub has them. */
  readonly excluded?: readonly string[];
  /** Where the row was written anew since. */
  readonly added?: { readonly atMs: number; readonly by: string };
}

/** An invitation, as it is stored and logged. */
export interface StoredInvitation {
  /** SHA-256, hex, of 256 random bits: it gives nothing away. */
  readonly secretHash: string;
  readonly expiresAt: string;
  /** Who joined by it, and the fingerprints of its roots: a retry by the same one is answered again. */
  readonly joined?: { readonly trustDomain: string; readonly rootFingerprints: readonly string[] };
}

/** A relationship with all that is known of it. */
export interface HeldRelationship extends Omit<Relationship, "added"> {
  readonly addedAtMs: number;
  readonly addedBy: string;
  /** Undefined: nobody of this trust domain is believed. */
  readonly held: HeldForeignBundle | undefined;
}

export interface HeldForeignBundle extends StoredBundle {
  readonly parsed: Bundle;
  readonly changedAtMs: number;
  /** Of the documents. */
  readonly sequence: number;
}

/** All relationships of a set of documents, by trust domain; what did not change is read once. */
export function relationshipsOf({ byKind }: DocumentSet): ReadonlyMap<string, HeldRelationship> {
  const known = relationships.get(byKind.federation);
  if (known !== undefined && known.bundles === byKind["foreign-bundle"]) return known.all;
  const all = new Map<string, HeldRelationship>();
  for (const [trustDomain, row] of [...byKind.federation].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const bundle = byKind["foreign-bundle"].get(trustDomain);
    all.set(trustDomain, { ...relationshipIn(row), held: bundle && heldOf(trustDomain, bundle) });
  }
  relationships.set(byKind.federation, { bundles: byKind["foreign-bundle"], all });
  return all;
}

/** What is stored of a bundle. */
export function storedBundle({ refreshHintSeconds, ...bundle }: Bundle, feedEpoch?: string, signedAtMs?: number): StoredBundle {
  return {
    bundle: encodeBundle(bundle), ...(refreshHintSeconds !== undefined && { refreshHintSeconds }), ...(feedEpoch !== undefined && { feedEpoch }),
    ...(signedAtMs !== undefined && { signedAt: new Date(signedAtMs).toISOString() }),
  };
}

/**
 * A bundle that an operator hands over: a SPIFFE JWK Set, or certificates in PEM.
 * @throws {PkiError} bundle_* | pem_* | what parseCertificate throws
 */
export function readBundleText(trustDomain: string, text: string): Bundle {
  if (!/^\s*-----BEGIN /.test(text)) return parseBundle(trustDomain, text);
  return { trustDomain, x509Authorities: decodePem(text, "CERTIFICATE").map(parseCertificate), jwtAuthorities: [] };
}

/** SHA-256 of each root, hex. */
export function fingerprintsOf({ x509Authorities }: Bundle): readonly string[] {
  return x509Authorities.map(({ fingerprint }) => fingerprint);
}

/** What is stored of a request; members that are not given are not there. */
export function relationshipOf({ trustDomain, profile, endpointUrl, endpointSpiffeId }: Omit<AddFederationRequest, "bundle">, apiUrl?: string): Relationship {
  return { trustDomain, profile, endpointUrl, ...(endpointSpiffeId !== undefined && { endpointSpiffeId }), ...(apiUrl !== undefined && { apiUrl }) };
}

function relationshipIn(row: { readonly body: string; readonly changedAtMs: number; readonly changedBy: string }): Omit<HeldRelationship, "held"> {
  const known = parsedRelationships.get(row);
  if (known !== undefined) return known;
  const { added = { atMs: row.changedAtMs, by: row.changedBy }, ...relationship } = JSON.parse(row.body) as Relationship;
  const parsed = { ...relationship, addedAtMs: added.atMs, addedBy: added.by };
  parsedRelationships.set(row, parsed);
  return parsed;
}

function heldOf(trustDomain: string, row: { readonly body: string; readonly changedAtMs: number; readonly sequence: number }): HeldForeignBundle {
  const known = parsedBundles.get(row);
  if (known !== undefined) return known;
  const stored = JSON.parse(row.body) as StoredBundle;
  const held = { ...stored, parsed: parseBundle(trustDomain, stored.bundle), changedAtMs: row.changedAtMs, sequence: row.sequence };
  parsedBundles.set(row, held);
  return held;
}

const relationships = new WeakMap<DocumentSet["byKind"]["federation"], { readonly bundles: DocumentSet["byKind"]["foreign-bundle"]; readonly all: ReadonlyMap<string, HeldRelationship> }>();
const parsedRelationships = new WeakMap<object, Omit<HeldRelationship, "held">>();
const parsedBundles = new WeakMap<object, HeldForeignBundle>();
/** What each proxy holds at most: some 3 MiB of bundles. */
export const maxRelationships = 2_000;
