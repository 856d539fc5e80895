import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { packActs, unpackActs } from "../../../ca/store/acts-message.ts";
import type { Act } from "../../../ca/store/acts.ts";
import { createToken, issue, newCertificate, newToken, record, revoke, startMs } from "./acts.ts";

test("acts come out of the message as they went in, in their order", () => {
  const pooled = Buffer.from(randomBytes(200)).subarray(50, 150);
  const acts: readonly Act[] = [
    record("a", "b"),
    issue(newCertificate({ certificate: pooled, keyFingerprint: new Uint8Array(32), dnsNames: ["a", "b,c"], tokenId: "t", renewedFrom: "ab", attestor: "east-cluster", acknowledgedSequence: 3 })),
    { ...issue(), entries: ["{}", "{\"a\":1}", "{}"] },
    issue(newCertificate(), { redeem: { tokenId: "t", version: 0 }, idempotency: { scope: "s", key: "k", requestHash: "h", expiresAtMs: startMs } }),
    createToken(newToken()),
    issue(newCertificate(), { idempotency: { scope: "", key: "", requestHash: "", expiresAtMs: 0 } }),
    revoke(newCertificate()),
    { ...issue(), fence: { lease: "authority", token: 3 } },
  ];
  const message = packActs(acts);
  const sent = structuredClone(message, { transfer: [message.bytes.buffer] });
  expect(plain(unpackActs(sent))).toEqual(plain(acts));
});

test("an empty group is an empty message", () => {
  expect(unpackActs(packActs([]))).toEqual([]);
});

function plain(acts: readonly Act[]): unknown {
  return JSON.parse(JSON.stringify(acts, (_key, value: unknown) => value instanceof Uint8Array ? [...value] : bytesOf(value) ?? value));
}

/** Buffers turn themselves into this before a replacer sees them. */
function bytesOf(value: unknown): unknown {
  return (value as { type?: unknown } | null)?.type === "Buffer" ? (value as { data: unknown }).data : undefined;
}
