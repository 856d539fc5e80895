/**
 * `edges`: who talks to whom, by serial number. `tap`: a tap that is open; `tap-records`: what it brought and nobody has read yet.
 * `federation`: how the last look for another trust domain's bundle went; `federation-peer`: which bundle of ours its CA has.
 * `federation-hub`: how the last look at a hub's list went, and by the part `publication` how ours to it did.
 * `witnessed`: the newest checkpoint of another CA's log that this CA cosigned, by the log's origin; `cosignature`: theirs under ours, by name.
 * `session`: who is signed in to the dashboard, by the hash of what their browser holds; `sign-in`: who may sign in by a link, by the hash of it.
 * `replica`: a process of this CA that others of it share the store with, by its address and, as the part, what tells it from the one before.
 * `operator-use`: when a role was used last, by whom it is bound to.
 * `upstream`: how this CA is known to the one above it, sealed; `upstream-status`: how the last look at that one went.
 */
export type ReportKind = "edges" | "tap" | "tap-records" | "federation" | "federation-peer" | "federation-hub" | "witnessed" | "cosignature" | "session" | "sign-in" | "replica" | "operator-use" | "upstream" | "upstream-status";

export interface ReportKey {
  readonly kind: ReportKind;
  readonly name: string;
  /** Of several under one name; "" where there is one. */
  readonly part: string;
}

export interface ReportRow extends ReportKey {
  /** JSON. */
  readonly body: string;
  readonly reportedAtMs: number;
  readonly expiresAtMs: number;
}

export interface ReportQuery {
  readonly kind: ReportKind;
  /** Only those of this name. */
  readonly name?: string;
  readonly after?: Pick<ReportKey, "name" | "part">;
  readonly nowMs: number;
  readonly limit: number;
}
