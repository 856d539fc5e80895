import { html, raw } from "hono/html";
import { createHash } from "node:crypto";
import type { Answer } from "./answer.ts";
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
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean; readonly schema: ApiSchema; readonly description?: string }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: ApiSchema; readonly example?: unknown }>> };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: Readonly<Record<string, { readonly schema: ApiSchema }>> }>>;
}

interface ApiSchema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly description?: string;
  readonly example?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly items?: ApiSchema;
  readonly properties?: Readonly<Record<string, ApiSchema>>;
  readonly required?: readonly string[];
  readonly oneOf?: readonly ApiSchema[];
  readonly anyOf?: readonly ApiSchema[];
  readonly allOf?: readonly ApiSchema[];
}

type Markup = ReturnType<typeof html>;

interface Endpoint extends ApiOperation {
  readonly method: string;
  readonly path: string;
}

/** The API's page: no script, nothing loaded, and a policy that allows nothing but its own style. */
export async function renderDocs(document: ApiDocument): Promise<Answer> {
  const endpoints = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): Endpoint => ({ ...operation, method: method.toUpperCase(), path })));
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
<h2><a href="#schemas">schemas</a></h2></nav>
<main>
${gettingStarted()}
${document.tags.map((tag) => section(tag, endpoints))}
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
<p>Every refusal is a problem document (RFC 9457): <code>code</code> is stable, <code>detail</code> says what to do next.
Every answer names its request in <code>x-request-id</code>. The same as a document for programs: <a href="/openapi.json">openapi.json</a>.</p></section>`;
}

function navigation(tag: string, endpoints: readonly Endpoint[]): Markup {
  return html`<h2><a href="#${tag}">${tag}</a></h2><ul>${endpoints.filter(({ tags }) => tags.includes(tag)).map(({ operationId, summary }) =>
    html`<li><a href="#${operationId}">${summary}</a></li>`)}</ul>`;
}

function section({ name, description }: ApiDocument["tags"][number], endpoints: readonly Endpoint[]): Markup {
  return html`<section><h2 id="${name}">${name}</h2><p>${description}</p>${endpoints.filter(({ tags }) => tags.includes(name)).map(card)}</section>`;
}

function card(endpoint: Endpoint): Markup {
  const { operationId, method, path, summary, description, parameters = [], requestBody, responses } = endpoint;
  const body = Object.values(requestBody?.content ?? {})[0];
  const statuses = Object.entries(responses);
  return html`<article id="${operationId}">
<h3><a href="#${operationId}">${summary}</a></h3>
<p class="line"><span class="method ${method.toLowerCase()}">${method}</span> <code>${path}</code> <span class="access">${accessOf(endpoint)}</span></p>
${paragraphs(description)}
${parameters.length > 0 ? html`<table><caption>parameters</caption><tbody>${parameters.map(({ name, in: place, required, schema, description: about }) =>
    row(name, html`${typeOf(schema)}, ${place}${required ? ", required" : ""}`, about ?? schema.description, schema.example))}</tbody></table>` : ""}
${body ? html`<p>Body: ${typeOf(body.schema)}</p>` : ""}
<pre tabindex="0">${curl(endpoint, body?.example)}</pre>
<details><summary>answers: ${statuses.map(([status]) => html`<b class="s${status[0]}">${status}</b> `)}</summary>
<table><tbody>${statuses.map(([status, response]) => html`<tr><th scope="row"><b class="s${status[0]}">${status}</b></th><td>${
    response.description.split("\n").map((line) => html`<div>${inline(line)}</div>`)}<div class="types">${contentOf(response.content)}</div></td></tr>`)}</tbody></table></details>
</article>`;
}

function schemaCard([name, schema]: readonly [string, ApiSchema]): Markup {
  return html`<article id="schema-${name}"><h3><a href="#schema-${name}">${name}</a></h3>${schema.description ? paragraphs(schema.description) : ""}${schemaBody(schema)}</article>`;
}

function schemaBody(schema: ApiSchema): Markup | string {
  const variants = schema.oneOf ?? schema.anyOf;
  if (variants) return html`${variants.map((variant, index) => html`<p class="or">${index === 0 ? "either" : "or"}</p>${schemaBody(variant)}`)}`;
  if (!schema.properties) return html`<p>${typeOf(schema)}</p>`;
  return html`<table><tbody>${Object.entries(schema.properties).map(([name, property]) =>
    row(name, html`${typeOf(property)}${schema.required?.includes(name) ? "" : ", optional"}`, property.description, property.example))}</tbody></table>`;
}

function row(name: string, type: Markup, about: string | undefined, example: unknown): Markup {
  return html`<tr><th scope="row"><code>${name}</code></th><td>${type}${about ? html`<div>${inline(about)}</div>` : ""}${
    example === undefined ? "" : html`<div class="example">e.g. <code>${typeof example === "string" ? example : JSON.stringify(example)}</code></div>`}</td></tr>`;
}

function typeOf(schema: ApiSchema): Markup | string {
  const name = schema.$ref?.split("/").at(-1);
  if (name) return html`<a href="#schema-${name}">${name}</a>`;
  const referred = schema.allOf?.find(({ $ref }) => $ref);
  if (referred) return typeOf(referred);
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`;
  if (schema.enum) return html`${schema.enum.map((value, index) => html`${index > 0 ? " | " : ""}<code>${String(value)}</code>`)}`;
  const variants = schema.oneOf ?? schema.anyOf;
  if (variants) return html`${variants.map((variant, index) => html`${index > 0 ? " or " : ""}${typeOf(variant)}`)}`;
  if (schema.type === "array" && schema.items) return html`list of ${typeOf(schema.items)}`;
  return schema.format ?? String(schema.type ?? "any");
}

function contentOf(content: ApiOperation["responses"][string]["content"]): readonly Markup[] {
  return Object.entries(content ?? {}).map(([type, { schema }]) => html`<div><code>${type}</code>${schema.$ref ?? schema.anyOf ? html`: ${typeOf(schema)}` : ""}</div>`);
}

function accessOf({ security }: Endpoint): string {
  if (security.length === 0) return "public";
  return security.some((one) => Object.keys(one).length === 0) ? "attestation, or an API token" : "API token";
}

function curl({ method, path, parameters = [], security }: Endpoint, example: unknown): string {
  const required = parameters.filter(({ in: place, required }) => place === "query" && required);
  const query = required.length > 0 ? `?${required.map(({ name }) => `${name}=1`).join("&")}` : "";
  const url = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => `$${name.toUpperCase()}`) + query;
  const token = security.length > 0 ? ' \\\n  -H "authorization: Bearer $TOKEN"' : "";
  if (example === undefined) return `curl ${method === "GET" ? "" : `-X ${method} `}"$CA${url}"${token}`;
  return `curl "$CA${url}"${token} \\\n  --json '${JSON.stringify(example, null, 2).replaceAll("\n", "\n  ")}'`;
}

function paragraphs(text: string): readonly Markup[] {
  return text.split("\n\n").map((part) => html`<p>${inline(part)}</p>`);
}

/** The one piece of Markdown that descriptions use: code in backquotes. */
function inline(text: string): readonly (Markup | string)[] {
  return text.split("`").map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : part));
}

const styleHash = createHash("sha256").update(docsStyle).digest("base64");
const pageHeaders = {
  "cache-control": "no-cache",
  "content-security-policy": `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  "referrer-policy": "no-referrer",
};
