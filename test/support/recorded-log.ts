import type { Log } from "../../proxy/log.ts";

export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A log that a test can read. */
export function recordedLog(): Log & { readonly lines: LogLine[]; text(): string } {
  const lines: LogLine[] = [];
  const at = (level: LogLine["level"]) => (fields: object, message: string): void => void lines.push({ level, message, fields: { ...fields } });
  return { lines, text: () => JSON.stringify(lines, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value)), debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
