import { describe, expect, test } from "vitest";
import { lintOcspResponse, ocspFailures, ocspRules, ocspRulesKeptElsewhere } from "../../../ca/lint/ocsp.ts";
import {
  encodeBoolean, encodeDer, encodeExplicit, encodeGeneralizedTime, encodeOctetString, encodeOid, encodeSequence, encodeTime,
} from "../../../ca/pki/der-encoding.ts";
import { context, contextConstructed } from "../../../ca/pki/der-tag.ts";
import { encodeOcspResponseData, type OcspResponseFields } from "../../../ca/pki/ocsp-response.ts";
import { encodeNull, hourMs, newSpki, nowMs } from "./made-of-parts.ts";

const certId = encodeSequence(encodeOctetString(new Uint8Array(20).fill(1)));
const response = { certId, status: { kind: "good" }, thisUpdateMs: nowMs - 1000, nextUpdateMs: nowMs + hourMs } as const;
const meant: OcspResponseFields = { responderSpki: newSpki(), producedAtMs: nowMs, responses: [response], nonce: Uint8Array.of(1, 2, 3) };
const revoked = { ...response, status: { kind: "revoked", revokedAtMs: nowMs - hourMs, reason: "keyCompromise" } } as const;
const encode = (change: Partial<OcspResponseFields>): Uint8Array => encodeOcspResponseData({ ...meant, ...change });
/** ResponseData by hand, around the parts that the encoder has no way to write wrong. */
const byHand = (parts: { responder?: Uint8Array; producedAt?: Uint8Array; dates?: readonly Uint8Array[]; extensions?: readonly Uint8Array[] }): Uint8Array => {
  const dates = parts.dates ?? [encodeGeneralizedTime(nowMs - 1000), encodeExplicit(0, encodeGeneralizedTime(nowMs + hourMs))];
  return encodeSequence(
    parts.responder ?? responderElement(), parts.producedAt ?? encodeGeneralizedTime(nowMs), encodeSequence(encodeSequence(certId, encodeDer(context(0)), ...dates)),
    ...(parts.extensions === undefined ? [] : [encodeExplicit(1, encodeSequence(...parts.extensions))]),
  );
};
const responderElement = (): Uint8Array => {
  const data = encode({});
  const start = data[1]! < 0x80 ? 2 : 3;
  return data.subarray(start, start + 2 + data[start + 1]!);
};

describe("nothing is said against", () => {
  test.each([["good", response], ["revoked", revoked], ["unknown", { ...response, status: { kind: "unknown" } as const }]] as const)("a response that says %s", (_claim, single) => {
    const fields = { ...meant, responses: [single, response] };
    expect(ocspFailures(encodeOcspResponseData(fields), fields)).toEqual([]);
    expect(lintOcspResponse(encodeOcspResponseData(fields), fields)).toEqual(encodeOcspResponseData(fields));
  });

  test("one without a nonce", () => {
    expect(ocspFailures(encode({ nonce: undefined }), { ...meant, nonce: undefined })).toEqual([]);
  });
});

const none = { ...meant, nonce: undefined };
const faults: readonly (readonly [rule: string, claim: string, data: () => Uint8Array, meant?: OcspResponseFields])[] = [
  ["OCSP-05", "good for a certificate that is revoked", () => encode({}), { ...meant, responses: [revoked] }],
  ["OCSP-05", "good for one nobody issued", () => encode({}), { ...meant, responses: [{ ...response, status: { kind: "unknown" } }] }],
  ["OCSP-05", "a revocation in the future", () => encode({ responses: [{ ...revoked, status: { ...revoked.status, revokedAtMs: nowMs + hourMs } }] }), { ...meant, responses: [revoked] }],
  ["OCSP-06", "other dates than meant", () => encode({ responses: [{ ...response, nextUpdateMs: nowMs + 2 * hourMs }] })],
  ["OCSP-06", "a response that is over", () => encode({ responses: [{ ...response, nextUpdateMs: nowMs - 500 }] }), { ...meant, responses: [{ ...response, nextUpdateMs: nowMs - 500 }] }],
  ["OCSP-06", "no nextUpdate", () => byHand({ responder: responderElement(), dates: [encodeGeneralizedTime(nowMs - 1000)] }), none],
  ["OCSP-06", "UTCTime", () => byHand({ responder: responderElement(), producedAt: encodeTime(nowMs) }), none],
  ["OCSP-07", "another responder's key", () => encode({ responderSpki: newSpki() })],
  ["OCSP-07", "a responder by name", () => byHand({ responder: encodeDer(contextConstructed(1), encodeSequence()) }), none],
  ["OCSP-08", "another certificate than asked for", () => encode({ responses: [{ ...response, certId: encodeSequence(encodeOctetString(new Uint8Array(20))) }] })],
  ["OCSP-08", "one certificate more than asked for", () => encode({ responses: [response, response] })],
  ["OCSP-09", "another nonce", () => encode({ nonce: Uint8Array.of(9) })],
  ["OCSP-09", "no nonce", () => encode({ nonce: undefined })],
  ["OCSP-09", "a nonce nobody asked with", () => encode({}), none],
  ["OCSP-13", "critical FALSE spelled out", () => byHand({
    responder: responderElement(), extensions: [encodeSequence(encodeOid("1.2.3.4"), encodeBoolean(false), encodeOctetString(encodeNull()))],
  }), none],
];

describe("exactly the rule is named that is broken by", () => {
  for (const [rule, claim, data, wanted = meant] of faults) {
    test(`${rule}: ${claim}`, () => {
      expect(ocspFailures(data(), wanted).map(({ id }) => id)).toEqual([rule]);
      expect(() => lintOcspResponse(data(), wanted)).toThrow(expect.objectContaining({ code: "lint_failed", artefact: "ocsp-response" }));
    });
  }
});

test("bytes that are no response are refused", () => {
  expect(ocspFailures(Uint8Array.of(0x30, 0), meant)).toHaveLength(1);
});

test("every rule has bytes that break it, and none of the table is forgotten", () => {
  const ids = ocspRules.map(({ id }) => id);
  expect(ids.filter((id) => !faults.some(([rule]) => rule === id))).toEqual([]);
  const table = Array.from({ length: 12 }, (_, index) => `OCSP-${String(index + 1).padStart(2, "0")}`);
  expect(table.filter((id) => !ids.includes(id) && ocspRulesKeptElsewhere[id] === undefined)).toEqual([]);
});
