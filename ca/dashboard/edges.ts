import { html } from "hono/html";
import type { EdgeList } from "../contract/edges.ts";
import { paths } from "../contract/paths.ts";
import { edgeGraph } from "./edge-graph.ts";
import { edgeTable } from "./edge-table.ts";
import { card, count } from "./marks.ts";
import type { Page } from "./page.ts";

/** Who talks to whom, and whether it is secured. */
export const edgesPage: Page = {
  path: "/ui/edges",
  section: "/ui/edges",
  async show({ ask, nowMs, query }) {
    const search = (query.get("search") ?? "").trim();
    const onlyUnsecured = query.get("unsecured") === "on";
    const { edges: all, proxies, truncated } = await ask.call<EdgeList>("GET", paths.edges);
    const edges = all.filter(({ clientId, serverId, secured }) => (clientId.includes(search) || serverId.includes(search)) && !(onlyUnsecured && secured));
    const unsecured = all.filter(({ secured }) => !secured).length;
    return {
      title: "Edges",
      body: html`<form class="fields bar" method="get" action="/ui/edges" role="search">
<div class="grow"><label for="search">Search: part of a client's or server's ID</label><input id="search" name="search" type="search" value="${search}" spellcheck="false"></div>
<div><label class="check"><input type="checkbox" name="unsecured"${onlyUnsecured ? html` checked` : ""}> only what is not secured</label></div>
<div><button>Show</button></div></form>
<div id="edges" data-part><p>${count(all.length, "edge")}, ${unsecured === 0 ? "all by mutual TLS" : html`<strong>${unsecured} not secured</strong>`};
${count(proxies, "proxy", "proxies")} reported lately.${truncated ? " There are more edges than fit here." : ""}</p>
${card("graph-heading", "Graph", edgeGraph(edges))}
${card("table-heading", "All edges", edgeTable(edges.slice(0, maxRows), nowMs), edges.length > maxRows ? html`<p class="soft">The first ${maxRows} of ${count(edges.length, "edge")}; search for a workload to see its own.</p>` : "")}</div>`,
    };
  },
};

const maxRows = 200;
