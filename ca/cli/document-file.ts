import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import { ApiError } from "./api.ts";

/**
 * Reads a JSON or YAML 1.2 file; several YAML documents are a list of them. Aliases are refused: a few lines of them are gigabytes.
 * @param path  "-" is standard input
 * @throws {ApiError} with the line of the first fault
 */
export function readDocumentFile(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (cause) {
    throw new ApiError(`cannot read ${path} (${(cause as NodeJS.ErrnoException).code}); name a file, or - for standard input`, { cause });
  }
  if (text.length > maxChars) throw new ApiError(`${path} is longer than ${maxChars} characters; apply it in parts`);
  // YAML 1.2 contains JSON; the core schema has no dates and no "no" that means false.
  const documents = parseAllDocuments(text, { version: "1.2", schema: "core", strict: true, uniqueKeys: true, prettyErrors: true });
  const values = [...documents].map((document) => {
    // A warning is a tag that nobody knows: what it stands for is not what is written.
    const [fault] = [...document.errors, ...document.warnings];
    if (fault !== undefined) throw new ApiError(`cannot read ${path}: it is neither JSON nor YAML (${fault.message.split("\n")[0]?.replace(/:$/, "")})`, { cause: fault });
    try {
      return document.toJS({ maxAliasCount: 0 }) as unknown;
    } catch (cause) {
      throw new ApiError(`cannot read ${path}: it has aliases (*name), which are not taken; write the values out`, { cause });
    }
  }).filter((value) => value !== null && value !== undefined);
  return values.length === 1 ? values[0] : values.flat();
}

/** The API takes less. */
const maxChars = 4 * 1024 * 1024;
