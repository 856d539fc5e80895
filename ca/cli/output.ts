import { UsageError } from "./arguments.ts";
import { inertJson, inertLines } from "../settings/inert.ts";
import type { CliIo } from "./io.ts";
import { wrap } from "../settings/wrap.ts";

/** Prints a result as JSON when `-o json` asks for it, and as text otherwise. */
export interface Output {
  readonly json: boolean;
  /** The result, on standard output. */
  print(value: unknown, text: string): void;
  /** What a person should know beside it, on standard error; scripts are spared it. */
  explain(text: string): void;
}

/** @throws {UsageError} for a format there is not */
export function output(format: string | undefined, io: CliIo): Output {
  if (format !== undefined && format !== "json" && format !== "text")
    throw new UsageError(`-o is json or text, not ${format}.`);
  const json = format === "json";
  return {
    json,
    // What others said is in it: names, and what they answered. Elsewhere than on a screen it stays as it is.
    print: (value, text) => io.stdout(json ? `${inertJson(value, 2)}\n` : io.screen === undefined ? text : inertLines(text)),
    explain: (text) => (json ? undefined : io.stderr(narrow(inertLines(text)))),
  };
}

/** For a terminal of 80 columns; lines that are short enough stay as they are. */
function narrow(text: string): string {
  return text.split("\n").map((line) => (line.length < 80 ? line : wrap(line.trimStart(), /^ */.exec(line)?.[0]))).join("\n");
}
