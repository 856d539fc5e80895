import { html } from "hono/html";
import { paths } from "../contract/paths.ts";
import type { Policy, PolicyList, PolicyRule } from "../contract/policies.ts";
import type { PolicyReason, PolicyTest, PolicyTestResult } from "../contract/policy-decisions.ts";
import type { ServiceList } from "../contract/services.ts";
import { AskError, type Ask } from "./ask.ts";
import { card, chip, identity, table, when, type Markup } from "./marks.ts";
import type { Page } from "./page.ts";

/** Who may call whom: the policies in words, and what they would decide. */
export const policiesPage: Page = {
  path: "/ui/policies",
  section: "/ui/policies",
  async show({ ask, nowMs, query }) {
    const { policies } = await ask.call<PolicyList>("GET", paths.policies);
    const { services } = await ask.call<ServiceList>("GET", paths.services);
    return {
      title: "Policies",
      body: html`${card("try-heading", "Try", tryForm(query), query.has("to") ? html`<div id="decision" role="status">${await decide(ask, query)}</div>` : "")}
<div id="policies" data-part>${card("policies-heading", "Policies", policies.length === 0
        ? html`<p class="soft">There is none: whoever has an identity of this trust domain may call everybody in it.</p>`
        : html`<p class="soft">A deny goes before every allow. Where any policy selects a workload, what no rule allows is denied.</p>${policies.map((policy) => policyMarkup(policy, nowMs))}`)}</div>
<div id="services" data-part>${card("services-heading", "Services", services.length === 0 ? html`<p class="soft">There is none.</p>` : table("Which identity must answer to a name", ["Name", "Must be", "Where", "Changed"], services.map(({ name, port, spiffeId, addresses = [], changed }) => [
          port === undefined ? name : `${name}:${port}`, identity(spiffeId), addresses.map(({ host, port: at }) => `${host}:${at}`).join(", ") || "as DNS says", when(changed.changedAt, nowMs),
        ])))}</div>`,
    };
  },
};

function policyMarkup({ name, description, workloads, rules, changed, ...rest }: PolicyList["policies"][number], nowMs: number): Markup {
  const asWritten: Policy = { name, ...(description !== undefined && { description }), workloads, rules, ...rest };
  return html`<article aria-labelledby="policy-${name}"><h3 id="policy-${name}">${name}</h3>
${description === undefined ? "" : html`<p>${description}</p>`}
<p>For ${workloads.map((pattern, index) => html`${index > 0 ? " and " : ""}${identity(pattern)}`)}:</p>
<ul class="rules">${rules.map((rule) => html`<li>${ruleMarkup(rule)}</li>`)}</ul>
<p class="soft">Changed ${when(changed.changedAt, nowMs)} by <span class="mono">${changed.changedBy}</span>.</p>
<details id="json-${name}"><summary>As it was written</summary><pre tabindex="0">${JSON.stringify(asWritten, undefined, 2)}</pre></details></article>`;
}

/** A rule as a sentence. */
function ruleMarkup({ name, action, from, ports, methods, paths: patterns, grpc }: PolicyRule): Markup {
  const what = [
    methods && `with ${methods.join(" or ")}`, patterns && `on ${patterns.join(" or ")}`, grpc && `of gRPC ${grpc.join(" or ")}`, ports && `at port ${ports.join(" or ")}`,
  ].filter((part) => part !== undefined);
  return html`${chip(action === "allow" ? "ok" : action === "deny" ? "failed" : "plain", action)} ${from.map((pattern, index) => html`${index > 0 ? " or " : ""}${pattern === "*" ? "everybody" : identity(pattern)}`)}
${what.length === 0 ? "whatever it asks" : what.join(", ")}${name === undefined ? "" : html` <span class="soft">(${name})</span>`}`;
}

function tryForm(query: URLSearchParams): Markup {
  const field = (name: string, label: string, hint: string, required = false): Markup => html`<div><label for="${name}">${label}</label>
<input id="${name}" name="${name}" value="${query.get(name) ?? ""}" placeholder="${hint}" spellcheck="false" autocapitalize="none"${required ? html` required` : ""}></div>`;
  return html`<p class="soft">What a proxy would decide, by the code that the proxies run. Without method and path it is a connection that is not HTTP.</p>
<form class="fields" method="get" action="/ui/policies">${field("from", "Client's SPIFFE ID", "spiffe://east/ns/shop/sa/web", true)}${field("to", "Server's SPIFFE ID", "spiffe://east/ns/shop/sa/cart", true)}
${field("port", "Port of its app", "8080")}${field("method", "Method", "GET")}${field("path", "Path", "/items/1")}<div><button>Try</button></div></form>`;
}

async function decide(ask: Ask, query: URLSearchParams): Promise<Markup> {
  const given = (name: string): string | undefined => (query.get(name) ?? "").trim() || undefined;
  const [port, method, path] = [given("port"), given("method"), given("path")];
  const question: PolicyTest = {
    from: given("from") ?? "", to: given("to") ?? "", ...(port !== undefined && { port: Number(port) }), ...(method !== undefined && { method: method.toUpperCase() }), ...(path !== undefined && { path }),
  };
  try {
    const { action, rule, reason, audit, policies } = await ask.call<PolicyTestResult>("POST", paths.policyTest, question);
    return html`<p>${chip(action === "allow" ? "ok" : "failed", action === "allow" ? "allowed" : "denied")} ${reasons[reason]}${rule === undefined ? "" : html` <code>${rule}</code>`}.</p>
<p class="soft">${policies.length === 0 ? "No policy selects the server." : `Policies that select the server: ${policies.join(", ")}.`}${audit.length === 0 ? "" : ` It would be logged by ${audit.join(", ")}.`}</p>`;
  } catch (error) {
    if (error instanceof AskError && error.status < 500) return html`<p class="note failed">${error.message}</p>`;
    throw error;
  }
}

const reasons: Readonly<Record<PolicyReason, string>> = {
  rule_allowed: "by the rule", rule_denied: "by the rule", path_ambiguous: "since servers read this path differently, by the rule", not_http: "since it cannot be looked into, by the rule",
  no_rule_allows: "since a policy selects the server and no rule allows it", mesh_default: "since no policy selects the server and the client is of its trust domain",
  foreign: "since no policy selects the server and the client is of another trust domain", unauthenticated: "since the client has no identity",
};
