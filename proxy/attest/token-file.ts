import { readFile } from "node:fs/promises";
import { EvidenceError } from "./error.ts";

/**
 * The token that a platform keeps in a file for this workload.
 * @throws {EvidenceError}
 */
export async function readToken(path: string): Promise<string> {
  const text = (await readEvidence(path)).trim();
  // Its sentence in an answer would be the same; here it does not leave the host.
  if (!/^[\x21-\x7e]+$/.test(text) || text.length > maxTokenLength) throw new EvidenceError(`${path} is not one line of text, of up to ${maxTokenLength} characters`);
  return text;
}

/** A file that the platform keeps. @throws {EvidenceError} */
export async function readEvidence(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new EvidenceError(`${path} cannot be read (${(cause as NodeJS.ErrnoException).code}), so there is nothing that vouches for this workload`, { cause });
  }
}

/** As the CA has it. */
const maxTokenLength = 16 * 1024;
