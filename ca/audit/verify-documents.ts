import type { DocumentKind, DocumentRow } from "../store/rows/documents.ts";
import type { RecordedEvent } from "./event.ts";
import { misfit, type Misfit } from "./misfit.ts";
import { entriesFrom, type ReadEntry } from "./verify-tables.ts";
import type { LogReader } from "./verify.ts";

/** What the log says last of a document. */
interface Said {
  readonly kind: DocumentKind;
  readonly name: string;
  readonly index: number;
  /** Undefined: it was removed. */
  readonly body: string | undefined;
}

/** Holds operators, policies and services against the log: who could write a row without an entry would be an admin nobody made. */
export function documentVerifier(source: LogReader) {
  const logged = new Map<string, Said>();
  return {
    page(entries: readonly ReadEntry[]): void {
      for (const entry of entries) take(entry, logged);
    },
    /** After the last page: reads the rows, then what the CA has logged meanwhile, so that no row is newer than its entry. */
    async settle(size: number): Promise<Misfit | undefined> {
      const rows = await source.documents({ after: 0 });
      const late = new Map<string, Said>();
      for await (const entry of entriesFrom(source, size)) take(entry, late);
      return compare(rows, logged, late);
    },
  };
}

function take({ index, event }: ReadEntry, into: Map<string, Said>): void {
  if (event === undefined) return;
  const kind = kindOf(event);
  if (kind === undefined) return;
  const { name, document } = event as { readonly name: string; readonly document?: unknown };
  into.set(keyOf(kind, name), { kind, name, index, body: document === undefined ? undefined : JSON.stringify(document) });
}

function kindOf({ type }: RecordedEvent): DocumentKind | undefined {
  return kinds.find((kind) => type === `${kind}.changed` || type === `${kind}.removed`);
}

function compare(rows: readonly DocumentRow[], logged: ReadonlyMap<string, Said>, late: ReadonlyMap<string, Said>): Misfit | undefined {
  const seen = new Set<string>();
  for (const { kind, name, body } of rows) {
    const key = keyOf(kind, name);
    seen.add(key);
    // Changed while we look: the row is of before or after, and the next verification tells.
    if (late.has(key)) continue;
    const said = logged.get(key);
    if (said === undefined) {
      return misfit("row_without_entry", undefined, `The documents table has the ${kind} ${name}, but no entry made it: somebody gave ` +
        "access without the CA.");
    }
    if (said.body !== body) {
      return misfit("row_differs", said.index, `The documents table disagrees with entry ${said.index} about the ${kind} ${name}: the row was ` +
        "altered. The log is right.");
    }
  }
  for (const [key, { kind, name, index }] of logged) {
    if (seen.has(key)) continue;
    return misfit("entry_without_row", index, `Entry ${index} is about the ${kind} ${name}, but the documents table does not have it: its row ` +
      "was removed.");
  }
  return undefined;
}

function keyOf(kind: DocumentKind, name: string): string {
  return `${kind} ${name}`;
}

const kinds: readonly DocumentKind[] = ["operator", "policy", "service", "federation", "foreign-bundle", "federation-invitation", "federation-hub"];
