import { html } from "hono/html";
import type { CertificatePage, CertificateStatus, CertificateSummary } from "../contract/certificates.ts";
import { paths } from "../contract/paths.ts";
import type { ProxySummary } from "../contract/proxies.ts";
import type { WorkloadList } from "../contract/workloads.ts";
import { PkiError } from "../pki/errors.ts";
import { parseSpiffeIdPattern } from "../pki/spiffe-id.ts";
import { chip, count, identity, spanOf, table, when, type Markup, type Tone } from "./marks.ts";
import type { Page } from "./page.ts";

/** Who has a certificate: those who live, and every certificate that was issued. */
export const workloadsPage: Page = {
  path: "/ui/workloads",
  section: "/ui/workloads",
  async show({ ask, nowMs, query }) {
    const show = viewOf(query.get("show"));
    const search = (query.get("search") ?? "").trim();
    const cursor = query.get("cursor") ?? undefined;
    const asked = new URLSearchParams({ limit: String(rowsOfPage), ...(cursor !== undefined && { cursor }) });
    const form = searchForm(search, show);
    if (show === "live") {
      if (search !== "") asked.set("search", search);
      asked.set("include", "proxy");
      const list = await ask.call<WorkloadList>("GET", `${paths.workloads}?${asked}`);
      // Of more proxies than are looked at, nobody knows who is missing.
      const unheard = list.proxiesTruncated === true ? html`<span class="soft">-</span>` : chip("plain", "no proxy heard of");
      const rows = list.workloads.map(({ spiffeId, serialNumber, notAfter, proxy }) => [
        html`<a href="/ui/certificates/${serialNumber}">${identity(spiffeId)}</a>`,
        when(notAfter, nowMs),
        proxyCell(proxy) ?? unheard,
        html`<span class="mono soft">${serialNumber.slice(0, 16)}</span>`,
      ]);
      const caption = `${count(list.total, "holder")} of a live certificate${search === "" ? "" : ` with “${search}”`}, by ID${list.truncated ? "; more than are listed" : ""}`;
      return { title: "Workloads", body: html`${form}<div class="card" id="list" data-part>${rows.length === 0 ? nothing(search) : table(caption, ["Workload", "Certificate ends", "Proxy", "Serial number"], rows)}
${nextPage(search, show, list.nextCursor)}</div>` };
    }
    const isSerial = /^[0-9a-f]{32,40}$/i.test(search);
    if (isSerial) return { title: "Workloads", body: html`${form}<p class="card"><a href="/ui/certificates/${search.toLowerCase()}">The certificate ${search.toLowerCase()}</a></p>` };
    const fault = search === "" ? undefined : patternFault(search);
    if (fault !== undefined) return { title: "Workloads", body: html`${form}<p class="card soft">Nothing fits “${search}”: ${fault}.</p>` };
    if (show !== "all") asked.set("status", show);
    if (search !== "") asked.set("spiffeId", search);
    const { certificates, nextCursor } = await ask.call<CertificatePage>("GET", `${paths.certificates}?${asked}`);
    return { title: "Workloads", body: html`${form}<div class="card" id="list" data-part>
${certificates.length === 0 ? nothing(search) : certificateTable(`Certificates, ${show === "revoked" ? "revoked last" : "newest"} first`, certificates, nowMs)}${nextPage(search, show, nextCursor)}</div>` };
  },
};

/** Certificates as rows. */
export function certificateTable(caption: string, certificates: readonly CertificateSummary[], nowMs: number): Markup {
  return table(caption, ["Certificate of", "Status", "Ends", "Proved by", "Serial number"], certificates.map(({ spiffeId, serialNumber, status, notAfter, attestation }) => [
    html`<a href="/ui/certificates/${serialNumber}">${identity(spiffeId)}</a>`, statusChip(status), when(notAfter, nowMs), provedBy(attestation), html`<span class="mono soft">${serialNumber.slice(0, 16)}</span>`,
  ]));
}

/** An attestation in words: `svid` is a renewal by the certificate before. */
export function provedBy(attestation: CertificateSummary["attestation"]): string {
  return attestation === "svid" ? "renewal" : attestation.replaceAll("-", " ");
}

/** What a proxy says of itself, and what of that is not as it should be. */
function proxyCell(proxy: ProxySummary | undefined): Markup | undefined {
  if (proxy === undefined) return undefined;
  const { version = "", inboundMode = "strict", reportedAt, receivedAt } = proxy;
  const skewMs = Date.parse(reportedAt) - Date.parse(receivedAt);
  const odd = [
    ...(Math.abs(skewMs) > clockLimitMs ? [`clock ${spanOf(Math.abs(skewMs))} ${skewMs < 0 ? "behind" : "ahead"}`] : []),
    ...(inboundMode === "strict" ? [] : [inboundMode === "audit" ? "refuses nothing" : "takes plain text"]),
  ];
  return html`${chip("ok", "reports")} <span class="soft">${version}</span>${odd.map((one) => html` ${chip("warning", one)}`)}`;
}

/** A certificate's status, by word and colour. */
export function statusChip(status: CertificateStatus): Markup {
  return chip(tones[status], status);
}

function searchForm(search: string, show: View): Markup {
  return html`<form class="fields bar" method="get" action="/ui/workloads" role="search">
<div class="grow"><label for="search">Search: part of an ID, or for certificates an ID, a prefix ending in /*, or a serial number</label>
<input id="search" name="search" type="search" value="${search}" spellcheck="false"></div>
<div><label for="show">Show</label><select id="show" name="show">${views.map(([value, name]) =>
    html`<option value="${value}"${value === show ? html` selected` : ""}>${name}</option>`)}</select></div>
<div><button>Search</button></div></form>`;
}

function nextPage(search: string, show: View, cursor: string | undefined): Markup | string {
  if (cursor === undefined) return "";
  return html`<p><a class="button quiet" href="/ui/workloads?${new URLSearchParams({ ...(search !== "" && { search }), show, cursor }).toString()}">Next page</a></p>`;
}

/** Why the API would refuse it as a filter. */
function patternFault(search: string): string | undefined {
  try {
    parseSpiffeIdPattern(search);
    return undefined;
  } catch (error) {
    if (error instanceof PkiError) return error.message;
    throw error;
  }
}

function nothing(search: string): Markup {
  return html`<p class="soft">${search === "" ? "There is none." : `Nothing fits “${search}”.`}</p>`;
}

const views = [["live", "live workloads"], ["valid", "valid certificates"], ["revoked", "revoked certificates"], ["expired", "expired certificates"], ["all", "all certificates"]] as const;
type View = (typeof views)[number][0];
const viewOf = (text: string | null): View => views.find(([value]) => value === text)?.[0] ?? "live";
const tones: Readonly<Record<CertificateStatus, Tone>> = { valid: "ok", expired: "plain", revoked: "failed" };
const rowsOfPage = 50;
/** As `countersign check` has it. */
const clockLimitMs = 10_000;
