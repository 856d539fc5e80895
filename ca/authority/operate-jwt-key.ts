import { isOver } from "../authority-tree.ts";
import type { AuthorityCommand } from "../contract/authorities.ts";
import { Refusal } from "../refusal.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { HolderRow } from "../store/rows/holders.ts";
import type { Store } from "../store/store.ts";
import type { PreparedStep } from "./change.ts";
import type { AuthorityCraft } from "./craft.ts";
import { activeOf } from "./plan-rotation.ts";
import { nextJwtKey, type JwtKeyPolicy } from "./plan-jwt-keys.ts";
import { maxCounted } from "./summary.ts";

export interface JwtKeyStepDeps {
  readonly store: Pick<Store, "holdersBehind">;
  readonly craft: Pick<AuthorityCraft, "jwtKey">;
  readonly config: JwtKeyPolicy;
}

/** An operator's steps on keys for JWT-SVIDs: no certificate hangs on them, so little holds them back. */
export function jwtKeySteps({ store, craft, config }: JwtKeyStepDeps) {
  /** The next one takes over as soon as everybody has it; the first one of all does at once. */
  function rotating(rows: readonly AuthorityRow[], nowMs: number): PreparedStep["draftOn"] {
    const next = nextJwtKey(rows, config, nowMs);
    if (activeOf(rows, "jwt") === undefined) return (draft) => (next === undefined ? draft.create(craft.jwtKey("active", nowMs)) : draft.move(next, "active"));
    return (draft) => (next === undefined ? draft.create(craft.jwtKey("prepared", nowMs, nowMs)) : draft.move(next, "prepared", { activateAtMs: nowMs }));
  }

  async function holdersWithout({ publishedSequence = Number.MAX_SAFE_INTEGER }: AuthorityRow, nowMs: number): Promise<readonly HolderRow[]> {
    return store.holdersBehind({ sequence: publishedSequence, nowMs, limit: maxCounted });
  }

  async function activating(row: AuthorityRow, rows: readonly AuthorityRow[], nowMs: number): Promise<PreparedStep> {
    if (row.state !== "prepared") throw wrongState(`The JWT key ${row.id} is ${row.state}; only a prepared one is activated.`);
    return {
      holders: await holdersWithout(row, nowMs),
      draftOn(draft) {
        const active = activeOf(rows, "jwt");
        draft.move(row, "active");
        if (active !== undefined) draft.move(active, "retiring");
      },
    };
  }

  /** Out of the bundle at once: whoever has the key makes tokens for everybody. Nobody waits for those who lack the next one. */
  function tainting(row: AuthorityRow, rows: readonly AuthorityRow[], nowMs: number): PreparedStep {
    if (isOver(row.state) || row.state === "tainted") throw wrongState(`The JWT key ${row.id} is ${row.state} already.`);
    return {
      holders: [],
      draftOn(draft) {
        draft.move(row, "tainted");
        if (row.state !== "active") return;
        const next = nextJwtKey(rows, config, nowMs);
        if (next === undefined) draft.create(craft.jwtKey("active", nowMs));
        else draft.move(next, "active");
      },
    };
  }

  return {
    rotating,
    step({ action }: Extract<AuthorityCommand, { readonly id: string }>, row: AuthorityRow, rows: readonly AuthorityRow[], nowMs: number): PreparedStep | Promise<PreparedStep> {
      switch (action) {
        case "activate": return activating(row, rows, nowMs);
        case "taint": return tainting(row, rows, nowMs);
        case "revoke":
          if (isOver(row.state) || row.state === "active") throw wrongState(`The JWT key ${row.id} is ${row.state}${row.state === "active" ? ": taint it first, which puts another one in its place." : " already."}`);
          return { holders: [], draftOn: (draft) => draft.revoke(row, row.state === "tainted" ? "cACompromise" : "cessationOfOperation") };
        case "retire":
          if (row.state !== "retiring" && row.state !== "prepared") throw wrongState(`The JWT key ${row.id} is ${row.state}; only one that was replaced, or never active, is retired.`);
          return { holders: [], draftOn: (draft) => draft.move(row, "retired", { unusedOnly: true }) };
      }
    },
  };
}

function wrongState(detail: string): Refusal {
  return new Refusal("authority_state", detail);
}
