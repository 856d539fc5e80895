import { describe, expect, test } from "vitest";
import { crlFailures, crlRuleIds, crlRulesKeptElsewhere, lintCrl, type MeantCrl } from "../../../ca/lint/crl.ts";
import { encodeRevokedCertificate, encodeTbsCrl } from "../../../ca/pki/crl-encoding.ts";
import {
  encodeBoolean, encodeDer, encodeExplicit, encodeOctetString, encodeOid, encodeSequence, encodeSmallInteger, encodeTime, encodeUnsignedInteger,
} from "../../../ca/pki/der-encoding.ts";
import { context, contextConstructed, tag } from "../../../ca/pki/der-tag.ts";
import { encodeSignatureAlgorithm } from "../../../ca/pki/key.ts";
import { extensionOid as oid } from "../../../ca/pki/oid.ts";
import { encodeName } from "../../../ca/pki/tbs.ts";
import { authority, encodeExtension, encodeNull, ext, fullName, hourMs, keyId, leafIssuer, nowMs, type Ext } from "./made-of-parts.ts";

const url = "http://ca.east/crl/1.crl";
const meant: MeantCrl = { issuer: leafIssuer, number: 7, thisUpdateMs: nowMs, nextUpdateMs: nowMs + hourMs, scope: { only: "end-entities", url }, count: 1 };
const serial = encodeUnsignedInteger(new Uint8Array(16).fill(0x81));
const entry = (change: { serial?: Uint8Array; date?: Uint8Array; extensions?: readonly Uint8Array[] } = {}): Uint8Array => encodeSequence(
  change.serial ?? serial, change.date ?? encodeTime(nowMs - hourMs), ...(change.extensions === undefined ? [] : [encodeSequence(...change.extensions)]),
);
const reason = (code: number, critical = false): Uint8Array => encodeExtension(oid.reasonCode, ext(critical, encodeDer(tag.enumerated, Uint8Array.of(code))));
const latin1 = (elementTag: number, text: string): Uint8Array => encodeDer(elementTag, Buffer.from(text, "latin1"));
const only = (number: number): Uint8Array => encodeDer(context(number), Uint8Array.of(0xff));

interface CrlParts {
  readonly version: Uint8Array;
  readonly algorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly dates: readonly Uint8Array[];
  readonly revoked: readonly Uint8Array[] | undefined;
  readonly extensions: Readonly<Record<string, Ext | undefined>>;
  readonly further?: readonly Uint8Array[];
}
const good: CrlParts = {
  version: encodeSmallInteger(1), algorithm: encodeSignatureAlgorithm("ecdsa-sha256"), issuer: leafIssuer.subject, dates: [encodeTime(nowMs), encodeTime(nowMs + hourMs)],
  revoked: [entry({ extensions: [reason(1)] })],
  extensions: {
    [oid.authorityKeyIdentifier]: keyId(leafIssuer.subjectKeyIdentifier!), [oid.crlNumber]: ext(false, encodeSmallInteger(7)),
    [oid.issuingDistributionPoint]: ext(true, encodeSequence(fullName(url), only(1))),
  },
};
function crlOf({ version, algorithm, issuer, dates, revoked, extensions, further = [] }: CrlParts): Uint8Array {
  const encoded = Object.entries(extensions).flatMap(([name, extension]) => (extension ? [encodeExtension(name, extension)] : []));
  return encodeSequence(version, algorithm, issuer, ...dates, ...(revoked === undefined ? [] : [encodeSequence(...revoked)]), encodeExplicit(0, encodeSequence(...encoded, ...further)));
}
const having = (changes: CrlParts["extensions"]): CrlParts => ({ ...good, extensions: { ...good.extensions, ...changes } });

describe("nothing is said against", () => {
  test("what the encoder writes, of any number of entries", async () => {
    for (const count of [0, 1, 1200]) {
      const entries = Array.from({ length: count }, (_, index) => encodeRevokedCertificate((0x1000 + index).toString(16), nowMs - index * 1000, index % 2 === 0 ? "keyCompromise" : "unspecified"));
      const { issuer, number, thisUpdateMs, nextUpdateMs, scope } = meant;
      const tbs = encodeTbsCrl({
        signatureAlgorithm: "ecdsa-sha256", issuer: issuer.subject, authorityKeyIdentifier: issuer.subjectKeyIdentifier!, number, thisUpdateMs, nextUpdateMs, scope, entries,
      });
      expect(await lintCrl(tbs, { ...meant, count })).toBe(tbs);
    }
  });

  test("the parts the faults below are made of, and a form of entry we do not write", async () => {
    expect(await crlFailures(crlOf(good), meant)).toEqual([]);
    const invalidity = encodeExtension(oid.invalidityDate, ext(false, latin1(tag.generalizedTime, "20251201000000Z")));
    expect(await crlFailures(crlOf({ ...good, revoked: [entry({ extensions: [reason(1), invalidity] })] }), meant)).toEqual([]);
  });
});

const faults: readonly (readonly [rule: string, claim: string, parts: CrlParts, meant?: Partial<MeantCrl>])[] = [
  ["CRL-01", "version 1", { ...good, version: new Uint8Array() }],
  ["CRL-01", "another issuer's name", { ...good, issuer: encodeName({ commonName: "west" }) }],
  ["CRL-01", "another algorithm than the signer's", { ...good, algorithm: encodeSignatureAlgorithm("ecdsa-sha384") }],
  ["CRL-02", "no nextUpdate", { ...good, dates: [encodeTime(nowMs)] }],
  ["CRL-02", "GeneralizedTime before 2050", { ...good, dates: [encodeTime(nowMs), latin1(tag.generalizedTime, "20260101010000Z")] }],
  ["CRL-02", "other dates than meant", { ...good, dates: [encodeTime(nowMs), encodeTime(nowMs + 2 * hourMs)] }],
  ["CRL-03", "an empty list", { ...good, revoked: [] }, { count: 0 }],
  ["CRL-04", "no number", having({ [oid.crlNumber]: undefined })],
  ["CRL-04", "a critical number", having({ [oid.crlNumber]: ext(true, encodeSmallInteger(7)) })],
  ["CRL-04", "another key identifier", having({ [oid.authorityKeyIdentifier]: keyId(new Uint8Array(20)) })],
  ["CRL-05", "another number than meant", having({ [oid.crlNumber]: ext(false, encodeSmallInteger(6)) })],
  ["CRL-06", "a serial number twice", { ...good, revoked: [entry(), entry({ extensions: [reason(4)] })] }, { count: 2 }],
  ["CRL-07", "a reason spelled out that is unspecified", { ...good, revoked: [entry({ extensions: [reason(0)] })] }],
  ["CRL-07", "removeFromCRL in a full CRL", { ...good, revoked: [entry({ extensions: [reason(8)] })] }],
  ["CRL-07", "a critical reason", { ...good, revoked: [entry({ extensions: [reason(1, true)] })] }],
  ["CRL-08", "an entry of another issuer", { ...good, revoked: [entry({ extensions: [encodeExtension(oid.certificateIssuer, ext(true, encodeSequence()))] })] }],
  ["CRL-08", "an invalidity date in UTCTime", { ...good, revoked: [entry({ extensions: [encodeExtension(oid.invalidityDate, ext(false, encodeTime(nowMs)))] })] }],
  ["CRL-09", "no scope", having({ [oid.issuingDistributionPoint]: undefined }), { scope: { only: "end-entities" } }],
  ["CRL-09", "a scope that is not critical", having({ [oid.issuingDistributionPoint]: ext(false, encodeSequence(fullName(url), only(1))) })],
  ["CRL-09", "both kinds of certificates", having({ [oid.issuingDistributionPoint]: ext(true, encodeSequence(fullName(url), only(1), only(2))) })],
  ["CRL-09", "the other kind of certificates", having({ [oid.issuingDistributionPoint]: ext(true, encodeSequence(fullName(url), only(2))) })],
  ["CRL-10", "another distribution point", having({ [oid.issuingDistributionPoint]: ext(true, encodeSequence(fullName(`${url}2`), only(1))) })],
  ["CRL-11", "a delta", having({ [oid.deltaCrlIndicator]: ext(true, encodeSmallInteger(1)) })],
  ["CRL-13", "a revocation after it was made", { ...good, revoked: [entry({ date: encodeTime(nowMs + 1000) })] }],
  ["CRL-14", "a signer that may not", good, { issuer: { ...leafIssuer, keyUsage: { ...leafIssuer.keyUsage!, crlSign: false } } }],
  ["CRL-20", "an entry that was not meant", good, { count: 0 }],
  ["CRL-21", "a negative serial number", { ...good, revoked: [entry({ serial: encodeDer(tag.integer, new Uint8Array(16).fill(0x81)) })] }],
  ["CRL-22", "an extension twice", { ...good, further: [encodeExtension(oid.crlNumber, ext(false, encodeSmallInteger(7)))] }],
  ["CRL-22", "a critical extension nobody knows", having({ "1.2.3.4": ext(true, encodeNull()) })],
  ["CRL-23", "critical FALSE spelled out", { ...good, further: [encodeSequence(encodeOid("1.2.3.4"), encodeBoolean(false), encodeOctetString(encodeNull()))] }],
  ["CRL-24", "critical FALSE spelled out in an entry", { ...good, revoked: [
    entry({ extensions: [encodeSequence(encodeOid("1.2.3.4"), encodeBoolean(false), encodeOctetString(encodeNull()))] }),
  ] }],
];

describe("exactly the rule is named that is broken by", () => {
  for (const [rule, claim, parts, change] of faults) {
    test(`${rule}: ${claim}`, async () => {
      const wanted = { ...meant, ...change };
      expect((await crlFailures(crlOf(parts), wanted)).map(({ id }) => id)).toEqual([rule]);
      await expect(lintCrl(crlOf(parts), wanted)).rejects.toMatchObject({ code: "lint_failed", artefact: "crl" });
    });
  }
});

test("bytes that are no CRL are refused", async () => {
  expect((await crlFailures(Uint8Array.of(0x30, 0), meant)).map(({ id }) => id)).toEqual(["CRL-23"]);
  expect(await crlFailures(encodeDer(contextConstructed(0)), { ...meant, issuer: authority() })).toHaveLength(1);
});

test("every rule has bytes that break it, and none of the table is forgotten", () => {
  expect(crlRuleIds.filter((id) => !faults.some(([rule]) => rule === id))).toEqual([]);
  const table = Array.from({ length: 19 }, (_, index) => `CRL-${String(index + 1).padStart(2, "0")}`);
  expect(table.filter((id) => !crlRuleIds.includes(id) && crlRulesKeptElsewhere[id] === undefined)).toEqual([]);
});
