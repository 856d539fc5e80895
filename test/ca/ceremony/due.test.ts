import { describe, expect, test } from "vitest";
import { dueCeremonies } from "../../../ca/ceremony/due.ts";
import type { AuthorityRow } from "../../../ca/store/store.ts";
import { dayMs } from "../../support/running-ca.ts";

const nowMs = Date.UTC(2026, 0, 1);

function row(id: string, overrides: Partial<AuthorityRow> & { readonly leftDays?: number; readonly lifeDays?: number }): AuthorityRow {
  const { leftDays = 300, lifeDays = 365, ...rest } = overrides;
  const notAfterMs = nowMs + leftDays * dayMs;
  return {
    id, type: "intermediate", state: "active", certificate: new Uint8Array(), key: { kind: "sealed", sealed: new Uint8Array() }, lastNotAfterMs: 0,
    stateSinceMs: 0, notBeforeMs: notAfterMs - lifeDays * dayMs, notAfterMs, createdAtMs: 0, ...rest,
  };
}

const root = row("root", { type: "root", key: { kind: "offline" }, leftDays: 3000, lifeDays: 3650 });
const oldRoot = row("root", { type: "root", key: { kind: "offline" }, leftDays: 600, lifeDays: 3650 });
const good = row("i", { parentId: "root" });

describe("what is due of an offline root", () => {
  test.each<[string, readonly AuthorityRow[], string[]]>([
    ["nothing, where all is young", [root, good], []],
    ["nothing, where the root signs by itself", [row("root", { type: "root", leftDays: 1 })], []],
    ["an intermediate, where there is none", [root], ["no intermediate"]],
    ["an intermediate, a quarter of its life before its end", [root, row("i", { parentId: "root", leftDays: 91 })], ["the intermediate i ends"]],
    ["nothing, where the next intermediate is there", [root, row("i", { parentId: "root", leftDays: 5 }), row("j", { parentId: "root", state: "prepared" })], []],
    ["an intermediate, where the one there is belongs to another root", [root, row("i", { parentId: "other" })], ["no intermediate"]],
    ["a root, a fifth of its life before its end", [oldRoot, good], ["the root root"]],
    ["nothing, where the next root is there", [oldRoot, good, row("next", { type: "root", state: "prepared" })], []],
  ])("%s", (_, rows, expected) => {
    const due = dueCeremonies(rows, undefined, nowMs);
    expect(due).toEqual(expected.map((part) => expect.stringContaining(part)));
  });

  test("its CRL, a quarter of its life before its end", () => {
    const crl = { thisUpdateMs: nowMs - 70 * dayMs, nextUpdateMs: nowMs + 20 * dayMs };
    expect(dueCeremonies([root, good], crl, nowMs)).toEqual([expect.stringContaining("root-crl")]);
    expect(dueCeremonies([root, good], { ...crl, nextUpdateMs: nowMs + 40 * dayMs }, nowMs)).toEqual([]);
  });
});
