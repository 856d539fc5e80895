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

/** `GET /v1/edges`, by client, then server. */
export interface EdgeList {
  readonly edges: readonly EdgeSummary[];
  /** On all pages. */
  readonly total: number;
  /** How many of the total are not secured. */
  readonly unsecured: number;
  /** How many proxies reported within the last minutes. */
  readonly proxies: number;
  /** Proxies told that they left some out, or there are more than are ever looked at. */
  readonly truncated: boolean;
  /** Opaque: the `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string | undefined;
}

/** `GET /v1/edge-groups`: the same edges, their ends put together by the first parts of their IDs until they fit a picture. */
export interface EdgeGroups {
  readonly groups: readonly EdgeGroup[];
  readonly links: readonly EdgeLink[];
  /** Links that do not fit. */
  readonly leftOut: number;
}

export interface EdgeGroup {
  /** A SPIFFE ID, or a prefix of some; "" for whoever is not known, "*" for all that have no group of their own. */
  readonly name: string;
  /** How many IDs are in it. */
  readonly members: number;
}

/** All edges from one group to another, or within one. */
export interface EdgeLink {
  /** Places in `groups`. */
  readonly from: number;
  readonly to: number;
  readonly edges: number;
  readonly unsecured: number;
  /** Why, of the first that is not secured. */
  readonly reason?: string | undefined;
}
