import { Graph, layout } from "@dagrejs/dagre";

/** A picture to be: boxes of one size, and links between them. */
export interface GraphShape {
  readonly boxes: number;
  /** Places of boxes; none leads to where it begins. */
  readonly links: readonly { readonly from: number; readonly to: number }[];
}

/** Where everything is, in pixels; a box by its middle. */
export interface GraphPlaces {
  readonly width: number;
  readonly height: number;
  readonly boxes: readonly Point[];
  /** What each link goes through, from edge to edge of its boxes. */
  readonly links: readonly (readonly Point[])[];
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Puts clients left of their servers, so that few links cross and none runs through a box; a circle of calls is cut somewhere. */
export function layoutGraph({ boxes, links }: GraphShape): GraphPlaces {
  const graph = new Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 14, ranksep: 72, edgesep: 10, marginx: 8, marginy: 8, ranker: "tight-tree" });
  for (let box = 0; box < boxes; box++) graph.setNode(String(box), { width: boxWidth, height: boxHeight });
  for (const { from, to } of links) graph.setEdge(String(from), String(to), {});
  layout(graph);
  const { width = 0, height = 0 } = graph.graph() as { readonly width?: number; readonly height?: number };
  const places = Array.from({ length: boxes }, (_, box) => pointOf(graph.node(String(box)) as Point));
  return {
    width: Math.ceil(width), height: Math.ceil(height),
    boxes: places,
    links: links.map(({ from, to }) => {
      const { points } = graph.edge(String(from), String(to)) as { readonly points: readonly Point[] };
      return [sideOf(places[from]!, places[to]!), ...points.slice(1, -1).map(pointOf), sideOf(places[to]!, places[from]!)];
    }),
  };
}

/** The middle of a box's side that looks to the other one. */
function sideOf(box: Point, other: Point): Point {
  return { x: box.x + (other.x > box.x ? boxWidth : -boxWidth) / 2, y: box.y };
}

function pointOf({ x, y }: Point): Point {
  return { x: Math.round(x), y: Math.round(y) };
}

export const boxWidth = 168;
export const boxHeight = 40;
