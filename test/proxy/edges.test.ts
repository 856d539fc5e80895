import { expect, test } from "vitest";
import { endedEdges, sumEdges, type Edge } from "../../proxy/edges.ts";

const edge = (more: Partial<Edge> = {}): Edge => ({
  direction: "inbound", clientId: "spiffe://east/hello", serverId: "spiffe://east/world", protocol: "http", secured: true, connections: 1, bytesRead: 1, bytesWritten: 2, ...more,
});

test("connections of the same two ends are one edge; another protocol or another reason is another", () => {
  const edges = sumEdges([edge(), edge(), edge({ protocol: "tcp" }), edge({ secured: false, reason: "plain_text" })]);
  expect(edges.map(({ connections, bytesRead, bytesWritten }) => [connections, bytesRead, bytesWritten])).toEqual([[2, 2, 4], [1, 1, 2], [1, 1, 2]]);
});

test("what has ended is remembered for a while, without connections, and never more than a bound", () => {
  const ended = endedEdges();
  ended.add(edge(), 1000);
  expect(ended.since(999)).toEqual([edge({ connections: 0, bytesRead: 0, bytesWritten: 0 })]);
  expect(ended.since(1000)).toEqual([]);
  for (let index = 0; index < 5000; index++) ended.add(edge({ clientId: `spiffe://east/${index}` }), 2000);
  expect(ended.since(1000)).toHaveLength(1000);
});
