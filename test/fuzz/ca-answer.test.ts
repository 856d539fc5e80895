import fc from "fast-check";
import { expect, test } from "vitest";
import { readChangedText, readEpoch, readIssued, readRenewNotice, readRevocationBatch, readRevocationPage, readValue } from "../../proxy/ca-answer.ts";
import { CaError } from "../../proxy/ca-error.ts";
import { eventParser } from "../../proxy/event-stream.ts";
import { mergeBundles } from "../../proxy/identity/bundles.ts";

const readers = [
  (response: Parameters<typeof readIssued>[0]) => mergeBundles("east", new Map(), readIssued(response, 0).bundles),
  (response: Parameters<typeof readIssued>[0]) => readRevocationPage(response, 0),
  (response: Parameters<typeof readIssued>[0]) => readChangedText(response, 0),
];

const headers = fc.record(
  { "content-type": fc.constantFrom("application/json", "application/problem+json", "text/html", ""), "retry-after": fc.string(), date: fc.string() },
  { requiredKeys: [] },
);
const revocation = fc.record({ sequence: fc.oneof(fc.integer(), fc.double()), serialNumber: fc.string(), notAfter: fc.oneof(fc.string(), fc.constant("2026-01-01T00:00:00Z")) }, { requiredKeys: [] });
const body = fc.oneof(
  fc.string(),
  fc.json(),
  fc.record({ chain: fc.string(), bundles: fc.dictionary(fc.string(), fc.jsonValue()) }, { requiredKeys: [] }).map((value) => JSON.stringify(value)),
  fc.record({ revocations: fc.array(revocation), sequence: fc.integer(), more: fc.boolean() }, { requiredKeys: [] }).map((value) => JSON.stringify(value)),
  fc.record({ code: fc.string(), detail: fc.string() }, { requiredKeys: [] }).map((value) => JSON.stringify(value)),
);

test("whatever answers: a value, or a coded error of one printable line", () => {
  fc.assert(fc.property(fc.constantFrom(...readers), fc.constantFrom(200, 201, 204, 301, 304, 400, 403, 408, 429, 500, 503), headers, body, (reader, status, given, text) => {
    try {
      reader({ status, headers: given, text });
    } catch (error) {
      expect(error).toBeInstanceOf(CaError);
      expect((error as Error).message).toMatch(/^[\x20-\x7e]{1,600}$/);
      const { retryAfterMs = 0 } = error as CaError;
      expect(retryAfterMs >= 0 && retryAfterMs <= 600_000).toBe(true);
    }
  }), { numRuns: 10_000 });
});

const line = fc.oneof(
  fc.string(),
  fc.constantFrom("", "event: revocation", "event: epoch", "event: renew", "id: e.1.2.3", "data: {}", ": alive", "\r"),
  fc.jsonValue().map((value) => `data: ${JSON.stringify(value)}`),
  fc.record({ revocations: fc.array(revocation), sequence: fc.integer(), more: fc.boolean() }, { requiredKeys: [] }).map((value) => `data: ${JSON.stringify(value)}`),
);

test("whatever is streamed, however it is cut: the same events, each a value or a coded error of one printable line", () => {
  fc.assert(fc.property(fc.array(line), fc.constantFrom("\n", "\r\n"), fc.integer({ min: 1, max: 7 }), (lines, end, size) => {
    const bytes = Buffer.from(lines.join(end) + end + end);
    const whole = eventParser()(bytes);
    const parser = eventParser();
    const cut = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => parser(bytes.subarray(index * size, (index + 1) * size))).flat();
    expect(cut).toEqual(whole);
    for (const { data } of whole) {
      for (const reader of [readEpoch, readRenewNotice, readRevocationBatch]) {
        try {
          reader(readValue(data));
        } catch (error) {
          expect(error).toBeInstanceOf(CaError);
          expect((error as Error).message).toMatch(/^[\x20-\x7e]{1,600}$/);
        }
      }
    }
  }), { numRuns: 3_000 });
});
