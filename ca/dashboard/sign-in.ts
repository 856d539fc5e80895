import { html } from "hono/html";
import { chip } from "./marks.ts";
import type { Shown } from "./page.ts";

/** Where somebody says who they are. @param next where to go then @param why they are not in yet */
export function signInPage(next: string | undefined, why?: string): Shown {
  return {
    title: "Sign in",
    body: html`<section class="card narrow">
${why === undefined ? "" : html`<p class="note failed" role="alert">${why}</p>`}
<form method="post" action="/ui/sign-in">
<input type="hidden" name="next" value="${next ?? ""}">
<p><label for="token">API token</label>
<input id="token" name="token" type="password" autocomplete="off" required autofocus spellcheck="false"></p>
<p><button>Sign in</button></p>
</form>
<p class="soft">The first admin's token is in <code>admin-token</code> in the CA's data folder; others are made with
<code>countersign token create --type api</code>. You see and do here what its role may.</p>
<p class="soft">With an SVID, or without copying a token: <code>countersign dashboard</code> prints a link.</p>
</section>`,
  };
}

/** Whoever came by a link says that they mean it: what looks at links beforehand must not use them up. */
export function linkPage(code: string, name: string, role: string): Shown {
  return {
    title: "Sign in",
    body: html`<section class="card narrow"><form method="post" action="/ui/sign-in/${code}">
<p>You will be <strong>${name}</strong>, with the role ${role}.</p><p><button autofocus>Sign in</button></p></form></section>`,
  };
}

/** What cannot be shown, and why. */
export function refusedPage(status: number, why: string): Shown {
  const title = status === 404 ? "Not found" : status === 403 ? "Not permitted" : status >= 500 ? "It did not work" : "Refused";
  return { title, status, body: html`<section class="card"><p>${chip("failed", String(status))} ${why}</p><p><a href="/ui">Overview</a></p></section>` };
}
