import { html } from "hono/html";
import type { AuthorityList, AuthorityState, AuthoritySummary } from "../contract/authorities.ts";
import { paths } from "../contract/paths.ts";
import type { ProxyList } from "../contract/proxies.ts";
import type { Vitals } from "../contract/vitals.ts";
import type { WorkloadList } from "../contract/workloads.ts";
import { attestorsCard } from "./attestors.ts";
import { keyPlaces, keyPlacesCard } from "./key-places.ts";
import { card, chip, count, identity, spanOf, table, when, type Markup, type Tone } from "./marks.ts";
import type { Page } from "./page.ts";
import { axisBar, axisHead } from "./time-axis.ts";

/** Whom everybody trusts, what is below it, how long all of it lives, and who holds a rotation back. */
export const trustPage: Page = {
  path: "/ui/trust",
  section: "/ui/trust",
  async show({ ask, nowMs }) {
    const { authorities } = await ask.call<AuthorityList>("GET", paths.authorities);
    const holders = await ask.maybe<WorkloadList>(`${paths.workloads}?limit=1`);
    const vitals = await ask.maybe<Vitals>(paths.vitals);
    const present = authorities.filter(({ state }) => !isOver(state));
    const former = authorities.filter(({ state }) => isOver(state));
    const issuers = present.filter(({ type }) => type === "issuer");
    const holding = new Map(await Promise.all(issuers.map(async ({ id }) => [id, await ask.maybe<ProxyList>(`${paths.proxies}?authorityId=${id}&limit=${maxHolders}`)] as const)));
    const jwtKeys = present.filter(({ type }) => type === "jwt");
    return {
      title: "Trust",
      body: html`<div id="rotation" data-part>${rotation(present, holders?.total, nowMs)}</div>
<div id="tree" data-part>${card("tree-heading", "From roots to workloads", html`<p class="soft">Bars are validity; now is in the middle, and what is far away is drawn closer together. Of each issuer those proxies that end first are shown.</p>`,
        html`<ol class="tree"><li class="ticks" aria-hidden="true"><span></span>${axisHead()}</li>${present.filter(({ type }) => type === "root").flatMap((root) => branch(root, 0, present, holding, nowMs))}</ol>`)}</div>
<div id="keys" data-part>${jwtKeys.length === 0 ? "" : card("keys-heading", "Keys of JWT-SVIDs", html`<ol class="tree">${jwtKeys.map((key) => authorityRow(key, 0, "", nowMs))}</ol>`)}</div>
<div id="key-places" data-part>${keyPlacesCard(vitals, present)}</div>
<div id="attestors" data-part>${attestorsCard(vitals, nowMs)}</div>
<div id="roots" data-part>${card("roots-heading", "Fingerprints of the roots", table("SHA-256 of each root in the bundle, to compare with what others hold", ["Root", "State", "Fingerprint"],
          present.filter(({ type }) => type === "root").map(({ id, state, fingerprint }) => [html`<span class="mono">${id.slice(0, 12)}</span>`, stateChip(state), html`<span class="mono">${fingerprint}</span>`])))}</div>
${former.length === 0 ? "" : html`<div id="former" data-part>${card("former-heading", "Former", html`<details id="former-list"><summary>${count(former.length, "authority", "authorities")} that sign nothing any more</summary><ol class="tree">${former.map((one) => authorityRow(one, 0, "", nowMs))}</ol></details>`)}</div>`}`,
    };
  },
};

function rotation(authorities: readonly AuthoritySummary[], holders: number | undefined, nowMs: number): Markup {
  const waiting = authorities.filter(({ state, waitsFor }) => state === "prepared" && waitsFor !== undefined);
  const tainted = authorities.filter(({ state }) => state === "tainted");
  if (waiting.length === 0 && tainted.length === 0) {
    const root = authorities.find(({ type, state }) => type === "root" && state === "active");
    return card("rotation-heading", "Rotation", html`<p>Nothing is being replaced. The root ends ${root === undefined ? "" : when(root.notAfter, nowMs)}, ${root?.key === "upstream" ? "and its successor comes from the CA above" : "and its successor is prepared at 80 % of its life"}.</p>`);
  }
  return card("rotation-heading", "Rotation", html`${tainted.map(({ type, id }) => html`<p>${chip("failed", "tainted")} The ${type} <span class="mono">${id.slice(0, 12)}</span> was replaced; whoever has something from it renews now.
When all have: <code>countersign authority revoke ${id.slice(0, 12)}</code></p>`)}${waiting.map((one) => progress(one, holders, nowMs))}`);
}

function progress({ type, id, waitsFor, activateAt }: AuthoritySummary, holders: number | undefined, nowMs: number): Markup {
  const { count: missing = 0, holders: named = [] } = waitsFor ?? {};
  const all = Math.max(holders ?? missing, missing);
  const having = all - missing;
  return html`<p>The next ${type} <span class="mono">${id.slice(0, 12)}</span> is published and signs nothing yet. ${missing === 0
    ? html`${chip("ok", "everybody trusts it")} It takes over ${activateAt === undefined ? "at 90 % of the present one's life" : when(activateAt, nowMs)}, or now: <code>countersign authority activate ${id.slice(0, 12)}</code>`
    : html`It does not take over before everybody trusts it.`}</p>
<p><label for="progress-${id.slice(0, 12)}">${having} of ${count(all, "holder")} trust it</label>
<progress id="progress-${id.slice(0, 12)}" max="${Math.max(1, all)}" value="${all === 0 ? 1 : having}"></progress></p>
${missing === 0 ? "" : table(`Held back by ${count(missing, "holder")}${missing > named.length ? `, of whom ${named.length} are named` : ""}: they do not hold the bundle that has it`, ["Workload", "Certificate", "Holds bundle", "Its certificate ends"],
    named.map(({ spiffeId, serialNumber, acknowledgedSequence, notAfter }) => [
      identity(spiffeId), html`<a class="mono" href="/ui/certificates/${serialNumber}">${serialNumber.slice(0, 16)}</a>`, acknowledgedSequence === "0" ? "none" : acknowledgedSequence, when(notAfter, nowMs),
    ]))}`;
}

/** An authority, then all that is below it. */
function branch(authority: AuthoritySummary, depth: number, all: readonly AuthoritySummary[], holding: ReadonlyMap<string, ProxyList | undefined>, nowMs: number): readonly Markup[] {
  if (depth >= maxDepth) return [];
  const { id, type, state } = authority;
  const isFirstRoot = type === "root" && state === "active";
  const below = all.filter((other) => other.type !== "root" && other.type !== "jwt" && (other.parentId === id || (other.parentId === undefined && isFirstRoot)));
  const { proxies, total } = holding.get(id) ?? { proxies: [], total: 0 };
  const above = type === "root" ? "" : `below ${authority.parentId?.slice(0, 12) ?? "the root"}`;
  return [
    authorityRow(authority, depth, above, nowMs),
    ...below.flatMap((one) => branch(one, depth + 1, all, holding, nowMs)),
    ...proxies.map((proxy) => html`<li><div class="what d${depth + 1}"><a href="/ui/certificates/${proxy.serialNumber}">${identity(proxy.spiffeId)}</a><span class="hidden"> below ${id.slice(0, 12)}</span></div>${axisBar(proxy, nowMs, "bar")}</li>`),
    ...(total > proxies.length ? [html`<li><div class="what d${depth + 1}"><a href="/ui/workloads">and ${count(total - proxies.length, "more proxy", "more proxies")}</a></div><span></span></li>`] : []),
  ];
}

function authorityRow(authority: AuthoritySummary, depth: number, above: string, nowMs: number): Markup {
  const { id, type, state, key, notAfter, keyAlgorithm } = authority;
  const leftMs = Date.parse(notAfter) - nowMs;
  return html`<li><div class="what d${depth}"><strong>${type}</strong> <span class="mono">${id.slice(0, 12)}</span> ${stateChip(state)}
<span class="hidden">${above}</span><span class="soft small">${keyAlgorithm}, key: ${keyPlaces[key]}, ${leftMs >= 0 ? `${spanOf(leftMs)} left` : "ended"}</span></div>${axisBar(authority, nowMs, barTones[state])}</li>`;
}

function stateChip(state: AuthorityState): Markup {
  return chip(stateTones[state], state);
}

const isOver = (state: AuthorityState): boolean => state === "retired" || state === "revoked";
const stateTones: Readonly<Record<AuthorityState, Tone>> = { prepared: "plain", active: "ok", retiring: "plain", retired: "plain", tainted: "failed", revoked: "failed" };
const barTones: Readonly<Record<AuthorityState, string>> = { prepared: "bar", active: "ok", retiring: "bar", retired: "bar", tainted: "failed", revoked: "failed" };
/** Root, intermediate, issuer. */
const maxDepth = 3;
const maxHolders = 8;
