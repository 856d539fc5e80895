import type { RevocationReason } from "../../contract/revocations.ts";

export interface RevocationRow {
  readonly sequence: number;
  readonly serialNumber: string;
  readonly reason: RevocationReason;
  readonly revokedAtMs: number;
  readonly notAfterMs: number;
  /** Who issued the certificate, and so lists it. */
  readonly authorityId: string;
}
