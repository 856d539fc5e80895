import type { ProxyList, ProxySummary } from "../contract/proxies.ts";
import type { ReportRow } from "../store/rows/reports.ts";
import type { Store } from "../store/store.ts";
import type { KeptEdges } from "./receive.ts";

/** Makes the listing of the proxies that reported lately, each by its newest certificate. */
export function proxyReader({ store, now }: { readonly store: Pick<Store, "reports">; readonly now: () => Date }) {
  return async function proxies(isInView: (spiffeId: string) => boolean): Promise<ProxyList> {
    const nowMs = now().getTime();
    const rows: ReportRow[] = [];
    let page: readonly ReportRow[] = [];
    do {
      const last = rows.at(-1);
      page = await store.reports({ kind: "edges", nowMs, limit: pageSize, ...(last && { after: last }) });
      rows.push(...page);
    } while (page.length === pageSize && rows.length < maxProxies);
    const present = presentProxies(rows).filter(({ spiffeId }) => isInView(spiffeId));
    return { proxies: present.slice(0, maxProxies), truncated: page.length === pageSize || present.length > maxProxies };
  };
}

/** One for each proxy: what it reported by a certificate that it has renewed since is superseded. By ID. */
export function presentProxies(rows: readonly ReportRow[]): readonly ProxySummary[] {
  const reports = rows.map((row) => ({ ...row, kept: JSON.parse(row.body) as KeptEdges }));
  const superseded = new Set(reports.map(({ kept }) => kept.renewedFrom));
  return reports.filter(({ name }) => !superseded.has(name))
    .map(({ name, reportedAtMs, kept: { spiffeId, proxy } }) => ({ spiffeId, serialNumber: name, ...proxy, reportedAt: new Date(reportedAtMs).toISOString() }))
    .sort((a, b) => (a.spiffeId < b.spiffeId ? -1 : a.spiffeId > b.spiffeId ? 1 : 0));
}

const pageSize = 500;
/** Some 700 KiB. */
const maxProxies = 2000;
