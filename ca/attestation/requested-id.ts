import { PkiError } from "../pki/errors.ts";
import { parseSpiffeId, type SpiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";

/**
 * Reads the ID that a request names.
 * @throws {Refusal} spiffe_id_refused
 */
export function parseRequestedId(text: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (cause) {
    if (cause instanceof PkiError) throw new Refusal("spiffe_id_refused", `The SPIFFE ID is refused: ${cause.message}.`, { cause });
    throw cause;
  }
}
