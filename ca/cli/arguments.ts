import { parseArgs, type ParseArgsConfig } from "node:util";
import { nearestName } from "../settings/spelling.ts";
import { revocationReasons, type RevocationReason } from "../contract/revocations.ts";

/** The command line is wrong; the message says how. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

type Options = NonNullable<ParseArgsConfig["options"]>;

/**
 * Reads flags and positional arguments, with `--help` added.
 * @throws {UsageError} for a flag that is unknown, lacks its value or has one too many
 */
export function readArguments<const T extends Options>(args: readonly string[], options: T) {
  try {
    return parseArgs({
      args: [...args],
      options: { ...options, help: { type: "boolean", short: "h" } } as T & { help: { type: "boolean" } },
      allowPositionals: true,
      strict: true,
    });
  } catch (cause) {
    throw new UsageError(explainParseError(cause as Error, Object.keys(options)), { cause });
  }
}

/** What `parseArgs` found wrong, with the flag that was probably meant. */
export function explainParseError({ message }: Error, flags: readonly string[]): string {
  const unknown = /^Unknown option '--?([^']*)'/.exec(message)?.[1];
  const valued = /^Option '(?:-\w, )?(--?[\w-]+).*argument (?:missing|is ambiguous)/.exec(message)?.[1];
  if (valued !== undefined) return `${valued} needs a value; one that begins with a dash is written ${valued}=-...`;
  if (unknown === undefined) return message.split(". ")[0] ?? message;
  const near = nearestName(unknown, flags);
  const dashes = unknown.length === 1 ? "-" : "--";
  return `there is no flag ${dashes}${unknown}${near === undefined ? "" : `; did you mean --${near}?`}`;
}

/** Refuses what was typed beyond the arguments a command takes. */
export function noMore(rest: readonly string[]): void {
  if (rest[0] !== undefined) throw new UsageError(`"${rest[0]}" is one argument too many.`);
}

/** The action of a command, e.g. `create` of `token create`. */
export function chooseAction<const Action extends string>(
  command: string,
  action: string,
  actions: readonly Action[],
): Action {
  const found = actions.find((one) => one === action);
  if (found !== undefined) return found;
  const near = nearestName(action, actions);
  const hint = near === undefined ? `there is ${actions.join(", ")}` : `did you mean "${command} ${near}"?`;
  throw new UsageError(`there is no "${command} ${action}"; ${hint}`);
}

/** The value of a flag that must be there. */
export function required(value: string | undefined, flag: string, example: string): string {
  if (value === undefined || value === "") throw new UsageError(`${flag} is missing, for example ${flag.startsWith("-") ? `${flag} ` : ""}${example}.`);
  return value;
}

/** `90s`, `15m`, `12h`, `7d` as seconds. */
export function seconds(text: string, flag: string): number {
  const [, amount, unit] = /^([1-9][0-9]{0,8})([smhd])$/.exec(text) ?? [];
  if (amount === undefined || unit === undefined)
    throw new UsageError(`${flag} takes a number and a unit, s, m, h or d: for example ${flag} 1h.`);
  return Number(amount) * { s: 1, m: 60, h: 3600, d: 86_400 }[unit as "s" | "m" | "h" | "d"];
}

/** One of the reasons to revoke a certificate. */
export function revocationReason(text: string): RevocationReason {
  const found = revocationReasons.find((one) => one === text);
  if (found === undefined) throw new UsageError(`--reason is one of ${revocationReasons.join(", ")}, not ${text}.`);
  return found;
}
