import { html } from "hono/html";

/** What the API's page shows of a schema. */
export interface ApiSchema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly description?: string | undefined;
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

/** Escaped HTML; what is put into it as text is escaped in turn. */
export type Markup = ReturnType<typeof html>;

/** A schema in full: its properties, or its variants one after another. */
export function markSchema(schema: ApiSchema): Markup {
  const { properties, required = [] } = schema;
  const variants = schema.oneOf ?? schema.anyOf;
  if (variants) {
    const parts = variants.map((variant, index) =>
      html`<p class="or">${index === 0 ? "either" : "or"}</p>${markSchema(variant)}`);
    return html`${parts}`;
  }
  if (!properties) return html`<p>${markType(schema)}</p>`;
  const rows = Object.entries(properties).map(([name, member]) =>
    property(name, member, required.includes(name) ? "" : ", optional"));
  return html`<table><tbody>${rows}</tbody></table>`;
}

/** One row of a table: a name, its type with what qualifies it, and what it is. */
export function property(name: string, schema: ApiSchema, qualifier: Markup | string): Markup {
  const { description, example } = schema;
  const shown = typeof example === "string" ? example : JSON.stringify(example);
  return html`<tr><th scope="row"><code>${name}</code></th><td>${markType(schema)}${qualifier}
${description ? html`<div>${inline(description)}</div>` : ""}
${example === undefined ? "" : html`<div class="example">e.g. <code>${shown}</code></div>`}</td></tr>`;
}

/** A type in a few words, with a link where the words are a schema's name. */
export function markType(schema: ApiSchema): Markup {
  const name = schema.$ref?.split("/").at(-1);
  if (name) return html`<a href="#schema-${name}">${name}</a>`;
  const referred = schema.allOf?.find(({ $ref }) => $ref);
  if (referred) return markType(referred);
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`;
  if (schema.enum) return join(schema.enum.map((value) => html`<code>${String(value)}</code>`), " | ");
  const variants = schema.oneOf ?? schema.anyOf;
  if (variants) return join(variants.map(markType), " or ");
  if (schema.type === "array" && schema.items) return html`list of ${markType(schema.items)}`;
  return html`${schema.format ?? String(schema.type ?? "any")}`;
}

/** Text with blank lines between its paragraphs. */
export function paragraphs(text: string): readonly Markup[] {
  return text.split("\n\n").map((part) => html`<p>${inline(part)}</p>`);
}

/** The one piece of Markdown that descriptions use: code in backquotes. */
export function inline(text: string): readonly (Markup | string)[] {
  return text.split("`").map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : part));
}

function join(parts: readonly Markup[], between: string): Markup {
  return html`${parts.map((part, index) => html`${index > 0 ? between : ""}${part}`)}`;
}
