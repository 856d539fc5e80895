import type { CheckpointSigner } from "../audit/checkpoint.ts";
import { encodeEntry } from "../audit/event.ts";
import type { Act, Descendants } from "./acts.ts";
import { authoritiesOf, authorityOf, certificateOf, tokenOf, type Draft } from "./draft.ts";
import { nameOfKey, type LaterFact } from "./facts.ts";
import { refused, type Refused } from "./outcome.ts";
import { planAuthorityChange, refuseSigner, type AuthorityFact } from "./plan-authorities.ts";
import type { TokenRow } from "./rows/tokens.ts";

/**
 * Checks everything an act expects, then writes it to the draft: nothing is written by an act that is refused.
 * @param logIndex  that the act's first entry gets
 * @returns undefined for an act that takes place
 */
export function takeEffect(act: Act, draft: Draft, logIndex: number, signer: CheckpointSigner): Refused | undefined {
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

function certificateUnknown(serialNumber: string): Refused {
  return refused("certificate_unknown", `No certificate with serial number ${serialNumber} was issued here.`);
}

function tokenUnknown(id: string): Refused {
  return refused("token_unknown", `There is no token ${id}, or it was deleted.`);
}

type ActOf<Kind extends Act["kind"]> = Extract<Act, { readonly kind: Kind }>;
