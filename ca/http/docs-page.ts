import { html, raw } from "hono/html";
import { createHash } from "node:crypto";
import { explainedChecks } from "../check/reference.ts";
import type { Answer } from "./answer.ts";
import { inline, markSchema, markType, paragraphs, property, type ApiSchema, type Markup } from "./docs-schema.ts";
import { docsStyle } from "./docs-style.ts";

/** What this page reads of an OpenAPI document; more may be in it. */
export interface ApiDocument {
  readonly info: { readonly title: string; readonly description: string };
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, ApiOperation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, ApiSchema>> };
}

interface ApiOperation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description: string;
  readonly security: readonly Readonly<Record<string, unknown>>[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly schema: ApiSchema;
    readonly description?: string;
  }[];
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: ApiSchema; readonly example?: unknown }>>;
  };
  readonly responses: Readonly<
    Record<
      string,
      { readonly description: string; readonly content?: Readonly<Record<string, { readonly schema: ApiSchema }>> }
    >
  >;
}

interface Endpoint extends ApiOperation {
  readonly method: string;
  readonly path: string;
}

/** The API's page: no script, nothing loaded, and a policy that allows nothing but its own style. */
export async function renderDocs(document: ApiDocument): Promise<Answer> {
  const endpoints = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): Endpoint => ({
      ...operation,
      method: method.toUpperCase(),
      path,
    })),
  );
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${document.info.title}</title>
<style>${raw(docsStyle)}</style>
</head>
<body>
<header><h1>${document.info.title}</h1>${paragraphs(document.info.description)}</header>
<div class="columns">
<nav aria-label="Operations">${document.tags.map(({ name }) => navigation(name, endpoints))}
<h2><a href="#checks">countersign check</a></h2>
<h2><a href="#schemas">schemas</a></h2></nav>
<main>
${gettingStarted()}
${document.tags.map((tag) => section(tag, endpoints))}
${checks()}
<section><h2 id="schemas">schemas</h2>${Object.entries(document.components.schemas).map(schemaCard)}</section>
</main>
</div>
</body>
</html>`;
  return { status: 200, body: String(await page), contentType: "text/html; charset=utf-8", headers: pageHeaders };
}

function gettingStarted(): Markup {
  return html`<section><h2 id="start">getting started</h2>
<p>The lines below work in a shell on the CA's own machine, in the folder it was started in:</p>
<pre tabindex="0">export CA=https://127.0.0.1:8443
export CURL_CA_BUNDLE=.countersign/root.pem
export TOKEN=$(cat .countersign/admin-token)</pre>
<p>Every refusal is a problem document (RFC 9457): <code>code</code> is stable, <code>detail</code> says what to do
next. Every answer names its request in <code>x-request-id</code>. The same as a document for programs:
<a href="/openapi.json">openapi.json</a>.</p></section>`;
}

function navigation(tag: string, endpoints: readonly Endpoint[]): Markup {
  const links = endpoints
    .filter(({ tags }) => tags.includes(tag))
    .map(({ operationId, summary }) => html`<li><a href="#${operationId}">${summary}</a></li>`);
  return html`<h2><a href="#${tag}">${tag}</a></h2><ul>${links}</ul>`;
}

function section({ name, description }: ApiDocument["tags"][number], endpoints: readonly Endpoint[]): Markup {
  const cards = endpoints.filter(({ tags }) => tags.includes(name)).map(card);
  return html`<section><h2 id="${name}">${name}</h2><p>${description}</p>${cards}</section>`;
}

/** What each line of the command leads to. */
function checks(): Markup {
  const rows = explainedChecks().map(({ id, category, holds, from, remedy }) => (
    html`<tr id="check-${id}"><th scope="row"><a href="#check-${id}"><code>${id}</code></a></th><td>${category}</td><td>${holds}</td><td>${from}</td><td>${remedy}</td></tr>`
  ));
  return html`<section><h2 id="checks">countersign check</h2>
<p>What <code>countersign check</code> and the dashboard look at: what must hold, from when on
a line has a ‼ or ×, and what to do then.</p>
<table><thead><tr><th scope="col">check</th><th scope="col">category</th><th scope="col">what must hold</th><th scope="col">from when</th><th scope="col">what to do</th></tr></thead>
<tbody>${rows}</tbody></table></section>`;
}

function card(endpoint: Endpoint): Markup {
  const { operationId, method, path, summary, description, parameters = [], requestBody, responses } = endpoint;
  const body = Object.values(requestBody?.content ?? {})[0];
  const statuses = Object.keys(responses).map((status) => html`${markStatus(status)} `);
  return html`<article id="${operationId}">
<h3><a href="#${operationId}">${summary}</a></h3>
<p class="line"><span class="method ${method.toLowerCase()}">${method}</span> <code>${path}</code>
<span class="access">${accessOf(endpoint)}</span></p>
${paragraphs(description)}
${parameters.length > 0 ? parameterTable(parameters) : ""}
${body ? html`<p>Body: ${markType(body.schema)}</p>` : ""}
<pre tabindex="0">${curl(endpoint, body?.example)}</pre>
<details><summary>answers: ${statuses}</summary>
<table><tbody>${Object.entries(responses).map(answerRow)}</tbody></table></details>
</article>`;
}

function parameterTable(parameters: NonNullable<ApiOperation["parameters"]>): Markup {
  const rows = parameters.map(({ name, in: place, required, schema, description }) =>
    property(name, { description, ...schema }, html`, ${place}${required ? ", required" : ""}`));
  return html`<table><caption>parameters</caption><tbody>${rows}</tbody></table>`;
}

function answerRow([status, { description, content = {} }]: [string, ApiOperation["responses"][string]]): Markup {
  const lines = description.split("\n").map((line) => html`<div>${inline(line)}</div>`);
  const types = Object.entries(content).map(([type, { schema }]) =>
    html`<div><code>${type}</code>${schema.$ref ?? schema.anyOf ? html`: ${markType(schema)}` : ""}</div>`);
  return html`<tr><th scope="row">${markStatus(status)}</th><td>${lines}<div class="types">${types}</div></td></tr>`;
}

function markStatus(status: string): Markup {
  return html`<b class="s${status[0]}">${status}</b>`;
}

function schemaCard([name, schema]: readonly [string, ApiSchema]): Markup {
  return html`<article id="schema-${name}"><h3><a href="#schema-${name}">${name}</a></h3>
${schema.description ? paragraphs(schema.description) : ""}${markSchema(schema)}</article>`;
}

function accessOf({ security }: Endpoint): string {
  if (security.length === 0) return "public";
  return security.some((one) => Object.keys(one).length === 0) ? "attestation, or an API token" : "API token";
}

function curl({ method, path, security }: Endpoint, example: unknown): string {
  const url = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => `$${name.toUpperCase()}`);
  const token = security.length > 0 ? ' \\\n  -H "authorization: Bearer $TOKEN"' : "";
  if (example === undefined) return `curl ${method === "GET" ? "" : `-X ${method} `}"$CA${url}"${token}`;
  return `curl "$CA${url}"${token} \\\n  --json '${JSON.stringify(example, null, 2).replaceAll("\n", "\n  ")}'`;
}

const styleHash = createHash("sha256").update(docsStyle).digest("base64");
const pageHeaders = {
  "cache-control": "no-cache",
  "content-security-policy":
    `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; ` +
    "frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
};
