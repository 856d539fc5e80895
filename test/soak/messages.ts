/** What a proxy of the soak is started with. */
export interface ProxySettings {
  readonly args: readonly string[];
  readonly bootstrap: string;
  /** Milliseconds since the epoch; from here on its identity's time runs `scale` times faster. */
  readonly startMs: number;
  readonly scale: number;
}

/** What it is told to do. */
export type Order =
  | { readonly ask: "measure" }
  | { readonly ask: "log"; readonly lines: number }
  /** Moves its clock to this much beside the right time. */
  | { readonly ask: "jump"; readonly toMs: number };

/** What it says. */
export type Told =
  | { readonly told: "listening"; readonly inbound: readonly string[]; readonly outbound: readonly string[]; readonly admin: string }
  | { readonly told: "measure"; readonly measure: Measure }
  | { readonly told: "log"; readonly lines: readonly string[] }
  | { readonly told: "jumped" };

/** After a collection. */
export interface Measure {
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly descriptors: number;
}
