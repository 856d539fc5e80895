/** Where the proxy reports what an operator should see. Fields never hold a secret, and never what the app said. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** `silent` writes nothing. */
export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** How a log is written. */
export interface LogOptions {
  /** Least severe level that is written. */
  readonly level: LogLevel;
  /** Takes one line with its newline. */
  readonly write: (line: string) => void;
  readonly now: () => number;
}

/** A logger that writes one JSON object a line: `time` (RFC 3339), `level`, `message`, then the fields. */
export function jsonLog({ level, write, now }: LogOptions): Log {
  const least = levels.indexOf(level);
  const at = (name: LogLevel) => {
    if (levels.indexOf(name) < least) return () => undefined;
    return (fields: object, message: string): void => {
      write(`${JSON.stringify({ time: new Date(now()).toISOString(), level: name, message, ...fields }, plain)}\n`);
    };
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** Errors would come out as `{}`; their message is what matters, and their stack has paths nobody asked for. */
function plain(_key: string, value: unknown): unknown {
  if (value instanceof Error) return value.message;
  return typeof value === "bigint" ? value.toString() : value;
}

const levels: readonly LogLevel[] = ["debug", "info", "warn", "error", "silent"];
