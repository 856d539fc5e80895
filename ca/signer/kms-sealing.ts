import { SignerError } from "./errors.ts";
import type { EncryptionContext, Kms } from "./kms.ts";
import { createSealing, type Sealing } from "./sealing.ts";

/**
 * Makes a sealing key that KMS wraps: in clear it is in memory only.
 * @returns the wrapped key as text, to be kept with what it seals
 */
export async function wrapNewSealingKey(
  kms: Kms, keyId: string, trustDomain: string,
): Promise<{ readonly sealing: Sealing; readonly wrapped: string }> {
  const { key, wrapped, arn } = await kms.generateDataKey(keyId, contextOf(trustDomain));
  return { sealing: createSealing(key), wrapped: JSON.stringify({ kms: arn, key: Buffer.from(wrapped).toString("base64") }) };
}

/**
 * Has KMS unwrap the sealing key.
 * @throws {SignerError} sealed_format_unknown | sealed_data_altered, and what KMS says
 */
export async function unwrapSealingKey(kms: Kms, wrapped: string, trustDomain: string): Promise<Sealing> {
  const { arn, key } = parseWrapped(wrapped);
  // The key is named, so that nobody can have us unwrap what a key of theirs has wrapped.
  return createSealing(await kms.decrypt(arn, key, contextOf(trustDomain)));
}

/** ARN of the KMS key that a wrapped key needs. */
export function kmsKeyOf(wrapped: string): string {
  return parseWrapped(wrapped).arn;
}

function parseWrapped(wrapped: string): { readonly arn: string; readonly key: Uint8Array } {
  try {
    const { kms: arn, key } = JSON.parse(wrapped) as Record<string, unknown>;
    if (typeof arn === "string" && typeof key === "string") return { arn, key: Buffer.from(key, "base64") };
  } catch {
    // Falls through: whatever it is, it is not ours.
  }
  throw new SignerError(
    "sealed_format_unknown", "the wrapped sealing key in the store is not in a format this version reads; restore it from a backup",
  );
}

/** KMS checks it and writes it to CloudTrail: a key of one CA does not unwrap as that of another. */
function contextOf(trustDomain: string): EncryptionContext {
  return { "countersign:purpose": "sealing-key", "countersign:trust-domain": trustDomain };
}
