import { html, raw } from "hono/html";
import type { Act } from "./activity.ts";
import { count, type Markup } from "./marks.ts";

interface Minute {
  issued: number;
  denied: number;
}

/** Acts per minute of the last hour, as columns: what was issued stands below, what was denied on top. @param whole false: there was more than `acts` */
export function ratesChart(acts: readonly Act[], nowMs: number, whole = true): Markup {
  const minutes: Minute[] = Array.from({ length: minutesShown }, () => ({ issued: 0, denied: 0 }));
  for (const { timeMs, event: { type } } of acts) {
    const minute = minutes[minutesShown - 1 - Math.floor((nowMs - timeMs) / 60_000)];
    if (minute === undefined) continue;
    if (issuedTypes.has(type)) minute.issued += 1;
    else if (deniedTypes.has(type)) minute.denied += 1;
  }
  const total = (kind: keyof Minute): number => minutes.reduce((sum, minute) => sum + minute[kind], 0);
  const highest = Math.max(4, ...minutes.map(({ issued, denied }) => issued + denied));
  const text = `${whole ? "" : "At least "}${count(total("issued"), "certificate or token", "certificates and tokens")} issued and ${count(total("denied"), "request")} denied within the last hour`;
  return html`<p>${text}.</p>
<svg class="chart" height="${height + 18}" role="img" aria-label="${text}, per minute; at most ${highest} in one.">
<line class="grid" x1="0" x2="100%" y1="0.5" y2="0.5"/><line class="axis" x1="0" x2="100%" y1="${height}" y2="${height}"/>
${minutes.map(({ issued, denied }, index) => [column(index, 0, issued, highest, "bar"), column(index, issued, denied, highest, "failed")])}
<text x="0" y="${height + 14}">1 h ago</text><text x="100%" y="${height + 14}" text-anchor="end">now</text><text x="0" y="11">${highest} / min</text>
</svg>
<ul class="legend"><li>${swatch("bar")}issued</li><li>${swatch("failed")}denied</li></ul>`;
}

function column(index: number, below: number, amount: number, highest: number, fill: string): Markup | string {
  if (amount === 0) return "";
  const [bottom, top] = [below, below + amount].map((value) => height - (value / highest) * (height - 14)) as [number, number];
  return html`<rect class="fill-${fill}" x="${percent(index / minutesShown)}" width="${percent(0.78 / minutesShown)}" y="${top.toFixed(1)}" height="${(bottom - top).toFixed(1)}"/>`;
}

/** A square of a colour, for a legend. */
function swatch(fill: string): Markup {
  return html`${raw(`<svg width="10" height="10" aria-hidden="true"><rect class="fill-${fill}" width="10" height="10" rx="2"/></svg>`)}`;
}

/** A share of the picture's width: it then has any width. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(2)}%`;
}

const issuedTypes: ReadonlySet<string> = new Set(["certificate.issued", "jwt-svid.issued"]);
const deniedTypes: ReadonlySet<string> = new Set(["certificate.denied", "request.denied"]);
const minutesShown = 60;
const height = 96;
