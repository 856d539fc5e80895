import { expect, test } from "vitest";
import { boxHeight, boxWidth, layoutGraph, type GraphPlaces } from "../../../ca/dashboard/graph-layout.ts";

const link = (from: number, to: number) => ({ from, to });
const overlapping = ({ boxes }: GraphPlaces): number => boxes.flatMap((one, index) => boxes.slice(index + 1).filter((other) => (
  Math.abs(one.x - other.x) < boxWidth && Math.abs(one.y - other.y) < boxHeight
))).length;

test("a server stands right of every one of its clients, and its links end at its side", () => {
  const { boxes, links, width, height } = layoutGraph({ boxes: 3, links: [link(0, 1), link(1, 2), link(0, 2)] });
  const [web, cart, db] = boxes.map(({ x }) => x) as [number, number, number];
  expect([web < cart, cart < db]).toEqual([true, true]);
  expect(links.map((points) => [points[0]!.x, points.at(-1)!.x])).toEqual([[web + boxWidth / 2, cart - boxWidth / 2], [cart + boxWidth / 2, db - boxWidth / 2], [web + boxWidth / 2, db - boxWidth / 2]]);
  expect([width > db, height > boxHeight]).toEqual([true, true]);
});

test("a circle of calls ends", () => {
  expect(layoutGraph({ boxes: 3, links: [link(0, 1), link(1, 2), link(2, 0)] }).links).toHaveLength(3);
});

test("as many as are ever drawn stand apart, those that nobody calls among them", () => {
  const places = layoutGraph({ boxes: 60, links: Array.from({ length: 100 }, (_, index) => link(index % 20, 20 + ((index * 7) % 35))) });
  expect([places.boxes.length, overlapping(places)]).toEqual([60, 0]);
});
