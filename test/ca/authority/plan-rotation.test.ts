import { describe, expect, test } from "vitest";
import { planRotation } from "../../../ca/authority/plan-rotation.ts";
import type { AuthorityState } from "../../../ca/contract.ts";
import type { AuthorityRow } from "../../../ca/store/store.ts";
import { hourMs } from "../../support/running-ca.ts";

const nowMs = Date.UTC(2026, 0, 1);
const settings = { nowMs, issuerRenewBeforeMs: 25 * hourMs };

function row(id: string, type: "root" | "issuer", state: AuthorityState, leftMs: number): AuthorityRow {
  const notAfterMs = nowMs + leftMs;
  return { id, type, state, certificate: new Uint8Array(), key: { kind: "offline" }, lastNotAfterMs: 0, stateSinceMs: 0, notBeforeMs: 0, notAfterMs, createdAtMs: 0 };
}

describe("planRotation", () => {
  test("does nothing while the active issuer has its renewal time left", () => {
    expect(planRotation([row("i", "issuer", "active", 25 * hourMs)], settings)).toEqual({ retire: [] });
  });

  test("replaces the active issuer the moment it has less", () => {
    expect(planRotation([row("i", "issuer", "active", 25 * hourMs - 1)], settings)).toEqual({ issuer: { replaces: "i" }, retire: [] });
  });

  test("makes an issuer when none is active, replacing none", () => {
    expect(planRotation([row("r", "root", "active", 9e9)], settings)).toEqual({ issuer: { replaces: undefined }, retire: [] });
  });

  test("retires a retiring issuer once its last second is over, and no other authority", () => {
    const rows = [
      row("new", "issuer", "active", 48 * hourMs), row("in its last second", "issuer", "retiring", -999), row("over", "issuer", "retiring", -1000),
      row("long retired", "issuer", "retired", -hourMs), row("root", "root", "retiring", -hourMs),
    ];
    expect(planRotation(rows, settings)).toEqual({ retire: ["over"] });
  });
});
