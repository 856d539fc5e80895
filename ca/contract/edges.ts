/** Who talks to whom, as one of the two proxies sees it. */
export interface SeenEdge {
  readonly direction: "inbound" | "outbound";
  /** SPIFFE ID; empty where nobody proved one. */
  readonly clientId: string;
  /** SPIFFE ID; empty where nobody was named. */
  readonly serverId: string;
  /** Absent until the first bytes have been looked at. */
  readonly protocol?: string;
  /** True: mutual TLS, both sides verified. */
  readonly secured: boolean;
  /** Why not; a word. */
  readonly reason?: string;
  /** Open now; 0: the last one has ended lately. */
  readonly connections: number;
}

/** Who talked to whom within the last minutes, put together from what both sides reported. */
export interface EdgeSummary {
  readonly clientId: string;
  readonly serverId: string;
  /** True only where each side that reported says so. */
  readonly secured: boolean;
  readonly reason?: string;
  readonly protocols: readonly string[];
  readonly connections: number;
  readonly seenBy: readonly ("client" | "server")[];
  readonly lastSeen: string;
}

/** `GET /v1/edges` */
export interface EdgeList {
  readonly edges: readonly EdgeSummary[];
  /** How many proxies reported within the last minutes. */
  readonly proxies: number;
  /** Not all of them fit. */
  readonly truncated: boolean;
}
