import { generateKeyPairSync, hash, randomBytes } from "node:crypto";
import { checkpointSigner } from "../../../ca/audit/checkpoint.ts";
import { encodeEntry } from "../../../ca/audit/event.ts";
import type { Act } from "../../../ca/store/acts.ts";
import type { AuthorityRow } from "../../../ca/store/rows/authorities.ts";
import type { CaState } from "../../../ca/store/rows/ca-state.ts";
import type { NewCertificate } from "../../../ca/store/rows/certificates.ts";
import type { CrlRow } from "../../../ca/store/rows/crls.ts";
import type { LogSealer } from "../../../ca/store/rows/log.ts";
import type { TokenRow } from "../../../ca/store/rows/tokens.ts";

/** Acts as the use-cases make them, with whatever is not the point of a test filled in. */

export const startMs = Date.UTC(2026, 0, 1);
export const hourMs = 3_600_000;

export function newSealer(): { readonly sealer: LogSealer; readonly verifierKey: string } {
  const sealer = { origin: "countersign.dev/east/log", privateKeyPkcs8: generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" }) };
  return { sealer, verifierKey: checkpointSigner(sealer).verifierKey };
}

export function stateOf(logVerifierKey: string): CaState {
  return { trustDomain: "east", bundleSequence: 1, logVerifierKey, sealedLogKey: randomBytes(80), createdAtMs: startMs, feedEpoch: "epoch-1" };
}

/** Signed what `newCertificate` makes; retiring, so that there may be an active one besides. */
export const signingIssuer: AuthorityRow = newAuthority({ id: "aa".repeat(20), state: "retiring" });

export function initialize(logVerifierKey: string, with_: Partial<Extract<Act, { kind: "initialize" }>> = {}): Act {
  return {
    kind: "initialize", state: stateOf(logVerifierKey), authorities: [], tokens: [],
    entries: [encodeEntry({ type: "ca.initialized", trustDomain: "east", logKey: logVerifierKey }, "system", startMs)],
    ...with_,
  };
}

export function newCertificate(with_: Partial<NewCertificate> = {}): NewCertificate {
  return {
    serialNumber: randomBytes(16).toString("hex"), spiffeId: "spiffe://east/ns/shop/sa/cart", dnsNames: [], notBeforeMs: startMs,
    notAfterMs: startMs + 24 * hourMs, authorityId: "aa".repeat(20), attestation: "join-token", certificate: randomBytes(100),
    keyFingerprint: randomBytes(32), issuedAtMs: startMs, ...with_,
  };
}

type Issue = Extract<Act, { readonly kind: "issue" }>;

export function issue(certificate: NewCertificate = newCertificate(), with_: Partial<Pick<Issue, "redeem" | "idempotency">> = {}): Issue {
  const { serialNumber, spiffeId, authorityId, attestation, renewedFrom } = certificate;
  return {
    kind: "issue", certificate, ...with_,
    entries: [encodeEntry({
      type: "certificate.issued", serialNumber, spiffeId, authorityId, attestation,
      fingerprint: hash("sha256", certificate.certificate), keyFingerprint: Buffer.from(certificate.keyFingerprint).toString("hex"),
      notBefore: new Date(certificate.notBeforeMs).toISOString(), notAfter: new Date(certificate.notAfterMs).toISOString(),
      ...(renewedFrom !== undefined && { renewedFrom }),
    }, "system", startMs)],
  };
}

export function revoke({ serialNumber, spiffeId }: Pick<NewCertificate, "serialNumber" | "spiffeId">, revokedAtMs = startMs + 1, family = false): Act {
  return {
    kind: "revoke", serialNumber, reason: "keyCompromise", revokedAtMs,
    entries: [encodeEntry({ type: "certificate.revoked", serialNumber, spiffeId, reason: "keyCompromise" }, "token:admin", revokedAtMs)],
    ...(family && { descendants: { spiffeId, actor: "token:admin", notAfterMs: revokedAtMs } }),
  };
}

let tokens = 0;
export function newToken(with_: Partial<TokenRow> = {}): TokenRow {
  tokens += 1;
  return { id: `token-${tokens}`, type: "join", secretHash: randomBytes(32), version: 0, createdAtMs: startMs, createdBy: "token:admin", ...with_ };
}

export function createToken(token: TokenRow): Act {
  return {
    kind: "create-token", token,
    entries: [encodeEntry({ type: "token.created", tokenId: token.id, tokenType: token.type, secretHash: Buffer.from(token.secretHash).toString("hex") }, "token:admin", startMs)],
  };
}

export function deleteToken(tokenId: string): Act {
  return { kind: "delete-token", tokenId, deletedAtMs: startMs + 5, entries: [encodeEntry({ type: "token.deleted", tokenId }, "token:admin", startMs)] };
}

export function newAuthority(with_: Partial<AuthorityRow> = {}): AuthorityRow {
  return {
    id: randomBytes(20).toString("hex"), type: "issuer", state: "active", certificate: randomBytes(100), key: { kind: "sealed", sealed: randomBytes(60) },
    parentId: "bb".repeat(20), lastNotAfterMs: 0, stateSinceMs: startMs, notBeforeMs: startMs, notAfterMs: startMs + 48 * hourMs, createdAtMs: startMs, ...with_,
  };
}

export function rotateIssuer(authority: AuthorityRow, replaces: string | undefined): Act {
  return {
    kind: "change-authorities", add: [authority], entries: [stateChanged(authority.id)],
    ...(replaces !== undefined && { changes: [{ authorityId: replaces, from: "active", to: "retiring", atMs: startMs }] }),
  };
}

export function setAuthorityState(authorityId: string, from: AuthorityRow["state"], to: AuthorityRow["state"]): Act {
  return { kind: "change-authorities", changes: [{ authorityId, from, to, atMs: startMs + 7 }], entries: [stateChanged(authorityId)] };
}

export function newCrl(with_: Partial<CrlRow> = {}): CrlRow {
  return {
    authorityId: "aa".repeat(20), list: "full.crl", number: 1, thisUpdateMs: startMs, nextUpdateMs: startMs + 24 * hourMs, sequence: 0, droppedSequence: 0,
    droppedBeforeMs: 0, fingerprint: randomBytes(32).toString("hex"), signature: randomBytes(70), ...with_,
  };
}

export function publishCrl(crl: CrlRow, replaces: number | undefined): Act {
  const { authorityId, list, number, fingerprint } = crl;
  const times = { thisUpdate: new Date(crl.thisUpdateMs).toISOString(), nextUpdate: new Date(crl.nextUpdateMs).toISOString() };
  const entry = encodeEntry({ type: "crl.signed", authorityId, list, number, fingerprint, ...times, entries: 0 }, "system", crl.thisUpdateMs);
  return { kind: "publish-crl", crl, replaces, entries: [entry] };
}

export function record(...codes: readonly [string, ...string[]]): Act {
  const entryOf = (code: string) => encodeEntry({ type: "request.denied", code, method: "GET", path: "/" }, "anonymous", startMs);
  const [first, ...rest] = codes;
  return { kind: "record", entries: [entryOf(first), ...rest.map(entryOf)] };
}

function stateChanged(authorityId: string): string {
  return encodeEntry({ type: "authority.state-changed", authorityId, from: "active", to: "retiring" }, "system", startMs);
}
