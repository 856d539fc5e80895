import { hash, randomBytes } from "node:crypto";
import { encodeEntry, type Actor, type AuditEvent } from "../../ca/audit/event.ts";
import type { Act, ActBody } from "../../ca/store/acts.ts";
import type { AuthorityRow } from "../../ca/store/rows/authorities.ts";
import type { CeremonyRow } from "../../ca/store/rows/ceremonies.ts";
import type { NewCertificate } from "../../ca/store/rows/certificates.ts";
import type { CrlRow } from "../../ca/store/rows/crls.ts";
import type { DocumentKind } from "../../ca/store/rows/documents.ts";
import type { TokenRow } from "../../ca/store/rows/tokens.ts";

/**
 * The first 300 entries and some of a CA's log, in groups that are committed together: everything the log tells of, more than
 * one stored subtree hash, commits of one entry and of many.
 */
export function logFixture(logVerifierKey: string): readonly (readonly Act[])[] {
  const authorities = [newAuthority("root"), newAuthority("issuer")];
  const admin = newToken({ id: "token-admin", type: "api", role: "admin", name: "first" });
  const joins = [1, 2, 3].map((number) => newToken({ id: `token-join-${number}`, type: "join", spiffeId: cartId, expiresAtMs: startMs + hourMs }));
  const groups: (readonly Act[])[] = [[actOf(
    {
      kind: "initialize", authorities, tokens: [admin],
      state: { trustDomain: "east", bundleSequence: 1, logVerifierKey, sealedLogKey: randomBytes(60), createdAtMs: startMs, feedEpoch: "epoch-1" },
    },
    { type: "ca.initialized", trustDomain: "east", logKey: logVerifierKey },
    ...authorities.map(authorityCreated),
    tokenCreated(admin),
  )]];
  for (const token of joins) groups.push([createTokenOf(token)]);
  const first = newCertificate("join-token");
  groups.push([issueOf(first, `join-token:${joins[0]!.id}`, { tokenId: joins[0]!.id, version: 0 })]);
  groups.push([deleteTokenOf(joins[1]!.id)]);
  for (let round = 0; round < 20; round++) {
    const certificates = Array.from({ length: 12 }, () => newCertificate("svid"));
    const { serialNumber, spiffeId } = certificates[5]!;
    groups.push(certificates.map((certificate) => issueOf(certificate, certificate.spiffeId)));
    groups.push([actOf({ kind: "record" }, { type: "certificate.denied", code: "attestation_refused", attestation: `round ${round}` })]);
    groups.push([actOf(
      { kind: "revoke", serialNumber, reason: "keyCompromise", revokedAtMs: startMs },
      { type: "certificate.revoked", serialNumber, spiffeId, reason: "keyCompromise" },
    )]);
    groups.push(["a", "b", "c"].map((path) =>
      actOf({ kind: "record" }, { type: "request.denied", code: "unauthenticated", method: "GET", path: `/${path}` })));
  }
  const [replaces, authority] = [authorities[1]!.id, newAuthority("issuer")];
  const toRetiring = { authorityId: replaces, from: "active", to: "retiring", atMs: startMs } as const;
  groups.push([actOf({ kind: "change-authorities", add: [authority], changes: [toRetiring] }, authorityCreated(authority), stateChanged(replaces, "active", "retiring"))]);
  const toRetired = { authorityId: replaces, from: "retiring", to: "retired", atMs: startMs } as const;
  groups.push([actOf({ kind: "change-authorities", changes: [toRetired] }, stateChanged(replaces, "retiring", "retired"))]);
  groups.push([changeDocuments(0, ["operator", "spiffe://east/ops/*", { role: "auditor" }])]);
  const sequence = groups.flat().reduce((entries, act) => entries + act.entries.length, 0);
  groups.push([changeDocuments(sequence, ["policy", "cart", { name: "cart" }], ["service", "cart", { name: "cart" }])]);
  groups.push([changeDocuments(sequence + 1, ["service", "cart"])]);
  groups.push([1, 2].map((number) => crlOf({ ...crlFixture, number }, number === 1 ? undefined : 1)));
  for (const ceremony of [answeredCeremony, openCeremony]) {
    groups.push([actOf({ kind: "request-ceremony", ceremony }, { type: "ceremony.requested", ceremony: ceremony.id, kind: "root" })]);
  }
  groups.push([{
    ...actOf({ kind: "record" }, { type: "ceremony.withdrawn", ceremony: answeredCeremony.id }), answers: { ceremonies: [answeredCeremony.id], closedAtMs: startMs },
  }]);
  const root: AuthorityRow = { ...newAuthority("root"), state: "prepared", publishedSequence: 2 };
  groups.push([actOf({ kind: "change-authorities", add: [root], bundleSequence: { from: 1, to: 2 } }, { ...authorityCreated(root), bundleSequence: 2, state: "prepared" })]);
  groups.push([{
    ...actOf({ kind: "change-authorities", changes: [{ authorityId: authority.id, from: "active", to: "tainted", atMs: startMs }] }, stateChanged(authority.id, "active", "tainted")),
    announce: { body: JSON.stringify({ authorityId: authority.id, windowSeconds: 60 }), expiresAtMs: startMs + 1000 * dayMs },
  }]);
  return groups;
}

/** The CRL of a root, as it is in the end. */
export const crlFixture: CrlRow = newCrl();

function newCrl(): CrlRow {
  const crl = randomBytes(60);
  return {
    authorityId: "aa".repeat(20), list: "authorities.crl", number: 2, thisUpdateMs: 0, nextUpdateMs: 1000, sequence: 0, droppedSequence: 0, droppedBeforeMs: 0,
    fingerprint: hash("sha256", crl), signature: randomBytes(70), crl,
  };
}

function crlOf(crl: CrlRow, replaces: number | undefined): Act {
  const { authorityId, list, number, fingerprint, thisUpdateMs, nextUpdateMs } = crl;
  return actOf({ kind: "publish-crl", crl, replaces }, {
    type: "crl.signed", authorityId, list, number, fingerprint, thisUpdate: iso(thisUpdateMs), nextUpdate: iso(nextUpdateMs), entries: 0,
  });
}

/** Two requests to an offline key; one was withdrawn. */
export const answeredCeremony: CeremonyRow = newCeremony("{\"number\":1}");
export const openCeremony: CeremonyRow = newCeremony("{\"number\":2}");

function newCeremony(request: string): CeremonyRow {
  return { id: hash("sha256", request), request, createdAtMs: 0 };
}

export function newCertificate(attestation: NewCertificate["attestation"]): NewCertificate {
  return {
    serialNumber: randomBytes(16).toString("hex"), spiffeId: cartId, dnsNames: ["cart.shop"], notBeforeMs: startMs, notAfterMs: startMs + dayMs,
    authorityId: "aa".repeat(20), attestation, certificate: randomBytes(80), keyFingerprint: randomBytes(32), issuedAtMs: startMs,
  };
}

export function issueOf(certificate: NewCertificate, actor: Actor, redeem?: { readonly tokenId: string; readonly version: number }): Act {
  const event: AuditEvent = {
    type: "certificate.issued",
    serialNumber: certificate.serialNumber,
    spiffeId: certificate.spiffeId,
    dnsNames: certificate.dnsNames,
    fingerprint: hash("sha256", certificate.certificate),
    keyFingerprint: Buffer.from(certificate.keyFingerprint).toString("hex"),
    notBefore: iso(certificate.notBeforeMs),
    notAfter: iso(certificate.notAfterMs),
    authorityId: certificate.authorityId,
    attestation: certificate.attestation,
  };
  return { kind: "issue", certificate, ...(redeem && { redeem }), entries: [encodeEntry(event, actor, startMs)] };
}

export function createTokenOf(token: TokenRow): Act {
  return actOf({ kind: "create-token", token }, tokenCreated(token));
}

export function deleteTokenOf(tokenId: string): Act {
  return actOf({ kind: "delete-token", tokenId, deletedAtMs: startMs }, { type: "token.deleted", tokenId });
}

function actOf(body: ActBody, ...[first, ...others]: [AuditEvent, ...AuditEvent[]]): Act {
  const encode = (event: AuditEvent) => encodeEntry(event, "system", startMs);
  return { ...body, entries: [encode(first), ...others.map(encode)] };
}

function newAuthority(type: AuthorityRow["type"]): AuthorityRow {
  return {
    id: randomBytes(20).toString("hex"), type, state: "active", certificate: randomBytes(80), key: { kind: "sealed", sealed: randomBytes(80) },
    lastNotAfterMs: 0, stateSinceMs: startMs, notBeforeMs: startMs, notAfterMs: startMs + 100 * dayMs, createdAtMs: startMs,
  };
}

/** @param expects  sequence of the newest change before */
function changeDocuments(expects: number, ...[first, ...others]: [DocumentChange, ...DocumentChange[]]): Act {
  const eventOf = ([kind, name, document]: DocumentChange): AuditEvent => document === undefined ? { type: `${kind}.removed`, name } : { type: `${kind}.changed`, name, document };
  const changes = [first, ...others].map(([kind, name, document]) => (
    { kind, name, changedAtMs: startMs, changedBy: "system", ...(document !== undefined && { body: JSON.stringify(document) }) }
  ));
  return actOf({ kind: "change-documents", expects, changes }, eventOf(first), ...others.map(eventOf));
}
type DocumentChange = readonly [kind: DocumentKind, name: string, document?: unknown];

function authorityCreated(row: AuthorityRow): Extract<AuditEvent, { readonly type: "authority.created" }> {
  return {
    type: "authority.created", authorityId: row.id, authorityType: row.type, fingerprint: hash("sha256", row.certificate),
    serialNumber: "01".repeat(16), notBefore: iso(row.notBeforeMs), notAfter: iso(row.notAfterMs),
  };
}

function stateChanged(authorityId: string, from: AuthorityRow["state"], to: AuthorityRow["state"]): AuditEvent {
  return { type: "authority.state-changed", authorityId, from, to };
}

export function newToken(token: Pick<TokenRow, "id" | "type"> & Partial<TokenRow>): TokenRow {
  return { secretHash: randomBytes(32), version: 0, createdAtMs: startMs, createdBy: "system", ...token };
}

function tokenCreated({ id, type, secretHash, spiffeId, name, role, expiresAtMs }: TokenRow): AuditEvent {
  return {
    type: "token.created", tokenId: id, tokenType: type, secretHash: Buffer.from(secretHash).toString("hex"),
    ...(spiffeId && { spiffeId }), ...(name && { name }), ...(role && { role }), ...(expiresAtMs && { expiresAt: iso(expiresAtMs) }),
  };
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

const cartId = "spiffe://east/ns/shop/sa/cart";
const hourMs = 60 * 60 * 1000;
const dayMs = 24 * hourMs;
const startMs = Date.UTC(2026, 0, 1);
