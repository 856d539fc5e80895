import { html } from "hono/html";
import type { AuthorityList } from "../contract/authorities.ts";
import type { FederationList, FederationSummary } from "../contract/federation.ts";
import { paths } from "../contract/paths.ts";
import { AskError } from "./ask.ts";
import { card, chip, count, exact, when, type Markup, type Tone } from "./marks.ts";
import type { Action, Page } from "./page.ts";

/** Other trust domains: how fresh what we have of them is, and the fingerprints to compare. */
export const federationPage: Page = {
  path: "/ui/federation",
  section: "/ui/federation",
  async show({ ask, nowMs, services, caller }) {
    const { federation } = await ask.call<FederationList>("GET", paths.federation);
    const { authorities } = await ask.call<AuthorityList>("GET", paths.authorities);
    const own = authorities.filter(({ type, state }) => type === "root" && state !== "retired" && state !== "revoked").map(({ fingerprint }) => fingerprint);
    const { trustDomain } = services;
    return {
      title: "Federation",
      body: html`<div id="map" data-part>${card("map-heading", "Map", map(trustDomain, federation, nowMs))}</div>
<div id="domains" data-part>${federation.map((one) => card(`domain-${one.trustDomain}`, one.trustDomain, domain(one, trustDomain, own, nowMs),
        caller.role === "admin" ? html`<form method="post" action="/ui/federation/${one.trustDomain}/refresh"><button class="quiet">Look for its bundle now</button></form>` : ""))}</div>`,
    };
  },
};

export const refreshAction: Action = {
  path: "/ui/federation/:trustDomain/refresh",
  section: "/ui/federation",
  async act({ ask, params }) {
    try {
      await ask.call("POST", `${paths.federation}/${encodeURIComponent(params["trustDomain"] ?? "")}/refresh`);
    } catch (error) {
      // That it failed, and why, is what the page shows.
      if (!(error instanceof AskError) || error.status !== badGateway) throw error;
    }
    return { to: "/ui/federation" };
  },
};

/** Our own trust domain, and a line to each of the others: whole where its bundle is fresh. */
function map(own: string, federation: readonly FederationSummary[], nowMs: number): Markup {
  if (federation.length === 0) {
    return html`<p class="soft">Only ${own} is believed here. Two CAs are joined by one string: <code>countersign federation invite</code> here, <code>countersign federation accept</code> there.</p>`;
  }
  const shown = federation.slice(0, maxDrawn);
  const height = Math.max(1, shown.length) * rowHeight;
  const middle = height / 2;
  const label = `${own} and ${count(federation.length, "trust domain")} that it believes`;
  return html`<svg class="chart" height="${height}" role="img" aria-label="${label}">
${shown.map((one, index) => {
    const { tone, word } = freshness(one, nowMs);
    const y = (index + 0.5) * rowHeight;
    return html`<g><title>${one.trustDomain}: ${word}</title><line class="edge ${tone === "ok" ? "secured" : "unsecured"}" x1="32%" x2="62%" y1="${middle}" y2="${y}"/>
<rect class="node" x="62%" y="${y - 18}" width="36%" height="36" rx="8"/><text class="name" x="80%" y="${y - 2}" text-anchor="middle">${shortened(one.trustDomain)}</text><text x="80%" y="${y + 12}" text-anchor="middle">${word}</text></g>`;
  })}
<rect class="node own" x="2%" y="${middle - 18}" width="30%" height="36" rx="8"/><text class="name" x="17%" y="${middle + 4}" text-anchor="middle">${shortened(own)}</text></svg>
${federation.length > maxDrawn ? html`<p class="soft">The first ${maxDrawn} of ${federation.length} are drawn.</p>` : ""}`;
}

function domain(one: FederationSummary, ownDomain: string, own: readonly string[], nowMs: number): Markup {
  const { profile, endpointUrl, addedAt, addedBy, bundle, refresh, acknowledged, trustDomain, hub } = one;
  const { tone, word } = freshness(one, nowMs);
  const rows: readonly (readonly [string, Markup | string])[] = [
    ["Bundle", html`${chip(tone, word)}${bundle === undefined ? "" : html` sequence ${bundle.sequence ?? "unknown"}, ${count(bundle.authorities.length, "root")}, changed ${when(bundle.changedAt, nowMs)}`}`],
    ["Last look", refresh === undefined ? "none yet" : html`${when(refresh.attemptedAt, nowMs)}${refresh.succeededAt === undefined ? "" : html`, last good one ${when(refresh.succeededAt, nowMs)}`}${refresh.error === undefined ? "" : html`<br><span class="failed-text">${refresh.error}</span>`}`],
    [`Roots of ${trustDomain}`, bundle === undefined ? "unknown" : html`<ul class="plain">${bundle.authorities.map(({ fingerprint, notAfter }) => html`<li class="mono">${fingerprint} <span class="soft">until ${exact(notAfter).slice(0, 10)}</span></li>`)}</ul>`],
    [`Roots of ${ownDomain}`, html`<ul class="plain">${own.map((fingerprint) => html`<li class="mono">${fingerprint}</li>`)}</ul>`],
    ["Holds of ours", acknowledged === undefined ? "it has not said" : html`bundle ${acknowledged.bundleSequence}, said ${when(acknowledged.at, nowMs)}`],
    ["Our audit log", witnessed(one, nowMs)],
    ["Endpoint", html`${endpointUrl} <span class="soft">(${profile})</span>`],
    ...(hub === undefined ? [] : [["Came by", html`the hub ${hub}`] as const]),
    ["Federated", html`${when(addedAt, nowMs)} by <span class="mono">${addedBy}</span>`],
  ];
  return html`<dl class="facts">${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
<p class="soft">Compare both with <code>countersign federation show</code> on the other side, by another way than the network between.</p>`;
}

/** How far its CA vouches that our log has one history. */
function witnessed({ witnessKey, cosigned }: FederationSummary, nowMs: number): Markup | string {
  if (witnessKey === undefined) return "its CA is no witness of it";
  if (cosigned?.contradicts === true) return html`${chip("failed", "another history")} ${cosigned.error ?? ""}`;
  if (cosigned?.at === undefined) return html`${chip("warning", "not cosigned yet")} ${cosigned?.error ?? ""}`;
  const text = html`up to entry ${cosigned.size.toLocaleString("en")}, ${when(cosigned.at, nowMs)}`;
  return cosigned.error === undefined ? html`${chip("ok", "cosigned")} ${text}` : html`${chip("warning", "cosigned before")} ${text}<br><span class="failed-text">${cosigned.error}</span>`;
}

/** A bundle is old when three looks in a row should have brought another one. */
function freshness({ bundle, refresh }: FederationSummary, nowMs: number): { readonly tone: Tone; readonly word: string } {
  if (bundle === undefined) return { tone: "failed", word: "none yet" };
  if (refresh === undefined) return { tone: "warning", word: "not looked for yet" };
  if (refresh.failures > 0) return { tone: "warning", word: `${count(refresh.failures, "look")} failed` };
  const lastMs = Date.parse(refresh.succeededAt ?? refresh.attemptedAt);
  return nowMs - lastMs > looksMissed * refresh.intervalSeconds * 1000 ? { tone: "warning", word: "old" } : { tone: "ok", word: "fresh" };
}

const shortened = (name: string): string => (name.length > maxNameLength ? `${name.slice(0, maxNameLength - 1)}…` : name);
/** The other side did not answer, or not with a bundle. */
const badGateway = 502;
const maxNameLength = 18;
const maxDrawn = 30;
const rowHeight = 52;
const looksMissed = 3;
