import { html } from "hono/html";
import type { EdgeSummary } from "../contract/edges.ts";
import { chip, identity, table, when, type Markup } from "./marks.ts";

/** Edges as rows; what is not known to be secured is never shown as secured. */
export function edgeTable(edges: readonly EdgeSummary[], nowMs: number): Markup {
  if (edges.length === 0) return html`<p class="soft">No proxy has reported anything of it within the last minutes.</p>`;
  return table("From client to server, as the proxies of both sides report it", ["Client", "Server", "Secured", "Protocol", "Open", "Seen by", "Last seen"], edges.map((edge) => [
    party(edge.clientId), party(edge.serverId), securedChip(edge), edge.protocols.join(", ") || "-", String(edge.connections), edge.seenBy.join(" and "), when(edge.lastSeen, nowMs),
  ]));
}

function securedChip({ secured, reason }: Pick<EdgeSummary, "secured" | "reason">): Markup {
  return secured ? chip("ok", "mutual TLS") : chip("failed", whyNot(reason));
}

/** The word of a report, as people write it. */
export function whyNot(reason: string | undefined): string {
  return (reason ?? "unknown").replaceAll("_", " ");
}

function party(id: string): Markup {
  return id === "" ? html`<span class="soft">nobody known</span>` : html`<a href="/ui/workloads?${new URLSearchParams({ search: id }).toString()}">${identity(id)}</a>`;
}
