import type { Role } from "./roles.ts";

/** `POST /v1/operators`: whoever has a certificate for the ID, or one below the prefix, calls the API with this role. */
export interface CreateOperatorRequest {
  /** A SPIFFE ID, or a prefix ending in `/*`. */
  readonly spiffeId: string;
  readonly role: Role;
  /** As an API token's. */
  readonly scope?: readonly string[];
}

export interface OperatorSummary extends CreateOperatorRequest {
  readonly createdAt: string;
  readonly createdBy: string;
  /** To the hour; absent when its role was never used, or not for a year. */
  readonly lastUsedAt?: string;
}

/** `GET /v1/operators`, by ID. */
export interface OperatorList {
  readonly operators: readonly OperatorSummary[];
}
