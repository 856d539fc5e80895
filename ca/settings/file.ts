import { readFileSync } from "node:fs";
import { isObject, type JsonObject } from "../pki/json.ts";
import { ConfigError } from "./errors.ts";

/**
 * Reads the file of settings that `--config` names.
 * @param example  what such a file holds, for who gave another one
 * @throws {ConfigError} file_unreadable
 */
export function readSettingsFile(path: string, example: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? `it is not JSON${placeOf(cause)}` : (cause as NodeJS.ErrnoException).code;
    throw new ConfigError("file_unreadable", `cannot read the configuration file ${path}: ${reason}`, { cause });
  }
  if (!isObject(value)) throw new ConfigError("file_unreadable", `the configuration file ${path} must hold one JSON object, e.g. ${example}`);
  return value;
}

/** Where V8 says that it stopped; the rest of its message may quote the file. */
function placeOf({ message }: SyntaxError): string {
  const [, line, column] = /\(line (\d+) column (\d+)\)/.exec(message) ?? [];
  return line === undefined ? "" : `, from line ${line}, column ${column}`;
}
