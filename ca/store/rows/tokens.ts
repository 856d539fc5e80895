import type { Role } from "../../contract/roles.ts";

export interface TokenRow {
  readonly id: string;
  readonly type: "join" | "api";
  /** SHA-256 of the secret, 32 bytes. */
  readonly secretHash: Uint8Array;
  /** Rises with each redemption: what a redeem swaps on. */
  readonly version: number;
  readonly createdAtMs: number;
  readonly createdBy: string;
  readonly expiresAtMs?: number;
  readonly spiffeId?: string;
  readonly dnsNames?: readonly string[];
  readonly redeemedAtMs?: number;
  readonly name?: string;
  readonly role?: Role;
  readonly scope?: readonly string[];
  readonly lastUsedAtMs?: number;
  readonly deletedAtMs?: number;
}
