import { PkiError, type PkiErrorCode } from "../../ca/pki/errors.ts";

/** "accepted", or the code of the refusal; anything that is not a PkiError is a bug and goes on as it came. */
export function outcomeOf(act: () => unknown): "accepted" | PkiErrorCode {
  try {
    act();
    return "accepted";
  } catch (error) {
    if (error instanceof PkiError) return error.code;
    throw error;
  }
}
