import { html } from "hono/html";
import packageJson from "../../package.json" with { type: "json" };
import { linkOf } from "../check/catalogue.ts";
import { verdictOf, type Finding } from "../check/finding.ts";
import { gatherFacts } from "../check/gather.ts";
import { judge } from "../check/judge.ts";
import type { CheckFacts } from "../check/facts.ts";
import type { EdgeList } from "../contract/edges.ts";
import { paths } from "../contract/paths.ts";
import { recentActs } from "./activity.ts";
import { ratesChart } from "./chart.ts";
import { card, chip, count, identity, table, when, type Markup } from "./marks.ts";
import type { Page } from "./page.ts";
import { replicasCard } from "./replicas.ts";

/** Whether trust is well, at a glance. @param verifierKey of the audit log */
export function overviewPage(verifierKey: () => Promise<string | undefined>): Page {
  const recent = recentActs();
  return {
    path: "/ui",
    section: "/ui",
    async show({ ask, nowMs }) {
      const kept = { verifierKey: await verifierKey(), notes: [] };
      const facts = await gatherFacts(ask, { kept, version: packageJson.version, now: () => nowMs });
      const findings = judge(facts);
      const edges = await ask.maybe<EdgeList>(`${paths.edges}?limit=1`);
      const acts = await recent(ask, nowMs);
      return {
        title: "Overview",
        body: html`<div id="check" data-part>${verdict(findings)}</div>
<div class="cards">
<div id="tiles" data-part>${tiles(facts, edges, acts?.size)}</div>
<div class="half" id="ending" data-part>${card("ending-heading", "What ends next", endings(facts, nowMs))}</div>
<div class="half" id="rates" data-part>${card("rates-heading", "Issued and denied", acts === undefined ? notForYou("the audit log") : ratesChart(acts.acts, nowMs, acts.whole),
          acts?.whole === false ? html`<p class="soft">Only the newest ${count(acts.acts.length, "act")} are counted.</p>` : "")}</div>
<div id="replicas" data-part>${facts.vitals === undefined ? "" : replicasCard(facts.vitals, nowMs)}</div>
<div id="findings" data-part>${card("findings-heading", "All that was checked", allFindings(findings))}</div>
</div>`,
      };
    },
  };
}

function verdict(findings: readonly Finding[]): Markup {
  const status = verdictOf(findings);
  const bad = [...findings.filter((one) => one.status === "failed"), ...findings.filter((one) => one.status === "warning")];
  return html`<div class="verdict ${status}"><span class="sign" aria-hidden="true">${signs[status]}</span>
<p><strong>${verdicts[status]}</strong> ${count(findings.length - bad.length, "check")} of ${findings.length} passed.</p></div>
${bad.length === 0 ? "" : card("trouble-heading", "What is not well", list(bad))}`;
}

/** The words of a check are of how it should be. */
function list(findings: readonly Finding[]): Markup {
  return html`<ul class="findings">${findings.map(({ status, name, hint, check }) => html`<li>
<span class="sign ${status}" aria-hidden="true">${signs[status]}</span><span><span class="hidden">${words[status]}: </span>${status === "ok" ? "" : html`<span class="soft">not so: </span>`}${name}</span>
${hint === undefined ? "" : html`<span class="hint">${hint} <a class="soft" href="${linkOf(check, "/docs")}">${check}</a></span>`}</li>`)}</ul>`;
}

function allFindings(findings: readonly Finding[]): Markup {
  const categories = [...new Set(findings.map(({ category }) => category))];
  return html`<details id="all-findings"><summary>${count(findings.length, "line")}, as countersign check has them</summary>
${categories.map((category) => html`<h3>${category}</h3>${list(findings.filter((one) => one.category === category))}`)}</details>`;
}

function tiles({ proxies, authorities, vitals }: CheckFacts, edges: EdgeList | undefined, entries: number | undefined): Markup {
  const signing = authorities.filter(({ state, type }) => state === "active" && type !== "jwt").length;
  const { total = 0, unsecured = 0 } = edges ?? {};
  const shown: readonly (readonly [string, string, Markup | string] | undefined)[] = [
    proxies && ["Proxies", `${number(proxies.proxies.length)}${proxies.truncated ? "+" : ""}`, "reported lately"],
    edges && ["Edges secured", `${number(total - unsecured)} / ${number(total)}${edges.truncated ? "+" : ""}`, total === 0 ? "none reported lately" : unsecured === 0 ? "all by mutual TLS" : chip("warning", `${number(unsecured)} not`)],
    ["Authorities", number(signing), "active"],
    entries === undefined ? undefined : ["Audit log", number(entries), "entries"],
    vitals && ["Store", vitals.store.kind, `answers in ${vitals.store.answeredInMs.toFixed(1)} ms`],
  ];
  return html`<dl class="tiles">${shown.map((tile) => tile && html`<div><dt>${tile[0]}</dt><dd>${tile[1]}<small>${tile[2]}</small></dd></div>`)}</dl>`;
}

/** Whatever is in use and has an end, the nearest first. */
function endings({ authorities, proxies, vitals, tokens }: CheckFacts, nowMs: number): Markup {
  const all: { readonly what: Markup | string; readonly kind: string; readonly end: string }[] = [
    ...authorities.filter(({ state }) => state === "active" || state === "retiring").map(({ type, id, notAfter }) => ({ kind: type, what: html`<span class="id">${id.slice(0, 12)}</span>`, end: notAfter })),
    // They would fill it: each ends within a day.
    ...[...(proxies?.proxies ?? [])].sort((a, b) => (a.notAfter < b.notAfter ? -1 : 1)).slice(0, maxProxyEndings)
      .map(({ spiffeId, serialNumber, notAfter }) => ({ kind: "proxy", what: html`<a href="/ui/certificates/${serialNumber}">${identity(spiffeId)}</a>`, end: notAfter })),
    ...(vitals?.crls ?? []).map(({ authorityId, list: name, nextUpdate }) => ({ kind: "CRL", what: html`<span class="id">${authorityId.slice(0, 12)} ${name}</span>`, end: nextUpdate })),
    ...(tokens ?? []).flatMap(({ name, id, type, expiresAt }) => (type === "api" && expiresAt !== undefined ? [{ kind: "API token", what: name ?? id, end: expiresAt }] : [])),
  ];
  const next = all.filter(({ end }) => Date.parse(end) > nowMs).sort((a, b) => Date.parse(a.end) - Date.parse(b.end)).slice(0, maxEndings);
  if (next.length === 0) return html`<p class="soft">Nothing that is in use has an end.</p>`;
  return table("Of what is in use, the nearest first, and of proxies three; most of it is replaced long before.", ["What", "Which", "Ends"], next.map(({ kind, what, end }) => [kind, what, when(end, nowMs)]));
}

function notForYou(what: string): Markup {
  return html`<p class="soft">Your role may not read ${what}.</p>`;
}

const number = (value: number): string => value.toLocaleString("en");
const maxEndings = 8;
const maxProxyEndings = 3;
const signs = { ok: "√", warning: "‼", failed: "×" } as const;
const words = { ok: "well", warning: "warning", failed: "failed" } as const;
const verdicts = { ok: "All is well.", warning: "It works, but not all is well.", failed: "Something is wrong." } as const;

