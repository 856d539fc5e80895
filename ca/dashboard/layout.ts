import { html, raw } from "hono/html";
import type { Caller } from "../http/services.ts";
import type { Markup } from "./marks.ts";
import { iconPath, scriptPath, stylePath } from "./assets.ts";

export interface Frame {
  readonly title: string;
  /** Of the page in the navigation that this is or belongs to. */
  readonly section?: string | undefined;
  readonly trustDomain: string;
  /** Undefined before the sign-in. */
  readonly caller?: Caller | undefined;
  readonly body: Markup;
}

/** A whole page: head, navigation and who is signed in around its body. */
export async function renderPage({ title, section, trustDomain, caller, body }: Frame): Promise<string> {
  return String(await html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · ${trustDomain} · Countersign</title>
<link rel="icon" href="${iconPath}" type="image/svg+xml">
<link rel="stylesheet" href="${stylePath}">
<script type="module" src="${scriptPath}"></script>
</head>
<body${caller === undefined ? "" : raw(' data-live="/ui/live"')}>
<a class="skip" href="#main">Skip to the content</a>
<header>
<a class="brand" href="/ui">${mark}<span>Countersign</span></a>
<span class="domain" title="Trust domain">${trustDomain}</span>
${caller === undefined ? "" : whoIsSignedIn(caller)}
</header>
${caller === undefined ? "" : navigation(section, caller)}
<main id="main" tabindex="-1"><h1>${title}</h1>${body}</main>
${caller === undefined ? "" : html`<footer><p id="live" class="soft" role="status"></p><p class="soft"><a href="/docs">API</a></p></footer>`}
</body>
</html>`);
}

function whoIsSignedIn({ name, role }: Caller): Markup {
  return html`<form class="who" method="post" action="/ui/sign-out"><span class="name" title="${name}">${name}</span>
<span class="soft">${role}</span><button class="quiet">Sign out</button></form>`;
}

function navigation(section: string | undefined, { role }: Caller): Markup {
  // What is refused anyway is not offered.
  const offered = sections.filter(([path]) => path !== "/ui/audit" || role !== "operator");
  return html`<nav aria-label="Pages"><ul>${offered.map(([path, name]) =>
    html`<li><a href="${path}"${section === path ? raw(' aria-current="page"') : ""}>${name}</a></li>`)}</ul></nav>`;
}

const sections = [
  ["/ui", "Overview"], ["/ui/trust", "Trust"], ["/ui/workloads", "Workloads"], ["/ui/edges", "Edges"], ["/ui/policies", "Policies"], ["/ui/audit", "Audit"],
  ["/ui/federation", "Federation"],
] as const;

/** A shield that is signed twice. */
const mark = raw('<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><path d="M12 2 4 5v6c0 5 3.4 8.900 8 11 4.600-2.100 8-6 8-11V5z" fill="currentColor" opacity=".16"/><path d="M12 2 4 5v6c0 5 3.400 8.900 8 11 4.600-2.100 8-6 8-11V5zM7.500 11l2.700 2.700 3.300-4.400M11 14.600l1.200 1.100 4.300-5.600" fill="none" stroke="currentColor" stroke-width="1.700" stroke-linecap="round" stroke-linejoin="round"/></svg>');
