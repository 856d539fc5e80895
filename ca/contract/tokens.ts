import type { Role } from "./roles.ts";

export type CreateTokenRequest =
  | {
      readonly type: "join";
      readonly spiffeId: string;
      readonly dnsNames?: readonly string[];
      /** How long the token may wait for its redemption; default 3600. */
      readonly expiresInSeconds?: number;
    }
  | {
      readonly type: "api";
      readonly name: string;
      readonly role: Role;
      /**
       * Operators only: SPIFFE IDs, or prefixes ending in `/*`, that it answers for; and the DNS names they may
       * carry: `dns:cart.shop.svc`, or `dns:*.shop.svc` for all below. Without these an operator gives no DNS names.
       */
      readonly scope?: readonly string[];
      readonly expiresInSeconds?: number;
    };

export interface TokenSummary {
  readonly id: string;
  readonly type: "join" | "api";
  readonly createdAt: string;
  readonly createdBy: string;
  readonly expiresAt?: string;
  readonly spiffeId?: string;
  readonly dnsNames?: readonly string[];
  readonly redeemedAt?: string;
  readonly name?: string;
  readonly role?: Role;
  readonly scope?: readonly string[];
  /** API tokens, to the hour; absent when it was never used. */
  readonly lastUsedAt?: string;
}

/** `GET /v1/tokens`, newest first. */
export interface TokenPage {
  readonly tokens: readonly TokenSummary[];
  /** Opaque: the `cursor` of the next page; absent on the last one. */
  readonly nextCursor?: string;
}

/** The only answer that carries the secret; it is stored hashed. */
export type CreatedToken = TokenSummary & {
  readonly token: string;
  /** Join tokens: the one string `countersign-proxy` needs (`ca/pki/bootstrap.ts`). */
  readonly bootstrap?: string;
};
