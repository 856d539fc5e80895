import { html } from "hono/html";
import type { CertificateDetail, CertificatePage } from "../contract/certificates.ts";
import type { EdgeList } from "../contract/edges.ts";
import { paths } from "../contract/paths.ts";
import { revocationReasons, type Revocation } from "../contract/revocations.ts";
import { edgeTable } from "./edge-table.ts";
import { card, count, exact, identity, when, type Markup } from "./marks.ts";
import type { Action, Page, PageContext } from "./page.ts";
import { lifeBar } from "./time-axis.ts";
import { certificateTable, provedBy, statusChip } from "./workloads.ts";

/** One certificate: what it says, what came before it, whom its holder talks to. */
export const certificatePage: Page = {
  path: "/ui/certificates/:serial",
  section: "/ui/workloads",
  async show(context) {
    const { ask, nowMs, caller } = context;
    const certificate = await read(context);
    const { serialNumber, spiffeId, status } = certificate;
    const { certificates } = await ask.call<CertificatePage>("GET", `${paths.certificates}?spiffeId=${encodeURIComponent(spiffeId)}&limit=${historyLength}`);
    const talks = (await ask.maybe<EdgeList>(`${paths.edges}?${new URLSearchParams({ spiffeId, limit: String(maxTalks) }).toString()}`)) ?? { edges: [], total: 0 };
    const mayRevoke = status === "valid" && (caller.role === "admin" || caller.role === "operator");
    return {
      title: "Certificate",
      body: html`<div class="cards"><div class="wide" id="facts" data-part>${card("facts-heading", "What it says", facts(certificate, nowMs),
        mayRevoke ? html`<p><a class="button danger" href="/ui/certificates/${serialNumber}/revoke">Revoke…</a></p>` : "")}</div>
<div class="slim">${card("chain-heading", "Its chain", html`<p class="soft">SHA-256 <span class="mono">${certificate.fingerprint}</span></p>
<details id="pem"><summary>PEM, the certificate and its issuers</summary><pre tabindex="0">${certificate.chain}</pre></details>
<p><a href="/ui/audit/${certificate.logIndex}">Its entry in the audit log</a></p>`)}</div>
<div id="talks" data-part>${card("talks-heading", "Who talks to it, and to whom it talks", edgeTable(talks.edges, nowMs), talks.total > talks.edges.length ? html`<p class="soft">The first ${maxTalks} of ${count(talks.total, "edge")}.</p>` : "")}</div>
<div id="history" data-part>${card("history-heading", "History", certificateTable(`The last ${historyLength} certificates of this ID`, certificates, nowMs))}</div></div>`,
    };
  },
};

/** Asks once more: it cannot be undone. */
export const revokePage: Page = {
  path: "/ui/certificates/:serial/revoke",
  section: "/ui/workloads",
  async show(context) {
    const { serialNumber, spiffeId, notAfter } = await read(context);
    return {
      title: "Revoke a certificate",
      body: html`<section class="card narrow"><p>${identity(spiffeId)}</p><p class="soft mono">${serialNumber}</p>
<p>Every connected proxy refuses it within a second and cuts what is open. It ends by itself ${when(notAfter, context.nowMs)}. This cannot be undone.</p>
<form method="post" action="/ui/certificates/${serialNumber}/revoke">
<p><label for="reason">Reason</label><select id="reason" name="reason">${revocationReasons.map((reason) => html`<option>${reason}</option>`)}</select></p>
<p class="soft">For keyCompromise, what was renewed from it is revoked with it.</p>
<p><button class="danger">Revoke</button> <a class="button quiet" href="/ui/certificates/${serialNumber}">Cancel</a></p></form></section>`,
    };
  },
};

export const revokeAction: Action = {
  path: "/ui/certificates/:serial/revoke",
  section: "/ui/workloads",
  async act(context) {
    const { ask, form } = context;
    const path = pathOf(context);
    await ask.call<Revocation>("POST", `${path}/revoke`, { reason: form.get("reason") ?? "" });
    return { to: `/ui/certificates/${context.params["serial"]}` };
  },
};

function read(context: PageContext): Promise<CertificateDetail> {
  return context.ask.call<CertificateDetail>("GET", pathOf(context));
}

function pathOf({ params }: PageContext): string {
  return `${paths.certificates}/${encodeURIComponent(params["serial"] ?? "")}`;
}

function facts({ serialNumber, spiffeId, dnsNames, notBefore, notAfter, authorityId, attestation, status, revokedAt, revocationReason }: CertificateDetail, nowMs: number): Markup {
  const rows: readonly (readonly [string, Markup | string] | undefined)[] = [
    ["Identity", identity(spiffeId)],
    ["Status", statusChip(status)],
    revokedAt === undefined ? undefined : ["Revoked", html`${when(revokedAt, nowMs)}, ${exact(revokedAt)}: ${revocationReason ?? "unspecified"}`],
    ["Validity", html`${exact(notBefore)} to ${exact(notAfter)}, ends ${when(notAfter, nowMs)}${lifeBar({ notBefore, notAfter }, nowMs)}`],
    dnsNames.length === 0 ? undefined : ["DNS names", dnsNames.join(", ")],
    ["Proved by", provedBy(attestation)],
    ["Serial number", html`<span class="mono">${serialNumber}</span>`],
    ["Issuer", html`<span class="mono">${authorityId}</span>`],
  ];
  return html`<dl class="facts">${rows.map((row) => row && html`<dt>${row[0]}</dt><dd>${row[1]}</dd>`)}</dl>`;
}

const historyLength = 20;
const maxTalks = 200;
