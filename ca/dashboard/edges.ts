import { html } from "hono/html";
import type { EdgeGroups, EdgeList } from "../contract/edges.ts";
import { paths } from "../contract/paths.ts";
import { edgeGraph, shapeOf } from "./edge-graph.ts";
import { edgeTable } from "./edge-table.ts";
import { graphPlaces } from "./graph-places.ts";
import { card, count, type Markup } from "./marks.ts";
import type { Page } from "./page.ts";

/** Who talks to whom, and whether it is secured. */
export function edgesPage(): Page {
  const placesOf = graphPlaces();
  return {
    path: "/ui/edges",
    section: "/ui/edges",
    async show({ ask, nowMs, query, services }) {
      const search = (query.get("search") ?? "").trim().slice(0, maxSearchLength);
      const onlyUnsecured = query.get("unsecured") === "on";
      const cursor = query.get("cursor") ?? undefined;
      const chosen = new URLSearchParams({ ...(search !== "" && { search }), ...(onlyUnsecured && { secured: "false" }) });
      const page = new URLSearchParams([...chosen, ["limit", String(rowsOfPage)], ...(cursor === undefined ? [] : [["cursor", cursor]])]);
      const { edges, total, unsecured, proxies, truncated, nextCursor } = await ask.call<EdgeList>("GET", `${paths.edges}?${page.toString()}`);
      const groups = await ask.call<EdgeGroups>("GET", `${paths.edgeGroups}?${chosen.toString()}`);
      const which = search === "" ? "" : ` with “${search}”`;
      return {
        title: "Edges",
        body: html`<form class="fields bar" method="get" action="/ui/edges" role="search">
<div class="grow"><label for="search">Search: part of a client's or server's ID</label><input id="search" name="search" type="search" value="${search}" maxlength="${maxSearchLength}" spellcheck="false"></div>
<div><label class="check"><input type="checkbox" name="unsecured"${onlyUnsecured ? html` checked` : ""}> only what is not secured</label></div>
<div><button>Show</button></div></form>
<div id="edges" data-part><p>${count(total, "edge")}${which}, ${unsecured === 0 ? "all by mutual TLS" : html`<strong>${unsecured.toLocaleString("en")} not secured</strong>`};
${count(proxies, "proxy", "proxies")} reported lately.${truncated ? " There are more than is looked at." : ""}</p></div>
<div id="graph" data-part>${card("graph-heading", "Graph", edgeGraph(groups, await placesOf(shapeOf(groups)), services.trustDomain))}</div>
<div id="table" data-part>${card("table-heading", "All edges", edgeTable(edges, nowMs), nextPage(chosen, onlyUnsecured, nextCursor))}</div>`,
      };
    },
  };
}

function nextPage(chosen: URLSearchParams, onlyUnsecured: boolean, cursor: string | undefined): Markup | string {
  if (cursor === undefined) return "";
  const search = chosen.get("search");
  const query = new URLSearchParams({ ...(search !== null && { search }), ...(onlyUnsecured && { unsecured: "on" }), cursor });
  return html`<p><a class="button quiet" href="/ui/edges?${query.toString()}">Next page</a></p>`;
}

const rowsOfPage = 100;
/** As the API has it. */
const maxSearchLength = 2048;
