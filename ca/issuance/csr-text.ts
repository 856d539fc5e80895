import { PkiError } from "../pki/errors.ts";
import { decodePem } from "../pki/pem.ts";
import { Refusal } from "../refusal.ts";

/**
 * Takes the CSR out of a request: PEM, or the base64 of its DER. Whether it is a CSR is not looked at.
 * @throws {Refusal} csr_refused
 */
export function decodeCsrText(text: string): Uint8Array {
  if (text.length > maxCsrChars) {
    throw new Refusal(
      "csr_refused",
      `The CSR has ${text.length} characters, more than the ${maxCsrChars} that are read; it should hold a key and ` +
        "little else.",
    );
  }
  if (text.startsWith("-----BEGIN")) return decodeCsrPem(text);
  const der = Buffer.from(text, "base64");
  // Node skips what is not base64; only what encodes back to the same text is taken.
  if (der.length === 0 || der.toString("base64") !== text) {
    throw new Refusal(
      "csr_refused",
      "The CSR is neither PEM (-----BEGIN CERTIFICATE REQUEST-----) nor the base64 of its DER without line breaks.",
    );
  }
  return der;
}

function decodeCsrPem(text: string): Uint8Array {
  try {
    const [der, ...more] = decodePem(text, "CERTIFICATE REQUEST", { maxBlocks: 2 });
    if (der !== undefined && more.length === 0) return der;
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw new Refusal("csr_refused", `The CSR is refused: ${cause.message}.`, { cause });
  }
  throw new Refusal("csr_refused", "The CSR field holds more than one CSR; send one for each certificate.");
}

/** `parseCsr` reads 8 KiB of DER; in base64 with line breaks that is 11 KiB. */
const maxCsrChars = 12 * 1024;
