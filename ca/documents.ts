import { encodeEntry, type Actor, type AuditEvent } from "./audit/event.ts";
import { Refusal } from "./refusal.ts";
import { StoreError } from "./store/errors.ts";
import type { DocumentKind, DocumentRow } from "./store/rows/documents.ts";
import type { Store } from "./store/store.ts";

/** All documents as they were at one moment. */
export interface DocumentSet {
  /** Of the newest change of any. */
  readonly sequence: number;
  /** Of the newest change of each kind. */
  readonly sequences: Readonly<Record<DocumentKind, number>>;
  readonly byKind: Readonly<Record<DocumentKind, ReadonlyMap<string, PresentDocument>>>;
}

export type PresentDocument = DocumentRow & { readonly body: string };

export interface DocumentChange {
  readonly kind: DocumentKind;
  readonly name: string;
  /** What is stored and logged; absent: it is removed. */
  readonly document?: object;
}

export interface Documents {
  /** At most `staleAfterMs` old; not a promise while it is younger, as the issuing path asks each time. */
  current(): DocumentSet | Promise<DocumentSet>;
  /** As of now. */
  refresh(): Promise<DocumentSet>;
  /**
   * Changes documents, all or none, judged by what is there: when somebody was faster, `plan` is asked again.
   * @param plan  what to change; nothing to change commits nothing. What it throws is thrown
   * @returns     the documents with the change, which is durable
   * @throws      {Refusal} changed_meanwhile
   */
  change(plan: (set: DocumentSet) => readonly DocumentChange[], actor: Actor): Promise<DocumentSet>;
}

/** Keeps the documents in memory, reading only what changed since; a change by another replica is known after a second. */
export function documentKeeper({ store, now }: { readonly store: Pick<Store, "documents" | "commit">; readonly now: () => Date }): Documents {
  let set: DocumentSet = none;
  let freshUntilMs = -Infinity;
  let reading: Promise<DocumentSet> | undefined;
  let changing: Promise<unknown> = Promise.resolve();

  async function refresh(): Promise<DocumentSet> {
    const askedAtMs = now().getTime();
    const rows = await store.documents({ after: set.sequence });
    set = merge(set, rows);
    freshUntilMs = askedAtMs + staleAfterMs;
    return set;
  }

  /** One after the other: all documents share a sequence, so those of one process would only make each other try again. */
  function change(plan: (set: DocumentSet) => readonly DocumentChange[], actor: Actor): Promise<DocumentSet> {
    const changed = changing.then(() => changeNow(plan, actor));
    changing = changed.catch(() => undefined);
    return changed;
  }

  async function changeNow(plan: (set: DocumentSet) => readonly DocumentChange[], actor: Actor): Promise<DocumentSet> {
    for (let attempt = 1; ; attempt++) {
      const seen = await refresh();
      const changes = plan(seen);
      const [first, ...others] = changes.map((each) => encodeEntry(eventOf(each), actor, now().getTime()));
      if (first === undefined) return seen;
      const changedAtMs = now().getTime();
      const rows = changes.map(({ kind, name, document }) => (
        { kind, name, changedAtMs, changedBy: actor, ...(document !== undefined && { body: JSON.stringify(document) }) }
      ));
      try {
        await store.commit({ kind: "change-documents", expects: seen.sequence, changes: rows, entries: [first, ...others] });
        return await refresh();
      } catch (error) {
        if (!(error instanceof StoreError) || error.code !== "documents_changed") throw error;
        if (attempt < maxAttempts) continue;
        throw new Refusal("changed_meanwhile", "Others keep changing operators, policies, services or federation: try again.", { cause: error });
      }
    }
  }

  return {
    current() {
      const nowMs = now().getTime();
      // Also when the clock went back: what is fresh until then may be old.
      if (nowMs < freshUntilMs && nowMs >= freshUntilMs - staleAfterMs) return set;
      return (reading ??= refresh().finally(() => (reading = undefined)));
    },
    refresh,
    change,
  };
}

function merge(set: DocumentSet, rows: readonly DocumentRow[]): DocumentSet {
  // Of two readings at once the older one may come last.
  const newer = rows.filter(({ sequence }) => sequence > set.sequence);
  if (newer.length === 0) return set;
  const changed = new Set(newer.map(({ kind }) => kind));
  // The others stay the same maps: what was made of them is still good.
  const byKind = eachKind((kind) => (changed.has(kind) ? new Map(set.byKind[kind]) : set.byKind[kind] as Map<string, PresentDocument>));
  const sequences = { ...set.sequences };
  for (const row of newer) {
    if (row.body === undefined) byKind[row.kind].delete(row.name);
    else byKind[row.kind].set(row.name, { ...row, body: row.body });
    sequences[row.kind] = Math.max(sequences[row.kind], row.sequence);
  }
  return { byKind, sequences, sequence: Math.max(...newer.map(({ sequence }) => sequence)) };
}

function eventOf({ kind, name, document }: DocumentChange): AuditEvent {
  return document === undefined ? { type: `${kind}.removed`, name } : { type: `${kind}.changed`, name, document };
}

function eachKind<T>(make: (kind: DocumentKind) => T): Record<DocumentKind, T> {
  return {
    operator: make("operator"), policy: make("policy"), service: make("service"),
    federation: make("federation"), "foreign-bundle": make("foreign-bundle"), "federation-invitation": make("federation-invitation"),
    "federation-hub": make("federation-hub"),
  };
}

const none: DocumentSet = { sequence: 0, sequences: eachKind(() => 0), byKind: eachKind(() => new Map()) };
const staleAfterMs = 1000;
const maxAttempts = 5;
