import { html } from "hono/html";
import { parseCheckpoint } from "../audit/checkpoint.ts";
import { decodeEntry, type RecordedEvent } from "../audit/event.ts";
import { parseNote } from "../audit/note.ts";
import type { AuditEntry, AuditEntryPage, InclusionProof } from "../contract/audit.ts";
import { paths } from "../contract/paths.ts";
import { describeAct } from "./acts.ts";
import type { Ask } from "./ask.ts";
import { card, count, exact, table, when, type Markup } from "./marks.ts";
import type { Page, Shown } from "./page.ts";

/** The audit log, newest first. */
export const auditPage: Page = {
  path: "/ui/audit",
  section: "/ui/audit",
  async show({ ask, nowMs, query }) {
    const size = sizeOf(await ask.fetchPublic(paths.auditCheckpoint));
    const search = (query.get("search") ?? "").trim();
    const before = Math.min(size, parseIndex(query.get("before")) ?? size);
    const { found, next } = await searchBack(ask, before, search);
    const rows = found.map(({ index, event }) => [
      html`<a class="mono" href="/ui/audit/${index}">${index}</a>`,
      event === undefined ? "an entry that is not of this version" : describeAct(event),
      html`<span class="mono soft">${event?.actor ?? ""}</span>`,
      event === undefined ? "" : when(event.time, nowMs),
    ]);
    const older = next === undefined ? "" : html`<p><a class="button quiet" href="/ui/audit?${new URLSearchParams({ ...(search !== "" && { search }), before: String(next) }).toString()}">Older</a></p>`;
    const caption = search === "" ? `${count(size, "entry", "entries")}, newest first` : `Entries with “${search}”, newest first`;
    return {
      title: "Audit log",
      body: html`<form class="fields bar" method="get" action="/ui/audit" role="search"><div class="grow"><label for="search">Search: any text of an entry: an ID, a serial number, a kind such as token.created, who did it</label>
<input id="search" name="search" type="search" value="${search}" spellcheck="false"></div><div><button>Search</button></div></form>
<div class="card" id="entries" data-part>${rows.length === 0 ? html`<p class="soft">None within the ${maxLooked.toLocaleString("en")} entries before ${before}.</p>` : table(caption, ["Entry", "What", "Who", "When"], rows)}${older}</div>`,
    };
  },
};

/** One entry, and what a browser needs to see for itself that it is in the log. @param verifierKey of the log */
export function entryPage(verifierKey: () => Promise<string | undefined>): Page {
  return {
    path: "/ui/audit/:index",
    section: "/ui/audit",
    async show({ ask, nowMs, params }): Promise<Shown> {
      const index = parseIndex(params["index"] ?? null);
      const note = await ask.fetchPublic(paths.auditCheckpoint);
      const size = sizeOf(note);
      const [entry] = index === undefined || index >= size ? [] : (await ask.call<AuditEntryPage>("GET", `${paths.auditEntries}?start=${index}&limit=1`)).entries;
      if (entry === undefined) return { title: "Not found", status: 404, body: html`<section class="card"><p>The log has no such entry; it has ${count(size, "entry", "entries")}.</p></section>` };
      const { hashes } = await ask.call<InclusionProof>("GET", `${paths.auditProof}?index=${entry.index}&size=${size}`);
      const key = (await verifierKey()) ?? "";
      return {
        title: `Entry ${entry.index}`,
        body: html`<div class="cards"><div class="half">${card("what-heading", "What happened", whatHappened(entry, nowMs))}</div>
<div class="half">${card("proof-heading", "Proof", proof({ index: entry.index, size, body: entry.body, hashes, note, key }))}</div></div>
<p>${entry.index > 0 ? html`<a class="button quiet" href="/ui/audit/${entry.index - 1}">Entry ${entry.index - 1}</a> ` : ""}${entry.index + 1 < size ? html`<a class="button quiet" href="/ui/audit/${entry.index + 1}">Entry ${entry.index + 1}</a>` : ""}</p>`,
      };
    },
  };
}

function whatHappened({ body }: AuditEntry, nowMs: number): Markup {
  const event = decodeEntry(body);
  if (event === undefined) return html`<pre tabindex="0">${body}</pre>`;
  const { time, actor, type, ...rest } = event;
  const rows = Object.entries({ actor, type, ...rest }).map(([name, value]) => html`<dt>${name}</dt><dd class="mono">${typeof value === "string" ? value : JSON.stringify(value, undefined, 2)}</dd>`);
  const serialNumber = "serialNumber" in event && event.type.startsWith("certificate.") ? event.serialNumber : undefined;
  return html`<p>${describeAct(event)}${serialNumber === undefined ? "" : html` <a href="/ui/certificates/${serialNumber}">(the certificate)</a>`}</p><p class="soft">${when(time, nowMs)}, ${exact(time)}</p><dl class="facts">${rows}</dl>
<details id="bytes"><summary>The bytes that were hashed</summary><pre tabindex="0">${body}</pre></details>`;
}

/** The browser works it out from these alone (`script.ts`): what the CA claims is not asked. */
function proof(given: { readonly index: number; readonly size: number; readonly body: string; readonly hashes: readonly string[]; readonly note: string; readonly key: string }): Markup {
  return html`<p>Your browser computes, with its own cryptography, that this entry is in the log that the CA has signed.</p>
<div id="proof" data-proof="${JSON.stringify(given)}" role="status"><p class="soft">Needs a browser with scripts; without one: <code>countersign audit verify</code></p></div>
<details id="proof-parts"><summary>Checkpoint, key and the ${count(given.hashes.length, "hash", "hashes")} of the proof</summary><pre tabindex="0">${given.note}
${given.key}

${given.hashes.join("\n")}</pre></details>
<p class="soft">The key is the one that was kept at the first start, <code>audit-log.vkey</code>: compare it once. Your browser remembers it and says when it changes.</p>`;
}

interface Found {
  readonly index: number;
  readonly event: RecordedEvent | undefined;
}

/** @returns up to a page of entries below `before`, newest first, and where to go on */
async function searchBack(ask: Ask, before: number, search: string): Promise<{ readonly found: readonly Found[]; readonly next: number | undefined }> {
  const found: Found[] = [];
  let end = before;
  const lowest = Math.max(0, before - maxLooked);
  while (end > lowest && found.length < rowsOfPage) {
    const start = Math.max(lowest, end - (search === "" ? rowsOfPage : pageSize));
    const { entries } = await ask.call<AuditEntryPage>("GET", `${paths.auditEntries}?start=${start}&limit=${end - start}`);
    for (const { index, body } of [...entries].reverse()) {
      end = index;
      if (search !== "" && !body.includes(search)) continue;
      found.push({ index, event: decodeEntry(body) });
      if (found.length === rowsOfPage) break;
    }
    if (entries.length === 0) end = start;
  }
  return { found, next: end > 0 ? end : undefined };
}

function sizeOf(note: string): number {
  return parseCheckpoint(parseNote(note)).size;
}

function parseIndex(text: string | null): number | undefined {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

const rowsOfPage = 50;
const pageSize = 1000;
/** Some tenths of a second, whatever is looked for; the next page goes on. */
const maxLooked = 10_000;
