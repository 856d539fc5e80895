import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { livingBelow, planRotation, signingParent, type Holders, type RotationPolicy } from "../../../ca/authority/plan-rotation.ts";
import { authorityStates, authorityTypes } from "../../../ca/contract/authorities.ts";
import type { AuthorityRow } from "../../../ca/store/rows/authorities.ts";
import type { HolderRow } from "../../../ca/store/rows/holders.ts";
import { dayMs, hourMs } from "../../support/running-ca.ts";

const nowMs = Date.UTC(2026, 0, 1);
const yearMs = 365 * dayMs;
const policy: RotationPolicy = {
  issuerLifetimeMs: 48 * hourMs, issuerRenewBeforeMs: 25 * hourMs, rootPreparePart: 0.8, rootActivatePart: 0.9, rootRetirePart: 0.01,
  jwtKeyRotationMs: 7 * dayMs, jwtSvidLifetimeMaxMs: hourMs,
};
const holder: HolderRow = { spiffeId: "spiffe://east/ns/shop/sa/cart", serialNumber: "01", acknowledgedSequence: 1, notAfterMs: nowMs + hourMs };
const all = (sequence: number): Holders => ({ sequence, behind: [] });

function row(id: string, type: AuthorityRow["type"], state: AuthorityRow["state"], with_: Partial<AuthorityRow> = {}): AuthorityRow {
  const lifeMs = type === "root" ? 10 * yearMs : 48 * hourMs;
  return {
    id, type, state, certificate: new Uint8Array(), key: { kind: "sealed", sealed: new Uint8Array() }, lastNotAfterMs: 0,
    notBeforeMs: nowMs, notAfterMs: nowMs + lifeMs, createdAtMs: nowMs, stateSinceMs: nowMs, ...(type === "issuer" && { parentId: "r" }), ...with_,
  };
}
/** A root of ten years of which so many are over. */
const aged = (id: string, state: AuthorityRow["state"], years: number, with_: Partial<AuthorityRow> = {}) =>
  row(id, "root", state, { notBeforeMs: nowMs - years * yearMs, notAfterMs: nowMs + (10 - years) * yearMs, stateSinceMs: nowMs - years * yearMs, ...with_ });
const root = row("r", "root", "active");
const issuer = row("i", "issuer", "active");
const next = row("next", "root", "prepared", { publishedSequence: 7 });

describe("planRotation", () => {
  test.each<readonly [claim: string, rows: readonly AuthorityRow[], holders: Holders | undefined, step: unknown]>([
    ["does nothing while all have their time left", [root, { ...issuer, notAfterMs: nowMs + 25 * hourMs }], undefined, undefined],
    ["replaces an issuer that has less", [root, { ...issuer, notAfterMs: nowMs + 25 * hourMs - 1 }], undefined, { kind: "replace-issuer", parentId: "r", replaces: "i" }],
    ["makes an issuer where none is active", [root], undefined, { kind: "replace-issuer", parentId: "r", replaces: undefined }],
    ["replaces an issuer of another root than the active one", [row("r", "root", "retiring"), row("n", "root", "active"), issuer], undefined, { kind: "replace-issuer", parentId: "n", replaces: "i" }],
    ["leaves an issuer that does not say whose it is", [root, (({ parentId: _, ...rest }) => rest)(issuer)], undefined, undefined],
    ["has nobody sign issuers below an offline root", [{ ...root, key: { kind: "offline" } }], undefined, undefined],
    ["has the intermediate sign them", [{ ...root, key: { kind: "offline" } }, row("m", "intermediate", "active", { parentId: "r" })], undefined, { kind: "replace-issuer", parentId: "m", replaces: undefined }],
    ["lets a prepared intermediate of the active root take over", [root, issuer, row("m", "intermediate", "prepared", { parentId: "r" })], undefined, { kind: "activate", authorityId: "m", replaces: undefined }],
    ["prepares no root before its time", [aged("r", "active", 7.99), issuer], undefined, undefined],
    ["prepares a root when 80 % of the usable life are over", [aged("r", "active", 8), issuer], undefined, { kind: "prepare-root", after: "r" }],
    ["prepares one only", [aged("r", "active", 8.5), issuer, next], all(7), undefined],
    ["prepares none where the key is elsewhere", [aged("r", "active", 8, { key: { kind: "kms", keyId: "k" } }), issuer], undefined, undefined],
    ["activates at 90 % what every holder has acknowledged", [aged("r", "active", 9), issuer, next], all(7), { kind: "activate", authorityId: "next", replaces: "r" }],
    ["waits for a holder that is behind", [aged("r", "active", 9), issuer, next], { sequence: 7, behind: [holder] }, undefined],
    ["takes no earlier sequence for an acknowledgement", [aged("r", "active", 9), issuer, next], all(6), undefined],
    ["activates nothing unseen", [aged("r", "active", 9), issuer, next], undefined, undefined],
    ["activates early what an operator wants early", [root, issuer, { ...next, activateAtMs: nowMs }], all(7), { kind: "activate", authorityId: "next", replaces: "r" }],
    ["activates no offline root without an intermediate to sign", [root, issuer, { ...next, activateAtMs: nowMs, key: { kind: "offline" } }], all(7), undefined],
    ["retires an issuer at its end", [root, issuer, row("old", "issuer", "retiring", { notAfterMs: nowMs - 1000 })], undefined, { kind: "retire", authorityIds: ["old"] }],
    ["and not in its last second", [root, issuer, row("old", "issuer", "retiring", { notAfterMs: nowMs - 999 })], undefined, undefined],
    ["keeps a replaced root for a hundredth of its life", [aged("old", "retiring", 9, { stateSinceMs: nowMs - 36 * dayMs }), root, issuer], undefined, undefined],
    ["then retires it", [aged("old", "retiring", 9, { stateSinceMs: nowMs - 37 * dayMs }), root, issuer], undefined, { kind: "retire", authorityIds: ["old"] }],
    [
      "with the issuers below it, once their certificates have expired",
      [aged("old", "retiring", 9), root, issuer, row("o", "issuer", "retiring", { parentId: "old", lastNotAfterMs: nowMs - 1000 })], undefined,
      { kind: "retire", authorityIds: ["old", "o"] },
    ],
    ["and not before", [aged("old", "retiring", 9), root, issuer, row("o", "issuer", "retiring", { parentId: "old", lastNotAfterMs: nowMs })], undefined, undefined],
    ["nor while one below it is tainted, and so not dealt with", [aged("old", "retiring", 9), root, issuer, row("o", "issuer", "tainted", { parentId: "old" })], undefined, undefined],
    ["leaves what is tainted or revoked to the operator", [root, issuer, row("t", "issuer", "tainted", { notAfterMs: 0 }), row("v", "issuer", "revoked", { notAfterMs: 0 })], undefined, undefined],
  ])("%s", (_claim, rows, holders, step) => {
    expect(planRotation(rows, holders, policy, nowMs)).toEqual(step);
  });

  test("a step that fails keeps no other waiting", () => {
    const rows = [aged("r", "active", 8), { ...issuer, notAfterMs: nowMs }];
    expect(planRotation(rows, undefined, policy, nowMs)).toMatchObject({ kind: "prepare-root" });
    expect(planRotation(rows, undefined, policy, nowMs, new Set(["prepare-root"]))).toMatchObject({ kind: "replace-issuer" });
  });

  const ids = fc.constantFrom("a", "b", "c", "d");
  const timeMs = fc.integer({ min: -3, max: 3 }).map((days) => nowMs + days * dayMs);
  const anyRow = fc.record({
    id: ids, type: fc.constantFrom("root" as const, ...authorityTypes), state: fc.constantFrom(...authorityStates), parentId: fc.option(ids, { nil: undefined }),
    notAfterMs: timeMs, lastNotAfterMs: timeMs, stateSinceMs: timeMs, publishedSequence: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
    offline: fc.boolean(),
  }).map(({ parentId, publishedSequence, offline, ...rest }): AuthorityRow => ({
    ...row(rest.id, rest.type, rest.state), ...rest, notBeforeMs: rest.notAfterMs - dayMs * 10, ...(parentId !== undefined && { parentId }),
    ...(publishedSequence !== undefined && { publishedSequence }), ...(offline && { key: { kind: "offline" as const } }), activateAtMs: nowMs,
  }));
  const anyRows = fc.uniqueArray(anyRow, { selector: ({ id }) => id, maxLength: 4 });
  const anyHolders = fc.option(fc.record({ sequence: fc.integer({ min: 0, max: 3 }), behind: fc.constantFrom([], [holder]) }), { nil: undefined });

  test("whatever there is: no root takes over that a holder may not trust, and none goes that a valid certificate needs", () => {
    let activated = 0;
    let retired = 0;
    fc.assert(fc.property(anyRows, anyHolders, (rows, holders) => {
      const step = planRotation(rows, holders, policy, nowMs);
      const found = (id: string) => rows.find((one) => one.id === id)!;
      if (step?.kind === "activate" && found(step.authorityId).type === "root") {
        activated += 1;
        expect(holders?.behind).toEqual([]);
        expect(holders!.sequence).toBeGreaterThanOrEqual(found(step.authorityId).publishedSequence!);
      }
      if (step?.kind === "retire") {
        retired += 1;
        const [first] = step.authorityIds;
        expect([...step.authorityIds].sort()).toEqual([first, ...livingBelow(found(first), rows).map(({ id }) => id)].sort());
        for (const id of step.authorityIds) expect(found(id).lastNotAfterMs + 1000).toBeLessThanOrEqual(nowMs);
      }
      if (step?.kind === "replace-issuer") expect(signingParent(rows)?.id).toBe(step.parentId);
    }), { numRuns: 3000 });
    expect(Math.min(activated, retired)).toBeGreaterThan(5);
  });
});
