import type { Act } from "./acts.ts";
import type { SealedHead } from "./head.ts";
import type { Outcome } from "./outcome.ts";
import type { AuthorityStateWrite } from "./plan-authorities.ts";
import type { AuthorityRow } from "./rows/authorities.ts";
import type { CaState } from "./rows/ca-state.ts";
import type { CeremonyRow } from "./rows/ceremonies.ts";
import type { IdempotentRow, NewCertificate } from "./rows/certificates.ts";
import type { CrlRow } from "./rows/crls.ts";
import type { DocumentRow } from "./rows/documents.ts";
import type { AnnouncementRow } from "./rows/feed.ts";
import type { EntryRow } from "./rows/log.ts";
import type { RevocationRow } from "./rows/revocations.ts";
import type { TokenRow } from "./rows/tokens.ts";

/** All that one commit writes. */
export interface Plan {
  /** One for each act, in order. */
  readonly outcomes: readonly Outcome[];
  readonly writes: Writes;
  /** Undefined when every act was refused: then there is nothing to write. */
  readonly sealed: SealedHead | undefined;
}

/** Rows for each table, and changes of them. */
export interface Writes {
  readonly states: readonly CaState[];
  readonly authorities: readonly AuthorityRow[];
  readonly authorityStates: readonly AuthorityStateWrite[];
  /** Of authorities that signed certificates which end later than any before. */
  readonly lastNotAfters: readonly Pick<AuthorityRow, "id" | "lastNotAfterMs">[];
  readonly bundleSequence: number | undefined;
  readonly certificates: readonly (NewCertificate & { readonly logIndex: number })[];
  readonly revocations: readonly RevocationRow[];
  readonly tokens: readonly TokenRow[];
  readonly redemptions: readonly { readonly id: string; readonly version: number; readonly redeemedAtMs: number }[];
  readonly deletions: readonly { readonly id: string; readonly deletedAtMs: number }[];
  readonly idempotencyKeys: readonly (IdempotentRow & { readonly scope: string; readonly key: string })[];
  /** Idempotency keys that expired by then may be forgotten; undefined when no act tells the time. */
  readonly forgetUntilMs: number | undefined;
  readonly resealings: readonly Pick<Extract<Act, { readonly kind: "reseal" }>, "sealedLogKey" | "wrappedSealingKey" | "authorities">[];
  readonly prunings: readonly { readonly from: number; readonly to: number; readonly expiredBeforeMs: number }[];
  readonly crls: readonly CrlRow[];
  readonly announcements: readonly AnnouncementRow[];
  readonly ceremonies: readonly CeremonyRow[];
  readonly documents: readonly DocumentRow[];
  readonly ceremonyClosings: readonly { readonly id: string; readonly closedAtMs: number }[];
  readonly entries: readonly EntryRow[];
  readonly subtrees: readonly SubtreeRow[];
}

/** A whole subtree of the log, that no entry to come changes. */
export interface SubtreeRow {
  readonly level: number;
  readonly index: number;
  readonly hash: Uint8Array;
}
