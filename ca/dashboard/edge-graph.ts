import { html, raw } from "hono/html";
import type { EdgeGroup, EdgeGroups, EdgeLink } from "../contract/edges.ts";
import { whyNot } from "./edge-table.ts";
import type { GraphPlaces, GraphShape, Point } from "./graph-layout.ts";
import { count, visible, type Markup } from "./marks.ts";

/** What is to be found a place for: links within a group are told in its box. */
export function shapeOf({ groups, links }: EdgeGroups): GraphShape {
  return { boxes: groups.length, links: links.filter(({ from, to }) => from !== to).map(({ from, to }) => ({ from, to })) };
}

/** Edges as a picture: clients stand left of their servers. The table beside it says the same in words. @param places undefined: there was no time to find them */
export function edgeGraph(edges: EdgeGroups, places: GraphPlaces | undefined, ownDomain: string): Markup {
  const { groups, links, leftOut } = edges;
  if (groups.length === 0) return html`<p class="soft">There is nothing to draw.</p>`;
  if (places === undefined) return html`<p class="soft">These take too long to draw; search for one to see whom it talks to.</p>`;
  const between = links.filter(({ from, to }) => from !== to);
  const lines = between.map((link, index) => line(link, groups, places.links[index]!));
  const lastParts = groups.map(({ name }) => lastPart(name));
  const boxes = groups.map((group, index) => {
    const isOne = lastParts.indexOf(lastParts[index]!) === lastParts.lastIndexOf(lastParts[index]!);
    return box(group, links.find(({ from, to }) => from === index && to === index), places.boxes[index]!, isOne ? ownDomain : undefined);
  });
  const isGrouped = groups.some(({ members }) => members > 1);
  const size = raw(`width="${places.width}" height="${places.height}"`);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Graph of edges"><svg class="graph" ${size} role="group" aria-label="${count(groups.length, isGrouped ? "group" : "workload")} and ${count(between.length, "link")} between them; the table below lists the edges.">
<defs>${kinds.map((kind) => html`<marker id="arrow-${kind}" viewBox="0 0 8 8" refX="0" refY="4" markerWidth="${arrowLength}" markerHeight="${arrowLength}" orient="auto"><path class="arrow ${kind}" d="M0 0.500 8 4 0 7.500z"/></marker>`)}</defs>
${lines}${boxes}</svg></div>
<ul class="legend">${kinds.map((kind) => html`<li><svg width="24" height="10" aria-hidden="true"><line class="edge ${kind}" x1="0" x2="24" y1="5" y2="5"/></svg>${kind === "secured" ? "mutual TLS" : "not secured"}</li>`)}
${isGrouped ? html`<li>Workloads are put together by the first parts of their IDs; choose one group to see what is in it.</li>` : ""}
${leftOut === 0 ? "" : html`<li>${count(leftOut, "link")} more are not drawn.</li>`}</ul>`;
}

function line({ from, to, edges, unsecured, reason }: EdgeLink, groups: readonly EdgeGroup[], points: readonly Point[]): Markup {
  const kind = unsecured === 0 ? "secured" : "unsecured";
  const how = unsecured === 0 ? "mutual TLS" : edges === 1 ? whyNot(reason) : `${unsecured.toLocaleString("en")} not secured (${whyNot(reason)})`;
  const width = Math.min(widestLine, 1.5 + Math.log10(edges) / 2);
  return html`<g><title>${fullName(groups[from]!)} to ${fullName(groups[to]!)}: ${edges === 1 ? "" : `${count(edges, "edge")}, `}${how}</title>
<path class="edge ${kind}" d="${curve(points, width * arrowLength)}" stroke-width="${width.toFixed(1)}" marker-end="url(#arrow-${kind})"/></g>`;
}

/** @param plainDomain the trust domain that need not be said; undefined: the last part of the name says too little */
function box(group: EdgeGroup, within: EdgeLink | undefined, { x, y }: Point, plainDomain: string | undefined): Markup {
  const { name, members } = group;
  const about = aboutOf(group, within, plainDomain);
  const inside = within === undefined ? "" : `, ${count(within.edges, "edge")} inside`;
  const isOdd = name === "" || (within?.unsecured ?? 0) > 0;
  const drawn = html`<title>${fullName(group)}${about === "" ? "" : `: ${about}`}${inside}</title>
<rect class="node${isOdd ? " unknown" : ""}" x="${x - 84}" y="${y - 20}" width="168" height="40" rx="8"/>
<text class="name" x="${x}" y="${about === "" ? y + 4 : y - 2}" text-anchor="middle">${shortened(lastPart(name))}</text>
${about === "" ? "" : html`<text x="${x}" y="${y + 13}" text-anchor="middle">${shortened(about)}</text>`}`;
  if (name === "" || name === "*") return html`<g>${drawn}</g>`;
  const search = members > 1 ? `${name}/` : name;
  return html`<a href="/ui/edges?${new URLSearchParams({ search }).toString()}">${drawn}</a>`;
}

/** What stands below a name: what is not well in it, how many it stands for, or where it is. */
function aboutOf({ name, members }: EdgeGroup, within: EdgeLink | undefined, plainDomain: string | undefined): string {
  if (within !== undefined && within.unsecured > 0) return `${within.unsecured.toLocaleString("en")} inside not secured`;
  if (members > 1) return count(members, "workload");
  const [, domain = "", path = ""] = /^spiffe:\/\/([^/]+)((?:\/[^/]+)*)\/[^/]+$/.exec(name) ?? [];
  const isElsewhere = plainDomain !== undefined && domain !== plainDomain;
  return isElsewhere ? domain : plainDomain === undefined ? path.replace(/\/sa$/, "") || domain : "";
}

/** Through the middles between the points, so that it bends without corners; one that has nothing to go around leaves and arrives level. @param arrow how much of its end is left to the arrow */
function curve(points: readonly Point[], arrow: number): string {
  const [first, ...rest] = points;
  const end = rest.pop();
  if (first === undefined || end === undefined) return "";
  const last = { x: Math.round(end.x - Math.sign(end.x - (rest.at(-1) ?? first).x) * arrow), y: end.y };
  const middle = (first.x + last.x) / 2;
  if (rest.length < 2) return `M${first.x} ${first.y}C${middle} ${first.y} ${middle} ${last.y} ${last.x} ${last.y}`;
  const bends = rest.map((point, index) => {
    const next = rest[index + 1];
    const to = next === undefined ? last : { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
    return `Q${point.x} ${point.y} ${to.x} ${to.y}`;
  });
  return `M${first.x} ${first.y}${bends.join("")}`;
}

function fullName({ name }: EdgeGroup): string {
  return name === "" ? "nobody known" : name === "*" ? "all others" : visible(name);
}

/** The whole name is in the title, and in the table. */
function lastPart(name: string): string {
  return name === "" ? "nobody known" : name === "*" ? "all others" : (name.split("/").at(-1) || name);
}

function shortened(text: string): string {
  const seen = visible(text);
  return seen.length > maxShown ? `${seen.slice(0, maxShown - 1)}…` : seen;
}

const kinds = ["secured", "unsecured"] as const;
const widestLine = 4;
/** Of its line's widths. */
const arrowLength = 4;
/** What a box has room for. */
const maxShown = 24;
