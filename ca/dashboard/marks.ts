import { html } from "hono/html";

/** Escaped HTML; what is put into it as text is escaped in turn. */
export type Markup = ReturnType<typeof html>;

export type Tone = "ok" | "warning" | "failed" | "plain";

/** A word with a sign, so that its colour says nothing that is not said otherwise. */
export function chip(tone: Tone, text: string): Markup {
  return html`<span class="chip ${tone}">${tone === "plain" ? "" : html`<span aria-hidden="true">${signs[tone]}</span> `}${text}</span>`;
}

/** An instant as people say it, with the exact one behind it: `in 3 h`, `2 d ago`. */
export function when(time: string, nowMs: number): Markup {
  const ms = Date.parse(time) - nowMs;
  const span = spanOf(Math.abs(ms));
  return html`<time datetime="${time}" title="${exact(time)}">${ms >= 0 ? `in ${span}` : `${span} ago`}</time>`;
}

/** `2026-11-21 05:00:07Z`. */
export function exact(time: string): string {
  return `${time.slice(0, 19).replace("T", " ")}Z`;
}

/** The largest unit that there is at least two of: `90 min`, `3 d`. */
export function spanOf(ms: number): string {
  const [unit, size] = units.find(([, unitMs]) => ms >= 2 * unitMs) ?? ["s", 1000];
  return `${Math.floor(ms / size)} ${unit}`;
}

/** What somebody else wrote, with what is not seen, or turns the text around, written out. */
export function visible(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

/** A SPIFFE ID: what all of them begin with stands back. */
export function identity(spiffeId: string): Markup {
  const [, scheme = "", path = ""] = /^(spiffe:\/\/[^/]*)(.*)$/.exec(visible(spiffeId)) ?? [undefined, "", visible(spiffeId)];
  return html`<span class="id"><span class="soft">${scheme}</span>${path}</span>`;
}

/** A table that becomes a list of cards where it is narrow; its roles are written down, since a browser forgets them then. */
export function table(caption: string, columns: readonly string[], rows: readonly (readonly (Markup | string)[])[]): Markup {
  return html`<table role="table"><caption>${caption}</caption>
<thead role="rowgroup"><tr role="row">${columns.map((column) => html`<th role="columnheader" scope="col">${column}</th>`)}</tr></thead>
<tbody role="rowgroup">${rows.map((cells) => html`<tr role="row">${cells.map((cell, index) =>
    html`<td role="cell" data-label="${columns[index] ?? ""}"><div>${cell}</div></td>`)}</tr>`)}</tbody></table>`;
}

/** A part of a page under a heading of its own. @param id of the heading */
export function card(id: string, heading: string, ...body: readonly (Markup | string)[]): Markup {
  return html`<section class="card" aria-labelledby="${id}"><h2 id="${id}">${heading}</h2>${body}</section>`;
}

/** `1 proxy`, `3 proxies`. */
export function count(amount: number, one: string, many = `${one}s`): string {
  return `${amount.toLocaleString("en")} ${amount === 1 ? one : many}`;
}

const signs: Readonly<Record<Exclude<Tone, "plain">, string>> = { ok: "√", warning: "‼", failed: "×" };
const units: readonly (readonly [string, number])[] = [["years", 365 * 86_400_000], ["d", 86_400_000], ["h", 3_600_000], ["min", 60_000]];
