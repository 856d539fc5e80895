/** `jwt`: a key that signs JWT-SVIDs; its certificate is its own word and only carries key and dates. */
export const authorityTypes = ["root", "intermediate", "issuer", "jwt"] as const;
export type AuthorityType = (typeof authorityTypes)[number];

export const authorityStates = ["prepared", "active", "retiring", "retired", "tainted", "revoked"] as const;
/**
 * `prepared`: known (a root or JWT key: published), and signs nothing yet. `active`: signs. `retiring`: was replaced, what it signed is still
 * good. `retired`: nothing below it lives. `tainted`: its key may be known to others, what it signed is to be replaced at once.
 * `revoked`: what it signed is refused.
 */
export type AuthorityState = (typeof authorityStates)[number];

export interface AuthoritySummary {
  readonly id: string;
  readonly type: AuthorityType;
  readonly state: AuthorityState;
  readonly subject: string;
  readonly keyAlgorithm: string;
  readonly fingerprint: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly certificate: string;
  /** Where its private key is. */
  readonly key: "sealed" | "kms" | "pkcs11" | "offline" | "upstream";
  /** Whose key signed it; absent for a root. */
  readonly parentId?: string;
  /** Root or JWT key: sequence of the bundle that first had it. */
  readonly publishedSequence?: string;
  /** Prepared: takes over from then on, as soon as every holder has it; absent: when the settings say. */
  readonly activateAt?: string;
  /** When the last certificate or token that it signed for a workload ends. */
  readonly lastCertificateNotAfter?: string;
  /** Prepared root or JWT key: who does not trust it yet. */
  readonly waitsFor?: { readonly count: number; readonly holders: readonly AuthorityHolder[] };
}

/** Somebody that a step of an authority depends on, by its newest certificate. */
export interface AuthorityHolder {
  readonly spiffeId: string;
  /** Or `federatedCa`. */
  readonly serialNumber: string;
  /** Of the bundle it has; "0" for none. */
  readonly acknowledgedSequence: string;
  readonly notAfter: string;
}

/** A holder's serial number where it is no certificate of this CA, but the CA of another trust domain that holds our bundle. */
export const federatedCa = "federated CA";

/** An operator's step. `prepare` makes a root, `rotate` an issuer at once or a root or JWT key that takes over as soon as every holder has it. */
export type AuthorityCommand =
  | { readonly action: "prepare" }
  | { readonly action: "rotate"; readonly type: RotateAuthorityRequest["type"] }
  | { readonly action: "activate" | "taint" | "revoke" | "retire"; readonly id: string; readonly force?: boolean | undefined };

/** `POST /v1/authorities`: make a root and publish it. */
export interface PrepareAuthorityRequest {
  readonly type: "root";
}

/** `POST /v1/authorities/rotate`: an issuer is replaced at once, a root or JWT key as soon as every holder trusts the next one. */
export interface RotateAuthorityRequest {
  readonly type: "root" | "issuer" | "jwt";
}

/** `POST /v1/authorities/{id}/activate`, `taint`, `revoke` and `retire`. */
export interface AuthorityStepRequest {
  /** Also where holders are cut off by it; recorded as forced. */
  readonly force?: boolean;
}

export interface AuthorityAnswer {
  /** As they are now. */
  readonly authorities: readonly AuthoritySummary[];
  /** How many holders a forced step cut off, up to 1000. */
  readonly holdersAffected: number;
  /** The first ten of them. */
  readonly holders: readonly AuthorityHolder[];
}

export interface AuthorityList {
  readonly authorities: readonly AuthoritySummary[];
}
