import { html } from "hono/html";
import type { EdgeGroups, EdgeSummary } from "../contract/edges.ts";
import { percent } from "./chart.ts";
import { whyNot } from "./edge-table.ts";
import { count, type Markup } from "./marks.ts";

/** A workload in the picture. */
export interface GraphNode {
  /** "" for whoever is not known. */
  readonly id: string;
  readonly column: number;
  readonly row: number;
}

/** Edges as a picture: clients stand left of their servers. The table beside it says the same in words. */
export function edgeGraph({ groups, links, leftOut }: EdgeGroups): Markup {
  if (groups.length === 0) return html`<p class="soft">There is nothing to draw.</p>`;
  const nodes = placeNodes(links.map(({ from, to }) => ({ clientId: String(from), serverId: String(to) })));
  const columns = Math.max(...nodes.map(({ column }) => column)) + 1;
  const rows = Math.max(...nodes.map(({ row }) => row)) + 1;
  const rowsOf = Array.from({ length: columns }, (_, column) => nodes.filter((node) => node.column === column).length);
  const x = ({ column }: GraphNode): number => (column + 0.5) / columns;
  const y = ({ column, row }: GraphNode): number => ((row + 0.5 + (rows - rowsOf[column]!) / 2) * rowHeight);
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const width = nodeShare / columns;
  const lines = links.map(({ from: fromPlace, to: toPlace, edges, unsecured, reason }) => {
    const [from, to] = [byId.get(String(fromPlace))!, byId.get(String(toPlace))!];
    const forward = from.column < to.column;
    const [x1, x2] = forward ? [x(from) + width / 2, x(to) - width / 2] : [x(from), x(to)];
    const label = `${nameOf(groups[fromPlace]!.name)} to ${nameOf(groups[toPlace]!.name)}: ${edges === 1 ? "" : `${count(edges, "edge")}, `}${unsecured === 0 ? "mutual TLS" : whyNot(reason)}`;
    const kind = unsecured === 0 ? "secured" : "unsecured";
    return html`<g><title>${label}</title><line class="edge ${kind}" x1="${percent(x1)}" y1="${y(from)}" x2="${percent(x2)}" y2="${y(to)}" marker-end="url(#arrow-${kind})"/></g>`;
  });
  const boxes = nodes.map((node) => {
    const { name } = groups[Number(node.id)]!;
    return html`<g><title>${name === "" ? "nobody known" : name}</title>
<rect class="node${name === "" ? " unknown" : ""}" x="${percent(x(node) - width / 2)}" y="${y(node) - boxHeight / 2}" width="${percent(width)}" height="${boxHeight}" rx="8"/>
<text class="name" x="${percent(x(node))}" y="${y(node) + 4}" text-anchor="middle">${shortName(name, columns)}</text></g>`;
  });
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Graph of edges"><svg class="chart graph" height="${rows * rowHeight}" role="img" aria-label="${count(nodes.length, "group")} and ${count(links.length, "link")} between them; the table below lists the edges.">
<defs>${["secured", "unsecured"].map((kind) => html`<marker id="arrow-${kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="arrow ${kind}" d="M0 0.500 8 4 0 7.500z"/></marker>`)}</defs>
${lines}${boxes}</svg></div>
<ul class="legend"><li><svg width="24" height="10" aria-hidden="true"><line class="edge secured" x1="0" x2="24" y1="5" y2="5"/></svg>mutual TLS</li>
<li><svg width="24" height="10" aria-hidden="true"><line class="edge unsecured" x1="0" x2="24" y1="5" y2="5"/></svg>not secured</li></ul>${leftOut === 0 ? "" : html`<p class="soft">${count(leftOut, "link")} more are not drawn; search for one to see its own.</p>`}`;
}

/**
 * Puts each workload into a column behind its clients, and in its column near them. A circle of calls is cut where it closes: each
 * column is looked for once.
 * @param edges  of a few dozen workloads
 */
export function placeNodes(edges: readonly Pick<EdgeSummary, "clientId" | "serverId">[]): readonly GraphNode[] {
  const ids = [...new Set(edges.flatMap(({ clientId, serverId }) => [clientId, serverId]))];
  const callersOf = new Map(ids.map((id) => [id, edges.filter(({ clientId, serverId }) => serverId === id && clientId !== id).map(({ clientId }) => clientId)]));
  const columnOf = new Map<string, number>();
  const depth = (id: string, above: ReadonlySet<string>): number => {
    const known = columnOf.get(id);
    if (known !== undefined) return known;
    const within = new Set([...above, id]);
    const column = Math.max(-1, ...callersOf.get(id)!.filter((caller) => !within.has(caller)).map((caller) => depth(caller, within))) + 1;
    columnOf.set(id, Math.min(column, maxColumns - 1));
    return columnOf.get(id)!;
  };
  for (const id of ids) depth(id, new Set());
  const columns: string[][] = [];
  for (const id of ids) (columns[columnOf.get(id) ?? 0] ??= []).push(id);
  const rowOf = new Map<string, number>();
  return columns.flatMap((column, index) => {
    // Beside whoever calls it: fewer lines cross.
    const weight = (id: string): number => {
      const rows = callersOf.get(id)!.flatMap((caller) => rowOf.get(caller) ?? []);
      return rows.length === 0 ? 0 : rows.reduce((sum, row) => sum + row, 0) / rows.length;
    };
    const sorted = column.map((id) => ({ id, weight: weight(id) })).sort((a, b) => a.weight - b.weight || (a.id < b.id ? -1 : 1));
    return sorted.map(({ id }, row) => {
      rowOf.set(id, row);
      return { id, column: index, row };
    });
  });
}

/** The last part of an ID: the whole one is in the title, and in the table. */
function shortName(id: string, columns: number): string {
  if (id === "") return "unknown";
  const last = nameOf(id);
  const most = Math.max(8, Math.floor(72 / columns));
  return last.length > most ? `${last.slice(0, most - 1)}…` : last;
}

const nameOf = (id: string): string => (id === "" ? "nobody known" : (id.split("/").at(-1) ?? id));
const maxColumns = 8;
const rowHeight = 56;
const boxHeight = 32;
/** How much of its column a box takes. */
const nodeShare = 0.62;
