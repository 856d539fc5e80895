import type { CheckpointSigner } from "../audit/checkpoint.ts";
import { encodeEntry } from "../audit/event.ts";
import { appendLeaf, hashLeaf, rootOf, type CompactRange } from "../audit/merkle.ts";
import { encodeHead, type SealedHead } from "./head.ts";
import { planAuthorityChange, refuseSigner, type AuthorityFact, type AuthorityStateWrite } from "./plan-authorities.ts";
import { toBuffer } from "./row-columns.ts";
import type { Act, Descendants, Receipt } from "./acts.ts";
import type { StoreErrorCode } from "./errors.ts";
import type { AuthorityRow } from "./rows/authorities.ts";
import type { CaState } from "./rows/ca-state.ts";
import type { CeremonyRow } from "./rows/ceremonies.ts";
import type { CertificateRow, IdempotentRow, NewCertificate } from "./rows/certificates.ts";
import type { CrlRow } from "./rows/crls.ts";
import type { DocumentRow } from "./rows/documents.ts";
import type { AnnouncementRow } from "./rows/feed.ts";
import type { EntryRow } from "./rows/log.ts";
import type { RevocationRow } from "./rows/revocations.ts";
import type { TokenRow } from "./rows/tokens.ts";

/**
 * What the acts of a group may ask of the database, answered from inside the transaction that holds the writer lock: no other
 * writer can make an answer stale.
 */
export interface Facts {
  readonly initialized: boolean;
  certificate(serialNumber: string): CertificateFact | undefined;
  /** Certificates for the ID that were issued after this one, oldest first, at most `maxLaterCertificates`. */
  issuedAfter(serialNumber: string, spiffeId: string): readonly LaterFact[];
  keyUsed(keyFingerprint: Uint8Array): boolean;
  token(id: string): TokenFact | undefined;
  /** When the remembered key is forgotten, in ms; undefined for one that is free. */
  idempotencyKeyExpiry(scope: string, key: string): number | undefined;
  /** Those that are neither retired nor revoked: nothing changes the others any more. */
  authorities(): readonly AuthorityFact[];
  /** In whatever state. */
  authority(id: string): AuthorityFact | undefined;
  readonly bundleSequence: number | undefined;
  /** As `CaState` has it. */
  sealedLogKey(): Uint8Array | undefined;
  /** Whether a request to an offline key waits for its answer. */
  ceremonyOpen(id: string): boolean;
  /** Of the newest change of any document, 0 when there is none. */
  documentSequence(): number;
  /** The token of a lease that is held by somebody, also when its time is over; undefined for one that nobody has. */
  leaseToken(name: string): number | undefined;
  /** Number of the list's newest CRL; undefined when it has none. */
  crlNumber(authorityId: string, list: string): number | undefined;
}
export type CertificateFact = Pick<CertificateRow, "notAfterMs" | "authorityId"> & { readonly revoked: boolean };
export type LaterFact = Pick<CertificateRow, "serialNumber" | "notAfterMs" | "authorityId" | "renewedFrom"> & { readonly revoked: boolean };
export type TokenFact = Pick<TokenRow, "version"> & { readonly deleted: boolean };

/** What happened to one act, as plain data: it crosses threads. */
export type Outcome = Receipt | Refused;
export interface Refused {
  readonly code: StoreErrorCode;
  readonly message: string;
  /** Absent means true: see StoreError. */
  readonly outcomeKnown?: boolean;
}

/** All that one commit writes. */
export interface Plan {
  /** One for each act, in order. */
  readonly outcomes: readonly Outcome[];
  readonly writes: Writes;
  /** Undefined when every act was refused: then there is nothing to write. */
  readonly sealed: SealedHead | undefined;
}

export interface Writes {
  readonly states: readonly CaState[];
  readonly authorities: readonly AuthorityRow[];
  readonly authorityStates: readonly AuthorityStateWrite[];
  /** Of authorities that signed certificates which end later than any before. */
  readonly lastNotAfters: readonly Pick<AuthorityRow, "id" | "lastNotAfterMs">[];
  readonly bundleSequence: number | undefined;
  readonly certificates: readonly (NewCertificate & { readonly logIndex: number })[];
  readonly revocations: readonly RevocationRow[];
  readonly tokens: readonly TokenRow[];
  readonly redemptions: readonly { readonly id: string; readonly version: number; readonly redeemedAtMs: number }[];
  readonly deletions: readonly { readonly id: string; readonly deletedAtMs: number }[];
  readonly idempotencyKeys: readonly (IdempotentRow & { readonly scope: string; readonly key: string })[];
  /** Idempotency keys that expired by then may be forgotten; undefined when no act tells the time. */
  readonly forgetUntilMs: number | undefined;
  readonly resealings: readonly Pick<ActOf<"reseal">, "sealedLogKey" | "wrappedSealingKey" | "authorities">[];
  readonly prunings: readonly { readonly from: number; readonly to: number; readonly expiredBeforeMs: number }[];
  readonly crls: readonly CrlRow[];
  readonly announcements: readonly AnnouncementRow[];
  readonly ceremonies: readonly CeremonyRow[];
  readonly documents: readonly DocumentRow[];
  readonly ceremonyClosings: readonly { readonly id: string; readonly closedAtMs: number }[];
  readonly entries: readonly EntryRow[];
  readonly subtrees: readonly SubtreeRow[];
}

export interface SubtreeRow {
  readonly level: number;
  readonly index: number;
  readonly hash: Uint8Array;
}

/**
 * Decides a group of acts, one after another as if each had its own transaction, and seals the log after the last: the pure
 * core of both stores. A refused act leaves no trace.
 */
export function planGroup(acts: readonly Act[], facts: Facts, head: CompactRange, signer: CheckpointSigner): Plan {
  const draft = newDraft(facts);
  let range = head;
  const outcomes = acts.map((act): Outcome => {
    const logIndex = range.size;
    const refused = checkFence(act, facts) ?? checkSealing(act, draft, logIndex) ?? checkCeremony(act, draft) ?? takeEffect(act, draft, logIndex, signer);
    if (refused !== undefined) return refused;
    for (const id of act.answers?.ceremonies ?? []) draft.writes.ceremonyClosings.push({ id, closedAtMs: act.answers!.closedAtMs });
    if (act.announce !== undefined) draft.writes.announcements.push({ ...act.announce, sequence: logIndex + 1 });
    for (const body of [...act.entries, ...draft.furtherEntries.splice(0)]) {
      const leafHash = hashLeaf(body);
      draft.writes.entries.push({ index: range.size, body, leafHash });
      range = appendLeaf(range, leafHash, (level, index, hash) => draft.writes.subtrees.push({ level, index, hash }));
    }
    return { logIndex };
  });
  const { size } = range;
  const sealed = size === head.size ? undefined : { range, head: encodeHead(range), checkpoint: { size, note: signer.sign(size, rootOf(range)) } };
  return { outcomes, writes: draft.writes, sealed };
}

/** A group's writes while it is planned, and what its earlier acts changed of the facts. */
interface Draft {
  readonly facts: Facts;
  readonly writes: { -readonly [Table in keyof Writes]: Writes[Table] extends readonly (infer Row)[] ? Row[] : Writes[Table] };
  /** Entries that the act under way adds to its own. */
  readonly furtherEntries: string[];
  initialized: boolean;
  readonly certificates: Map<string, CertificateFact>;
  readonly keys: Set<string>;
  readonly tokens: Map<string, TokenFact>;
  readonly idempotencyKeys: Map<string, number>;
  readonly crlNumbers: Map<string, number>;
  readonly authorities: Map<string, AuthorityFact>;
  authoritiesKnown: boolean;
  bundleSequence: number | undefined;
}

function newDraft(facts: Facts): Draft {
  return {
    facts,
    writes: {
      states: [], resealings: [], prunings: [], authorities: [], authorityStates: [], certificates: [], revocations: [], tokens: [], redemptions: [], deletions: [], lastNotAfters: [], bundleSequence: undefined,
      idempotencyKeys: [], forgetUntilMs: undefined, crls: [], announcements: [], ceremonies: [], ceremonyClosings: [], documents: [], entries: [], subtrees: [],
    },
    furtherEntries: [],
    initialized: facts.initialized,
    certificates: new Map(),
    keys: new Set(),
    tokens: new Map(),
    idempotencyKeys: new Map(),
    crlNumbers: new Map(),
    authorities: new Map(),
    authoritiesKnown: false,
    bundleSequence: facts.bundleSequence,
  };
}

/** No act takes or gives up a lease, so the facts hold for the whole group. */
function checkFence({ fence }: Act, facts: Facts): Refused | undefined {
  if (fence === undefined || facts.leaseToken(fence.lease) === fence.token) return undefined;
  return refused("lease_lost", `The lease ${fence.lease} is no longer held under token ${fence.token}: another process has taken over. Leave the work to it.`);
}

function checkSealing(act: Act, { facts, writes }: Draft, logIndex: number): Refused | undefined {
  if (act.kind === "reseal" && act.logSize !== logIndex) {
    return refused("sealing_superseded", "Something was written to the store while its keys were sealed anew: a CA has started on it. Nothing was changed; stop it, and try again.");
  }
  const { sealing } = act;
  if (sealing === undefined) return undefined;
  const stored = writes.resealings.at(-1)?.sealedLogKey ?? writes.states[0]?.sealedLogKey ?? facts.sealedLogKey();
  if (stored !== undefined && Buffer.compare(stored, sealing) === 0) return undefined;
  return refused("sealing_superseded", "The private keys of the store were sealed anew since this process opened them, and what it seals would open for nobody. Start this process again with the new sealing key.");
}

function checkCeremony({ answers }: Act, { facts, writes }: Draft): Refused | undefined {
  const isOpen = (ceremony: string): boolean =>
    (facts.ceremonyOpen(ceremony) || writes.ceremonies.some(({ id }) => id === ceremony)) && !writes.ceremonyClosings.some(({ id }) => id === ceremony);
  const closed = answers?.ceremonies.find((ceremony) => !isOpen(ceremony));
  if (closed === undefined) return undefined;
  return refused("ceremony_unknown", `The request ${closed} is not open: it was answered or taken back before, or is another CA's.`);
}

/** Checks everything an act expects, then writes it to the draft: nothing is written by an act that is refused. */
function takeEffect(act: Act, draft: Draft, logIndex: number, signer: CheckpointSigner): Refused | undefined {
  switch (act.kind) {
    case "issue": return issue(act, draft, logIndex);
    case "revoke": return revoke(act, draft, logIndex);
    case "initialize": return initialize(act, draft, signer);
    case "create-token": return createToken(act.token, draft);
    case "delete-token": return deleteToken(act, draft);
    case "change-authorities": return changeAuthorities(act, draft, logIndex);
    case "publish-crl": return publishCrl(act, draft);
    case "request-ceremony":
      draft.writes.ceremonies.push(act.ceremony);
      return undefined;
    case "change-documents": return changeDocuments(act, draft, logIndex);
    case "prune": return prune(act, draft);
    case "reseal":
      draft.writes.resealings.push(act);
      return undefined;
    case "issue-jwt-svid": return issueJwtSvid(act, draft);
    case "record": return undefined;
  }
}

function initialize(act: ActOf<"initialize">, draft: Draft, signer: CheckpointSigner): Refused | undefined {
  if (draft.initialized) return refused("already_initialized", "This store already holds a CA; another process was faster. Start again to resume with it.");
  if (act.state.logVerifierKey !== signer.verifierKey) {
    return refused("log_inconsistent", `The CA's state names the log key ${act.state.logVerifierKey}, and the store was unlocked with ${signer.verifierKey}.`);
  }
  draft.initialized = true;
  draft.writes.states.push(act.state);
  draft.writes.authorities.push(...act.authorities);
  for (const authority of act.authorities) draft.authorities.set(authority.id, authority);
  draft.bundleSequence = act.state.bundleSequence;
  for (const token of act.tokens) createToken(token, draft);
  return undefined;
}

function issue({ certificate, redeem, idempotency }: ActOf<"issue">, draft: Draft, logIndex: number): Refused | undefined {
  const { serialNumber, notAfterMs, authorityId, issuedAtMs } = certificate;
  // First of the checks: a repeated request must learn that it is one, not that its own first try spent the token and the key.
  const remembered = idempotency && JSON.stringify([idempotency.scope, idempotency.key]);
  if (idempotency !== undefined && remembered !== undefined) {
    const expiresAtMs = draft.idempotencyKeys.get(remembered) ?? draft.facts.idempotencyKeyExpiry(idempotency.scope, idempotency.key);
    if (expiresAtMs !== undefined && expiresAtMs > issuedAtMs) {
      return refused("idempotency_conflict", "Another request with this idempotency key was answered first. Read what it got.");
    }
  }
  if (redeem !== undefined) {
    const token = tokenOf(redeem.tokenId, draft);
    if (token === undefined || token.deleted) return tokenUnknown(redeem.tokenId);
    if (token.version !== redeem.version) return refused("token_already_redeemed", `Token ${redeem.tokenId} was redeemed by another request. Create a new one.`);
  }
  // No authority's row is ever removed: one that is not there is not one that was stopped.
  const signer = authorityOf(authorityId, draft);
  const unfit = signer && refuseSigner(signer);
  if (unfit !== undefined) return unfit;
  const { renewedFrom } = certificate;
  if (renewedFrom !== undefined) {
    const parent = certificateOf(renewedFrom, draft);
    if (parent === undefined) return certificateUnknown(renewedFrom);
    if (parent.revoked) return refused("certificate_revoked", `Certificate ${renewedFrom}, which proved who asks, was revoked meanwhile.`);
  }
  const keyName = nameOfKey(certificate.keyFingerprint);
  if (draft.keys.has(keyName) || draft.facts.keyUsed(certificate.keyFingerprint)) {
    return refused("key_reused", "This public key already has a certificate. Make a new key pair for each request.");
  }
  if (certificateOf(serialNumber, draft) !== undefined) return refused("serial_taken", `Serial number ${serialNumber} is taken. Issue again with another.`);

  draft.writes.certificates.push({ ...certificate, logIndex });
  // The CA's own is replaced with its issuer and holds nothing back.
  if (signer !== undefined && certificate.attestation !== "system") noteLastNotAfter(signer, notAfterMs, draft);
  draft.certificates.set(serialNumber, { notAfterMs, authorityId, revoked: false });
  draft.keys.add(keyName);
  if (redeem !== undefined) {
    const version = redeem.version + 1;
    draft.writes.redemptions.push({ id: redeem.tokenId, version, redeemedAtMs: issuedAtMs });
    draft.tokens.set(redeem.tokenId, { version, deleted: false });
  }
  if (idempotency !== undefined && remembered !== undefined) {
    draft.writes.idempotencyKeys.push({ ...idempotency, serialNumber });
    draft.idempotencyKeys.set(remembered, idempotency.expiresAtMs);
    draft.writes.forgetUntilMs = Math.max(draft.writes.forgetUntilMs ?? 0, issuedAtMs);
  }
  return undefined;
}

function issueJwtSvid({ authorityId, expiresAtMs }: ActOf<"issue-jwt-svid">, draft: Draft): Refused | undefined {
  const signer = authorityOf(authorityId, draft);
  const unfit = signer && refuseSigner(signer);
  if (unfit !== undefined) return unfit;
  if (signer !== undefined) noteLastNotAfter(signer, expiresAtMs, draft);
  return undefined;
}

function revoke({ serialNumber, reason, revokedAtMs, descendants, entries }: ActOf<"revoke">, draft: Draft, logIndex: number): Refused | undefined {
  const certificate = certificateOf(serialNumber, draft);
  if (certificate === undefined) return certificateUnknown(serialNumber);
  if (certificate.revoked) return refused("already_revoked", `Certificate ${serialNumber} is already revoked.`);
  const { notAfterMs, authorityId } = certificate;
  draft.writes.revocations.push({ sequence: logIndex + 1, serialNumber, reason, revokedAtMs, notAfterMs, authorityId });
  draft.certificates.set(serialNumber, { notAfterMs, authorityId, revoked: true });
  if (descendants === undefined) return undefined;
  const { spiffeId, actor } = descendants;
  for (const each of descendantsOf(serialNumber, descendants, draft)) {
    const sequence = logIndex + entries.length + draft.furtherEntries.length + 1;
    const { notAfterMs, authorityId } = each;
    draft.writes.revocations.push({ sequence, serialNumber: each.serialNumber, reason, revokedAtMs, notAfterMs, authorityId });
    draft.certificates.set(each.serialNumber, { notAfterMs, authorityId, revoked: true });
    const event = { type: "certificate.revoked", serialNumber: each.serialNumber, spiffeId, reason } as const;
    draft.furtherEntries.push(encodeEntry(event, actor, revokedAtMs));
  }
  return undefined;
}

/** What was renewed from the certificate, from that in turn and so on, unless it is revoked already or over. */
function descendantsOf(serialNumber: string, { spiffeId, notAfterMs }: Descendants, draft: Draft): readonly LaterFact[] {
  const later = [
    ...draft.facts.issuedAfter(serialNumber, spiffeId),
    ...draft.writes.certificates.map((row) => ({ ...row, revoked: false })),
  ];
  const family = new Set([serialNumber]);
  // A certificate is younger than the one it was renewed from, so one look at each in this order finds them all.
  const descendants = later.filter((each) => {
    if (each.renewedFrom === undefined || !family.has(each.renewedFrom)) return false;
    family.add(each.serialNumber);
    return each.notAfterMs >= notAfterMs && !(draft.certificates.get(each.serialNumber) ?? each).revoked;
  });
  return descendants;
}

function createToken(token: TokenRow, draft: Draft): undefined {
  draft.writes.tokens.push(token);
  draft.tokens.set(token.id, { version: token.version, deleted: token.deletedAtMs !== undefined });
}

function deleteToken({ tokenId, deletedAtMs }: ActOf<"delete-token">, draft: Draft): Refused | undefined {
  const token = tokenOf(tokenId, draft);
  if (token === undefined || token.deleted) return tokenUnknown(tokenId);
  draft.writes.deletions.push({ id: tokenId, deletedAtMs });
  draft.tokens.set(tokenId, { ...token, deleted: true });
  return undefined;
}

function changeAuthorities(act: ActOf<"change-authorities">, draft: Draft, logIndex: number): Refused | undefined {
  const planned = planAuthorityChange(act, authoritiesOf(draft), draft.bundleSequence);
  if ("code" in planned) return planned;
  for (const fact of planned.after) draft.authorities.set(fact.id, fact);
  draft.writes.authorities.push(...act.add ?? []);
  draft.writes.authorityStates.push(...planned.states);
  for (const [index, revocation] of act.revocations?.entries() ?? []) draft.writes.revocations.push({ ...revocation, sequence: logIndex + index + 1 });
  if (act.bundleSequence !== undefined) draft.bundleSequence = draft.writes.bundleSequence = act.bundleSequence.to;
  return undefined;
}

/** In whole seconds, so once a second at most however much is issued. */
function noteLastNotAfter(signer: AuthorityFact, lastNotAfterMs: number, draft: Draft): void {
  const { id } = signer;
  if (signer.lastNotAfterMs >= lastNotAfterMs) return;
  draft.authorities.set(id, { ...signer, lastNotAfterMs });
  draft.writes.lastNotAfters = [...draft.writes.lastNotAfters.filter((one) => one.id !== id), { id, lastNotAfterMs }];
}

function prune({ from, to, expiredBeforeMs, nowMs }: ActOf<"prune">, draft: Draft): undefined {
  draft.writes.prunings.push({ from, to, expiredBeforeMs });
  draft.writes.forgetUntilMs = Math.max(draft.writes.forgetUntilMs ?? 0, nowMs);
}

function publishCrl({ crl, replaces }: ActOf<"publish-crl">, draft: Draft): Refused | undefined {
  const scope = `${crl.authorityId}/${crl.list}`;
  const newest = draft.crlNumbers.get(scope) ?? draft.facts.crlNumber(crl.authorityId, crl.list);
  if (newest !== replaces || (newest !== undefined && crl.number <= newest)) {
    return refused("crl_superseded", `The newest CRL of ${scope} is ${newest ?? "none"}, not ${replaces ?? "none"}: another replica was faster. Read it.`);
  }
  draft.writes.crls.push(crl);
  draft.crlNumbers.set(scope, crl.number);
  return undefined;
}

function changeDocuments({ expects, changes }: ActOf<"change-documents">, draft: Draft, logIndex: number): Refused | undefined {
  const newest = draft.writes.documents.at(-1)?.sequence ?? draft.facts.documentSequence();
  if (newest !== expects) {
    return refused("documents_changed", `Documents were changed meanwhile: the newest change is ${newest}, not ${expects}. Read them again.`);
  }
  draft.writes.documents.push(...changes.map((change) => ({ ...change, sequence: logIndex + 1 })));
  return undefined;
}

function authoritiesOf(draft: Draft): readonly AuthorityFact[] {
  if (!draft.authoritiesKnown) for (const fact of draft.facts.authorities()) if (!draft.authorities.has(fact.id)) draft.authorities.set(fact.id, fact);
  draft.authoritiesKnown = true;
  return [...draft.authorities.values()];
}

function authorityOf(id: string, draft: Draft): AuthorityFact | undefined {
  const fact = draft.authorities.get(id) ?? draft.facts.authority(id);
  if (fact !== undefined) draft.authorities.set(id, fact);
  return fact;
}

function certificateOf(serialNumber: string, draft: Draft): CertificateFact | undefined {
  return draft.certificates.get(serialNumber) ?? draft.facts.certificate(serialNumber);
}

function tokenOf(id: string, draft: Draft): TokenFact | undefined {
  return draft.tokens.get(id) ?? draft.facts.token(id);
}

/** A key fingerprint as a member of a Set. */
export function nameOfKey(keyFingerprint: Uint8Array): string {
  return toBuffer(keyFingerprint).toString("latin1");
}

function certificateUnknown(serialNumber: string): Refused {
  return refused("certificate_unknown", `No certificate with serial number ${serialNumber} was issued here.`);
}

function tokenUnknown(id: string): Refused {
  return refused("token_unknown", `There is no token ${id}, or it was deleted.`);
}

/** The outcome of each act in a group that failed as a whole. */
export function failGroup(acts: readonly Act[], { code, message, outcomeKnown }: Refused): readonly Refused[] {
  return acts.map(() => ({ code, message, outcomeKnown }));
}

function refused(code: StoreErrorCode, message: string): Refused {
  return { code, message };
}

/**
 * Bounds how long a revocation holds the writer lock, some tenths of a second: reached by an ID of which 500 replicas renew
 * twice a day only after 100 days, and certificates that old are not revoked for their descendants' sake.
 */
export const maxLaterCertificates = 100_000;

type ActOf<Kind extends Act["kind"]> = Extract<Act, { readonly kind: Kind }>;
