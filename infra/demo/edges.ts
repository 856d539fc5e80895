/** Who talks to whom, as a proxy counts it. */
export interface Edge {
  readonly direction: "inbound" | "outbound";
  readonly clientId: string;
  readonly serverId: string;
  readonly connections: number;
  readonly secured: boolean;
  /** Why not, when it is not. */
  readonly reason?: string;
}

/** Prints one line an edge, 80 columns: an edge without a known reason to be secured is never shown as secured. */
export function printEdges(edges: readonly Edge[], { trustDomains = false }: { readonly trustDomains?: boolean } = {}): void {
  const shortId = (id: string): string => id.replace(trustDomains ? "spiffe://" : /^spiffe:\/\/[^/]+/, "") || "nobody known";
  const rows = edges.map(({ direction, clientId, serverId, secured, reason }) => [
    direction, shortId(clientId), shortId(serverId), secured ? "√ mutual TLS" : `× ${reason ?? "unknown"}`,
  ]);
  const table = [["SEEN BY", "SRC", "DST", "SECURED"], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...table.map((row) => row[column]!.length)));
  for (const row of table) console.log(`  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()}`);
}
