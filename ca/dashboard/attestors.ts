import { html } from "hono/html";
import type { AttestorVitals, Vitals } from "../contract/vitals.ts";
import { card, chip, table, when, type Markup } from "./marks.ts";

/** Who else vouches for workloads, and whether each can now; nothing where there is none, or the role may not read it. */
export function attestorsCard(vitals: Vitals | undefined, nowMs: number): Markup | string {
  const attestors = vitals?.attestors ?? [];
  if (attestors.length === 0) return "";
  return card("attestors-heading", "Who vouches for workloads", table("Besides operators and join tokens, as this replica reaches them", ["Attestor", "Type", "State"],
    attestors.map((one) => [one.name, one.type, stateOf(one, nowMs)])));
}

function stateOf({ trouble, vouches, notAfter }: AttestorVitals, nowMs: number): Markup {
  if (trouble !== undefined) return html`${vouches ? chip("warning", "by keys of before") : chip("failed", "vouches for nobody")}<br><span class="soft">${trouble}</span>`;
  if (notAfter === undefined) return chip("ok", "vouches");
  const isOver = Date.parse(notAfter) <= nowMs;
  return html`${isOver ? chip("failed", "vouches for nobody") : chip("ok", "vouches")} <span class="soft">the last of its anchors ${isOver ? "ended" : "ends"} ${when(notAfter, nowMs)}</span>`;
}
