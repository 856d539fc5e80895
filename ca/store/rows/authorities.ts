import type { AuthorityState, AuthorityType } from "../../contract/authorities.ts";

/**
 * Where an authority's private key is. `offline`: nowhere here; a ceremony signs with it. `upstream`: another CA has it, and signs our issuers
 * when it is asked.
 */
export type AuthorityKey =
  /** PKCS#8, sealed (`ca/signer/sealing.ts`). */
  | { readonly kind: "sealed"; readonly sealed: Uint8Array }
  | { readonly kind: "kms"; readonly keyId: string }
  | { readonly kind: "pkcs11"; readonly uri: string }
  | { readonly kind: "offline" }
  | { readonly kind: "upstream" };

export interface AuthorityChange {
  readonly authorityId: string;
  /** Compare-and-swap. */
  readonly from: AuthorityState;
  readonly to: AuthorityState;
  readonly atMs: number;
  readonly activateAtMs?: number;
  /** Refused with authority_in_use while, at `atMs`, a certificate below it is valid or an authority below it may sign. */
  readonly unusedOnly?: boolean;
}

export interface AuthorityRow {
  /** Lower-case hex of the certificate's subject key identifier. */
  readonly id: string;
  readonly type: AuthorityType;
  readonly state: AuthorityState;
  readonly certificate: Uint8Array;
  readonly key: AuthorityKey;
  /** Whose key signed it; absent for a root, and for issuers of before it was kept. */
  readonly parentId?: string;
  /** Root: its name and key signed by the root before it, DER, for software that has only that one as its anchor. */
  readonly crossCertificate?: Uint8Array;
  /** Root or JWT key: the bundle sequence that first had it. Holders that acknowledged this one or a later one trust it. */
  readonly publishedSequence?: number;
  /** Prepared: not activated before; absent: when the policy says. */
  readonly activateAtMs?: number;
  /** The latest end of the certificates or tokens it signed for workloads; 0 before the first one. */
  readonly lastNotAfterMs: number;
  /** When it came into its state. */
  readonly stateSinceMs: number;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly createdAtMs: number;
}
