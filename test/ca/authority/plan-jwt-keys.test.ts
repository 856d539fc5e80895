import { describe, expect, test } from "vitest";
import { awaitingJwtKey, jwtKeyLifetimeMs, planJwtKeys, type JwtKeyPolicy } from "../../../ca/authority/plan-jwt-keys.ts";
import { livingBelow } from "../../../ca/authority/plan-rotation.ts";
import type { AuthorityRow } from "../../../ca/store/rows/authorities.ts";
import type { HolderRow } from "../../../ca/store/rows/holders.ts";
import { dayMs, hourMs } from "../../support/running-ca.ts";

const nowMs = Date.UTC(2026, 0, 1);
const policy: JwtKeyPolicy = { jwtKeyRotationMs: 7 * dayMs, jwtSvidLifetimeMaxMs: hourMs };
const wanted: JwtKeyPolicy = { ...policy, jwtWanted: true };
const holder: HolderRow = { spiffeId: "spiffe://east/cart", serialNumber: "01", acknowledgedSequence: 1, notAfterMs: nowMs + hourMs };
const everybody = { sequence: 7, behind: [] };

function key(id: string, state: AuthorityRow["state"], with_: Partial<AuthorityRow> = {}): AuthorityRow {
  return {
    id, type: "jwt", state, certificate: new Uint8Array(), key: { kind: "sealed", sealed: new Uint8Array() }, lastNotAfterMs: 0,
    notBeforeMs: nowMs, notAfterMs: nowMs + jwtKeyLifetimeMs(policy), createdAtMs: nowMs, stateSinceMs: nowMs, publishedSequence: 7, ...with_,
  };
}
/** Has signed for so many days. */
const signing = (days: number, with_: Partial<AuthorityRow> = {}) => key("a", "active", { stateSinceMs: nowMs - days * dayMs, ...with_ });
const next = key("n", "prepared");
const ending = { notAfterMs: nowMs + hourMs - 1 };

describe("planJwtKeys", () => {
  test.for<[claim: string, rows: readonly AuthorityRow[], step: unknown, holders?: { sequence: number; behind: readonly HolderRow[] } | undefined, policy?: JwtKeyPolicy]>([
    ["makes no key for nobody", [], undefined],
    ["makes the first one at once when somebody wants it", [], { kind: "create-jwt-key", state: "active", replaces: undefined }, undefined, wanted],
    ["makes the next one beside it", [signing(0)], { kind: "create-jwt-key", state: "prepared", replaces: "a" }],
    ["does nothing while both have their time", [signing(6.9), next], undefined, everybody],
    ["lets the next one take over when every holder has it", [signing(7), next], { kind: "activate", authorityId: "n", replaces: "a" }, everybody],
    ["waits for a holder that is behind", [signing(7), next], undefined, { sequence: 7, behind: [holder] }],
    ["takes no earlier sequence for an acknowledgement", [signing(7), next], undefined, { sequence: 6, behind: [] }],
    ["activates nothing unseen", [signing(7), next], undefined],
    ["waits no longer than one more rotation", [signing(14), next], { kind: "activate", authorityId: "n", replaces: "a" }, { sequence: 7, behind: [holder] }],
    ["waits for nobody when the key is at its end", [signing(1, ending), next], { kind: "activate", authorityId: "n", replaces: "a" }],
    ["makes another one when both are at their end", [signing(1, ending), key("n", "prepared", ending)], { kind: "create-jwt-key", state: "active", replaces: "a" }],
    ["makes another next one for one that has ended", [signing(1), key("n", "prepared", ending)], { kind: "create-jwt-key", state: "prepared", replaces: "a" }],
    ["activates early what an operator wants early", [signing(0), { ...next, activateAtMs: nowMs }], { kind: "activate", authorityId: "n", replaces: "a" }, everybody],
    ["takes a prepared one for the first", [next], { kind: "activate", authorityId: "n", replaces: undefined }, undefined, wanted],
    ["leaves tainted keys alone", [signing(0), next, key("t", "tainted")], undefined, everybody],
  ])("%s", ([, rows, step, holders, under = policy]) => {
    expect(planJwtKeys(rows, holders, under, nowMs)).toEqual(step);
  });

  test("are below no root: with a root neither retired nor revoked", () => {
    expect(livingBelow(key("r", "retiring", { type: "root" }), [key("r", "retiring", { type: "root" }), signing(0), next])).toEqual([]);
  });

  test("names who is waited for only while somebody is", () => {
    expect(awaitingJwtKey([signing(6), next], policy, nowMs)).toBeUndefined();
    expect(awaitingJwtKey([signing(7), next], policy, nowMs)).toBe(next);
    expect(awaitingJwtKey([next], policy, nowMs)).toBeUndefined();
  });

  test("never lets a key that waited as long as may be end before what it signed", () => {
    let rows: readonly AuthorityRow[] = [signing(0)];
    for (let at = nowMs; at < nowMs + 100 * dayMs; at += hourMs) {
      const step = planJwtKeys(rows, { sequence: 7, behind: [holder] }, wanted, at);
      if (step?.kind === "create-jwt-key") {
        expect(step.state).toBe("prepared");
        rows = [...rows, key(`k${at}`, step.state, { notBeforeMs: at, notAfterMs: at + jwtKeyLifetimeMs(policy), stateSinceMs: at })];
      } else if (step !== undefined) {
        rows = rows.filter(({ id }) => id !== step.replaces).map((row) => (row.id === step.authorityId ? { ...row, state: "active", stateSinceMs: at } : row));
      }
      expect(rows.find(({ state }) => state === "active")!.notAfterMs).toBeGreaterThanOrEqual(at + hourMs);
    }
  });
});
