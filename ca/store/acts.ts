import type { RevocationReason } from "../contract/revocations.ts";
import type { AuthorityChange, AuthorityRow } from "./rows/authorities.ts";
import type { CaState } from "./rows/ca-state.ts";
import type { CeremonyRow } from "./rows/ceremonies.ts";
import type { NewCertificate } from "./rows/certificates.ts";
import type { CrlRow } from "./rows/crls.ts";
import type { DocumentRow } from "./rows/documents.ts";
import type { AnnouncementRow } from "./rows/feed.ts";
import type { Fence } from "./rows/leases.ts";
import type { RevocationRow } from "./rows/revocations.ts";
import type { TokenRow } from "./rows/tokens.ts";

/** An act and the audit entries that record it (already encoded: `encodeEntry`). */
export type Act = ActBody & {
  readonly entries: readonly [string, ...string[]];
  /** Refused with lease_lost unless the lease still has this token: what keeps a process that was paused from acting late. */
  readonly fence?: Fence;
  /**
   * `sealedLogKey` as the process has opened it. Refused with sealing_superseded unless it still is: what was sealed with it would open for
   * nobody.
   */
  readonly sealing?: Uint8Array;
  /** Refused with ceremony_unknown unless these requests are open; closes them, so that a request is answered once. */
  readonly answers?: { readonly ceremonies: readonly string[]; readonly closedAtMs: number };
  /** Told to everybody who is connected to the feed, and to who comes before it expires. Its sequence is the index of the act's first entry + 1. */
  readonly announce?: Omit<AnnouncementRow, "sequence">;
};

export type ActBody =
  /** First start. Refused with already_initialized when another process was faster. */
  | { readonly kind: "initialize"; readonly state: CaState; readonly authorities: readonly AuthorityRow[]; readonly tokens: readonly TokenRow[] }
  | {
      readonly kind: "issue";
      readonly certificate: NewCertificate;
      /** Compare-and-swap on the token that pays for it: token_already_redeemed unless its version is still this one. */
      readonly redeem?: { readonly tokenId: string; readonly version: number };
      /** Remembered with the certificate: idempotency_conflict when scope and key are already taken. */
      readonly idempotency?: { readonly scope: string; readonly key: string; readonly requestHash: string; readonly expiresAtMs: number };
    }
  /** Refused with certificate_unknown or already_revoked. The revocation's sequence is the index of its first entry + 1. */
  | {
      readonly kind: "revoke";
      readonly serialNumber: string;
      readonly reason: RevocationReason;
      readonly revokedAtMs: number;
      /** Also revokes, each with an entry of its own behind this act's, what descends from it by `renewedFrom`. */
      readonly descendants?: Descendants;
    }
  | { readonly kind: "create-token"; readonly token: TokenRow }
  /** Refused with token_unknown when there is none or it was deleted. */
  | { readonly kind: "delete-token"; readonly tokenId: string; readonly deletedAtMs: number }
  /** One step in the life of authorities: authority_superseded unless all is as expected, and one of each type at most is active. */
  | {
      readonly kind: "change-authorities";
      readonly add?: readonly AuthorityRow[];
      readonly changes?: readonly AuthorityChange[];
      /** Compare-and-swap; needed where a root comes into the bundle or leaves it, and wherever else its readers are to look. */
      readonly bundleSequence?: { readonly from: number; readonly to: number };
      /** Authorities' certificates that are refused from now on: the n-th has the act's n-th entry, and its sequence from there. */
      readonly revocations?: readonly Omit<RevocationRow, "sequence">[];
    }
  /** Replaces a list's newest CRL: crl_superseded unless that has the number `replaces` (undefined: there is none yet). */
  | { readonly kind: "publish-crl"; readonly crl: CrlRow; readonly replaces: number | undefined }
  /** A request to a key that is offline. */
  | { readonly kind: "request-ceremony"; readonly ceremony: CeremonyRow }
  /**
   * Refused with documents_changed unless the newest change of any document is still `expects` (0 for none): what is changed was
   * judged together with what is there. The sequence of all that it changes is the index of its first entry + 1.
   */
  | { readonly kind: "change-documents"; readonly expects: number; readonly changes: readonly Omit<DocumentRow, "sequence">[] }
  /**
   * Forgets the certificates at [from, to) of the log that ended before then, the checkpoints there but the last of each 256
   * entries, and idempotency keys that are over. Their entries stay.
   */
  | { readonly kind: "prune"; readonly from: number; readonly to: number; readonly expiredBeforeMs: number; readonly nowMs: number }
  /** Every private key of the store under another sealing key: sealing_superseded unless nothing was written since they were read. */
  | {
      readonly kind: "reseal";
      /** Entries in the log when they were read. */
      readonly logSize: number;
      readonly sealedLogKey: Uint8Array;
      /** As `CaState` has it; empty where no KMS wraps the key. */
      readonly wrappedSealingKey: string;
      readonly authorities: readonly { readonly id: string; readonly sealed: Uint8Array }[];
    }
  /** A JWT-SVID, of which only the entries are kept; refused with authority_superseded when its key is stopped by then. */
  | { readonly kind: "issue-jwt-svid"; readonly authorityId: string; readonly expiresAtMs: number }
  /** Nothing but its entries: a denial, a login. */
  | { readonly kind: "record" };

export interface Descendants {
  /** Theirs, and that of the certificate they descend from: a renewal changes no names. */
  readonly spiffeId: string;
  /** Those whose notAfter is earlier are left as they are: they prove nothing any more. */
  readonly notAfterMs: number;
  /** Who revokes, for their entries. */
  readonly actor: string;
}

export interface Receipt {
  /** Index of the act's first entry in the log. */
  readonly logIndex: number;
}
