import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { TokenRow } from "../store/rows/tokens.ts";
import { authorityDifference, tokenDifference } from "./compare-rows.ts";
import type { RecordedEvent } from "./event.ts";
import { misfit, type Misfit } from "./misfit.ts";
import { entriesFrom, pageSize, type ReadEntry } from "./verify-tables.ts";
import type { LogReader } from "./verify.ts";

interface Created<Type extends RecordedEvent["type"]> {
  readonly index: number;
  readonly event: Extract<RecordedEvent, { readonly type: Type }>;
}

/** What the log says there is: tokens and authorities, by ID. */
interface Standing {
  readonly tokens: Map<string, Created<"token.created">>;
  /** With the index of the entry that says so. */
  readonly deletedTokens: Map<string, number>;
  readonly redeemedTokens: Set<string>;
  readonly authorities: Map<string, Created<"authority.created">>;
  /** What each authority became last; until then it is what it was created as. */
  readonly authorityStates: Map<string, { readonly index: number; readonly state: string }>;
  /** The first JWT-SVID by what was no key for them then. */
  strayToken?: Created<"jwt-svid.issued">;
}

/**
 * Holds the tokens and authorities against the log. Their tables are not in its order, so what the log says of them is kept in
 * memory: some 500 bytes a token.
 */
export function standingVerifier(source: LogReader) {
  const logged = nothingLogged();
  return {
    page(entries: readonly ReadEntry[]): void {
      for (const entry of entries) take(entry, logged);
    },
    /** After the last page: reads the rows, then what the CA has logged meanwhile, so that no row is newer than its entry. */
    async settle(size: number): Promise<Misfit | undefined> {
      const authorities = await source.authorities();
      const tokens = await readTokens(source);
      const late = nothingLogged();
      for await (const entry of entriesFrom(source, size)) take(entry, late);
      return judgeJwtSvids(logged) ?? compareAuthorities(authorities, logged, late) ?? compareTokens(tokens, logged, late);
    },
  };
}

function nothingLogged(): Standing {
  return {
    tokens: new Map(), deletedTokens: new Map(), redeemedTokens: new Set(), authorities: new Map(), authorityStates: new Map(),
  };
}

function take({ index, event }: ReadEntry, into: Standing): void {
  if (event?.type === "token.created") into.tokens.set(event.tokenId, { index, event });
  if (event?.type === "token.deleted") into.deletedTokens.set(event.tokenId, index);
  if (event?.type === "authority.created") into.authorities.set(event.authorityId, { index, event });
  if (event?.type === "authority.state-changed") into.authorityStates.set(event.authorityId, { index, state: event.to });
  if (event?.type === "authority.revoked") into.authorityStates.set(event.authorityId, { index, state: "revoked" });
  if (event?.type === "jwt-svid.issued" && !signsJwtSvids(event.authorityId, into)) into.strayToken ??= { index, event };
  if (event?.type === "certificate.issued" && event.actor.startsWith(joinTokenActor)) {
    into.redeemedTokens.add(event.actor.slice(joinTokenActor.length));
  }
}

/** As of the entry that is looked at: the log is read from its front. */
function signsJwtSvids(authorityId: string, { authorities, authorityStates }: Standing): boolean {
  const created = authorities.get(authorityId)?.event;
  const state = authorityStates.get(authorityId)?.state ?? created?.state ?? "active";
  return created?.authorityType === "jwt" && (state === "active" || state === "retiring");
}

function judgeJwtSvids({ strayToken }: Standing): Misfit | undefined {
  if (strayToken === undefined) return undefined;
  const { index, event } = strayToken;
  return misfit("entry_without_row", index, `Entry ${index} tells of a JWT-SVID of ${event.spiffeId} by key ${event.authorityId}, which was no active JWT key at that ` +
    "time: this CA would not have issued it, so somebody else wrote the entry, or had the CA's keys.");
}

function compareAuthorities(rows: readonly AuthorityRow[], logged: Standing, late: Standing): Misfit | undefined {
  const seen = new Set(rows.map(({ id }) => id));
  for (const { index, event } of logged.authorities.values()) {
    if (!seen.has(event.authorityId)) {
      return misfit("entry_without_row", index, `Entry ${index} created ${event.authorityType} ${event.authorityId}, but ` +
        "the authorities table does not have it.");
    }
  }
  for (const row of rows) {
    const created = logged.authorities.get(row.id) ?? late.authorities.get(row.id);
    if (!created) {
      return misfit("row_without_entry", undefined, `The authorities table has ${row.type} ${row.id}, but no entry ` +
        "created it: this CA would trust or sign with a key that nobody logged.");
    }
    const difference = authorityDifference(created.event, row);
    if (difference) {
      return misfit("row_differs", created.index, `The authorities table disagrees with entry ${created.index}, which ` +
        `created ${row.type} ${row.id}, about the ${difference}: the row was altered. The log is right.`);
    }
    const { index, state } = logged.authorityStates.get(row.id) ?? { index: created.index, state: created.event.state ?? "active" };
    if (row.state !== state && !late.authorityStates.has(row.id)) {
      return misfit("row_differs", index, `The authorities table has ${row.type} ${row.id} as ${row.state}, but since ` +
        `entry ${index} it is ${state}: the row was altered. The log is right.`);
    }
  }
  return undefined;
}

function compareTokens(rows: readonly TokenRow[], logged: Standing, late: Standing): Misfit | undefined {
  const seen = new Set(rows.map(({ id }) => id));
  for (const { index, event } of logged.tokens.values()) {
    if (seen.has(event.tokenId) || logged.deletedTokens.has(event.tokenId) || late.deletedTokens.has(event.tokenId)) continue;
    return misfit("entry_without_row", index, `Entry ${index} created ${event.tokenType} token ${event.tokenId}, and no ` +
      "entry deleted it, but the tokens table does not have it: its row was removed or marked as deleted.");
  }
  for (const row of rows) {
    const created = logged.tokens.get(row.id) ?? late.tokens.get(row.id);
    if (!created) {
      return misfit("row_without_entry", undefined, `The tokens table has ${row.type} token ` +
        `${row.id}${row.role ? ` with role ${row.role}` : ""}, but no entry ` +
        "created it: somebody gave themselves access without the CA.");
    }
    const { index, event } = created;
    const deleted = logged.deletedTokens.get(row.id);
    if (deleted !== undefined) {
      return misfit("row_differs", deleted, `Entry ${deleted} deleted token ${row.id}, but the tokens table still has ` +
        "it: the row was altered, and the token works again.");
    }
    const difference = tokenDifference(event, row);
    if (difference) {
      return misfit("row_differs", index, `The tokens table disagrees with entry ${index}, which created ` +
        `${event.tokenType} token ${row.id}, about the ${difference}: the row was altered. The log is right.`);
    }
    if (logged.redeemedTokens.has(row.id) && row.redeemedAtMs === undefined) {
      return misfit("row_differs", index, `Join token ${row.id} of entry ${index} was redeemed according to the log and ` +
        "is not according to the tokens table: the row was altered, and the token works again.");
    }
  }
  return undefined;
}

async function readTokens(source: LogReader): Promise<readonly TokenRow[]> {
  const rows: TokenRow[] = [];
  for (let before: string | undefined; ;) {
    const page = await source.tokens({ limit: pageSize, ...(before === undefined ? {} : { before }) });
    rows.push(...page);
    before = page.at(-1)?.id;
    if (before === undefined) return rows;
  }
}

const joinTokenActor = "join-token:";
