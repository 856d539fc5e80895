import { AuditError } from "../audit/errors.ts";
import { parseNote, parseVerifierKey, verifyNote, type VerifierKey } from "../audit/note.ts";
import type { NoteSigner } from "../audit/note-signer.ts";
import { PkiError } from "../pki/errors.ts";
import { parseTrustDomain } from "../pki/spiffe-id.ts";
import { FederationError } from "./errors.ts";

/** A cluster's bundle as it is in a hub: signed by its CA, so that whoever holds the hub's folder or bucket can withhold it and no more. */
export interface HubBundle {
  readonly trustDomain: string;
  /** Which feed the bundle's sequence is of. */
  readonly feedEpoch: string;
  readonly signedAtMs: number;
  /** SPIFFE JWK Set. */
  readonly bundle: string;
}

/** Who is in a hub, signed by the hub's key alone. */
export interface HubMembers {
  /** Rises with each list. */
  readonly sequence: number;
  readonly signedAtMs: number;
  /** From then on it vouches for nobody, so that whoever holds the hub cannot keep the next one back; absent: it does not end. */
  readonly validUntilMs?: number;
  /** C2SP verifier keys, one a trust domain, which is in its name. */
  readonly keys: readonly string[];
}

/** Of a CA's key for hubs. */
export function memberKeyName(trustDomain: string): string {
  return `countersign.dev/${trustDomain}/hub`;
}

/** The trust domain that a member's key is of. @throws {FederationError} hub_refused */
export function trustDomainOfKey(verifierKey: string): string {
  try {
    const [, trustDomain = ""] = /^countersign\.dev\/([^/]+)\/hub$/.exec(parseVerifierKey(verifierKey).name) ?? [];
    return parseTrustDomain(trustDomain);
  } catch (cause) {
    if (cause instanceof AuditError || cause instanceof PkiError) throw refused(`a key in it is none of a CA for hubs (${cause.message})`, cause);
    throw cause;
  }
}

/** A cluster's bundle, signed. */
export function signHubBundle({ trustDomain, feedEpoch, signedAtMs, bundle }: HubBundle, signer: NoteSigner): string {
  return signer.sign([bundleKind, trustDomain, feedEpoch, new Date(signedAtMs).toISOString(), bundle, ""].join("\n"));
}

/**
 * Reads what a hub has for a member, by the member's key.
 * @throws {FederationError} hub_refused
 */
export function readHubBundle(text: string, trustDomain: string, verifierKey: string): HubBundle {
  const [kind, name, feedEpoch = "", signedAt = "", bundle = "", end, ...more] = readSigned(text, verifierKey, maxBundleNoteBytes);
  // One key, one trust domain, one kind of document: none may pass for another.
  if (kind !== bundleKind || name !== trustDomain || end !== "" || more.length > 0 || !/^[\x21-\x7e]{1,64}$/.test(feedEpoch)) throw refused(`it is no bundle of ${trustDomain}`);
  return { trustDomain, feedEpoch, signedAtMs: readInstant(signedAt), bundle };
}

/** The list of a hub's members, signed. */
export function signHubMembers({ sequence, signedAtMs, validUntilMs, keys }: HubMembers, signer: NoteSigner): string {
  const until = validUntilMs === undefined ? [] : [untilPrefix + new Date(validUntilMs).toISOString()];
  return signer.sign([membersKind, String(sequence), new Date(signedAtMs).toISOString(), ...until, ...keys, ""].join("\n"));
}

/**
 * Reads a hub's list of members, by the hub's key. It is the state of the world or nothing: one key that cannot be read refuses all of it.
 * @throws {FederationError} hub_refused
 */
export function readHubMembers(text: string, hubKey: string): HubMembers {
  const [kind, sequence = "", signedAt = "", ...lines] = readSigned(text, hubKey, maxMembersNoteBytes);
  if (kind !== membersKind || lines.pop() !== "" || !/^[1-9][0-9]{0,14}$/.test(sequence)) throw refused("it is no list of members");
  const until = lines[0]?.startsWith(untilPrefix) === true ? readInstant(lines.shift()!.slice(untilPrefix.length)) : undefined;
  if (lines.length > maxHubMembers) throw refused(`it lists ${lines.length} trust domains, the limit is ${maxHubMembers}`);
  const names = lines.map(trustDomainOfKey);
  if (new Set(names).size !== names.length) throw refused("it lists a trust domain twice");
  return { sequence: Number(sequence), signedAtMs: readInstant(signedAt), ...(until !== undefined && { validUntilMs: until }), keys: lines };
}

/** Lines of a note by this key, whatever they say. @throws {FederationError} hub_refused */
export function readSigned(text: string, verifierKey: string, maxBytes: number): string[] {
  try {
    const note = parseNote(text, maxBytes);
    const key: VerifierKey = parseVerifierKey(verifierKey);
    verifyNote(note, [key]);
    return note.text.split("\n");
  } catch (cause) {
    if (cause instanceof AuditError) throw refused(cause.message, cause);
    throw cause;
  }
}

/** @throws {FederationError} hub_refused */
export function readInstant(text: string): number {
  const ms = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(ms)) throw refused("it does not say when it was signed");
  return ms;
}

/**
 * Refuses what whoever holds the hub may have kept since: a member signs anew once an hour.
 * @param lastMs  when what was taken last was signed
 * @throws {FederationError} hub_refused
 */
export function requireRecent(signedAtMs: number, lastMs: number | undefined, nowMs: number): void {
  if (lastMs !== undefined && signedAtMs < lastMs) throw refused(`it was signed before the one that is held (${new Date(lastMs).toISOString()})`);
  if (signedAtMs < nowMs - maxHubNoteAgeMs) throw refused(`it was signed at ${new Date(signedAtMs).toISOString()}: its CA does not publish any more, or the hub withholds what it does`);
  if (signedAtMs > nowMs + maxSkewMs) throw refused("it was signed in the future; check the clocks");
}

/** What is in a hub is not what it has to be. */
export function refused(why: string, cause?: unknown): FederationError {
  return new FederationError("hub_refused", why, { cause });
}

/** What a member signed before that counts no more: it is taken for one that does not publish any more. */
export const maxHubNoteAgeMs = 3 * 86_400_000;
const maxSkewMs = 5 * 60_000;
/** What is proxies' and endpoints' bound as well. */
export const maxHubMembers = 2_000;
/** Where in a hub the list is. */
export const membersFile = "members.note";
const bundleKind = "countersign.dev/federation-hub/bundle/v1";
/** No key begins so. */
const untilPrefix = "until ";
const membersKind = "countersign.dev/federation-hub/members/v1";
/** A bundle as the endpoints' limit has it, with its signature. */
const maxBundleNoteBytes = 512 * 1024;
/** 2000 names of 100 characters, with keys of 60: some 350 KiB. */
const maxMembersNoteBytes = 512 * 1024;
