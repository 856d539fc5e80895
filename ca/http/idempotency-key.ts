import { Refusal } from "../refusal.ts";

/** Of the header `Idempotency-Key`; undefined where there is none. @throws {Refusal} invalid_request */
export function parseIdempotencyKey(value: string | null): string | undefined {
  if (value === null) return undefined;
  if (!idempotencyKey.test(value))
    throw new Refusal(
      "invalid_request",
      "Idempotency-Key has 1 to 255 printable ASCII characters; a UUID is a good one.",
    );
  return value;
}

const idempotencyKey = /^[\x20-\x7e]{1,255}$/;
