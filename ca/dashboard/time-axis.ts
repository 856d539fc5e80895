import { html } from "hono/html";
import { exact, spanOf, type Markup } from "./marks.ts";
import { percent } from "./chart.ts";

/** What lives for a while. */
export interface Life {
  readonly notBefore: string;
  readonly notAfter: string;
}

/** How much of one life has passed, as a bar from its begin to its end. */
export function lifeBar({ notBefore, notAfter }: Life, nowMs: number): Markup {
  const [begin, end] = [Date.parse(notBefore), Date.parse(notAfter)];
  const passed = Math.min(1, Math.max(0, (nowMs - begin) / (end - begin)));
  return html`<svg class="chart life" height="10" role="img" aria-label="${Math.round(passed * 100)} % of its life has passed">
<rect class="rest" width="100%" height="10" rx="5"/><rect class="fill-bar" width="${percent(passed)}" height="10" rx="5"/></svg>`;
}

/**
 * One life on the axis that all of a page share: now is in the middle, and the further away, the closer together, so that ten years and an
 * hour are both to be seen.
 */
export function axisBar({ notBefore, notAfter }: Life, nowMs: number, tone: string): Markup {
  const [begin, end] = [Date.parse(notBefore) - nowMs, Date.parse(notAfter) - nowMs];
  const [left, right] = [placeOf(begin), placeOf(end)];
  const label = `from ${exact(notBefore)} to ${exact(notAfter)}, ${end >= 0 ? `${spanOf(end)} left` : `ended ${spanOf(-end)} ago`}`;
  return html`<svg class="chart" height="22" role="img" aria-label="${label}"><title>${label}</title>
${ticks.map(([, ms]) => html`<line class="${ms === 0 ? "now" : "grid"}" x1="${percent(placeOf(ms))}" x2="${percent(placeOf(ms))}" y1="0" y2="22"/>`)}
<rect class="fill-${tone}" x="${percent(left)}" width="${percent(Math.max(0.004, right - left))}" y="6" height="10" rx="3"/></svg>`;
}

/** The words of the axis, above its bars. */
export function axisHead(): Markup {
  return html`<svg class="chart axis-head" height="18" aria-hidden="true">
${ticks.filter(([name]) => name !== "").map(([name, ms, always]) => html`<text x="${percent(placeOf(ms))}" y="13" text-anchor="${Math.abs(ms) < outermostMs ? "middle" : ms < 0 ? "start" : "end"}"${always === true ? "" : html` class="wide-only"`}>${name}</text>`)}</svg>`;
}

/** 0 to 1, now at 0.5. */
function placeOf(ms: number): number {
  const far = Math.log1p(Math.min(Math.abs(ms), outermostMs) / hourMs) / Math.log1p(outermostMs / hourMs);
  return 0.5 + (Math.sign(ms) * far) / 2;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const outermostMs = 10 * 365 * dayMs;
/** What is written at an instant, and whether also where it is narrow. */
const ticks: readonly (readonly [name: string, ms: number, always?: true])[] = [
  ["10 y ago", -outermostMs, true], ["1 y ago", -365 * dayMs], ["30 d ago", -30 * dayMs], ["1 d ago", -dayMs, true], ["", -hourMs], ["now", 0, true], ["", hourMs], ["in 1 d", dayMs, true],
  ["in 30 d", 30 * dayMs], ["in 1 y", 365 * dayMs], ["in 10 y", outermostMs, true],
];
