import { z } from "@hono/zod-openapi";

/** Members that several of the contract's shapes have. */

/** Base64 of a CSR with an RSA-4096 key is below 2 KiB. */
export const maxCsrLength = 16 * 1024;
/** As in `ca/pki/renewal-proof.ts`. */
export const maxProofLength = 64 * 1024;
export const spiffeId = z.string().min(1).max(2048).openapi({ example: "spiffe://east/ns/shop/sa/cart" });
export const dnsNames = z
  .array(z.string().min(1).max(253))
  .max(64)
  .readonly()
  .openapi({ example: ["cart.shop.svc"] });

export const ipAddresses = z.array(z.string().min(2).max(45)).max(16).readonly().openapi({
  description: "An admin's to give, within the ranges of the ID's profile.",
  example: ["10.1.2.3"],
});

export const instant = z.string().openapi({ format: "date-time", example: "2026-11-21T05:00:00.000Z" });
export const seconds = z.number().int().min(1).max(2_000_000_000);
export const serialNumber = z
  .string()
  .openapi({ description: "Lower-case hex, at most 40 digits; the last 32 are random.", example: "5e1c6f1c9d02a7b34e58c1d0e9f8a7b6c5d4" });

export const logIndex = z.number().int().openapi({ description: "Index of the issuance in the audit log." });
export const feedEpoch = z.string().max(64).openapi({ description: "Of the feed that the sequence belongs to; new after a restore." });
export const heldSequence = z
  .string()
  .regex(/^\d{1,20}$/, "expected decimal digits")
  .openapi({ description: "Of the bundle that the caller holds.", example: "1" });

export const nextCursor = z.string().optional().openapi({ description: "`cursor` of the next page; absent on the last one." });
