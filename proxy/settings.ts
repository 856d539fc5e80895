import { readFileSync } from "node:fs";
import { configTable, type Setting, type SettingKey } from "./config-table.ts";

/** `value_refused`: a setting is wrong or missing. */
export type ConfigErrorCode = "file_unreadable" | "unknown_setting" | "value_refused";

/** A configuration the proxy does not start with. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly code: ConfigErrorCode;

  constructor(code: ConfigErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Where settings come from, the first going before the second and so on. */
export interface SettingSources {
  /** Command line without the program's name. */
  readonly args?: readonly string[];
  /** COUNTERSIGN_BOOTSTRAP and COUNTERSIGN_PROXY_*; others are ignored. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Already parsed content of the file, for tests. */
  readonly file?: Readonly<Record<string, unknown>>;
}

/** The values as written, one reader for each unit; undefined when nobody said and there is no default. */
export interface Settings {
  text(key: SettingKey): string | undefined;
  list(key: SettingKey): readonly string[] | undefined;
  /** Milliseconds. */
  duration(key: SettingKey): number | undefined;
  count(key: SettingKey): number;
}

/**
 * Collects every setting from flags, environment, file and defaults, in this order.
 * @throws {ConfigError} file_unreadable | unknown_setting | value_refused
 */
export function gatherSettings({ args = [], env = {}, file }: SettingSources): Settings {
  const flags = parseFlags(args);
  const path = flags.get("config")?.at(-1) ?? env["COUNTERSIGN_PROXY_CONFIG"];
  const fromFile = file ?? (path === undefined ? {} : readConfigFile(path));
  refuseUnknown(env, fromFile);
  const values = new Map<SettingKey, readonly string[]>();
  for (const setting of configTable) {
    const value = flagValue(
      setting, flags) ?? envValue(setting, env) ?? fileValue(setting, fromFile) ?? defaultValue(setting,
    );
    if (value === undefined) continue;
    const [first = ""] = value;
    if (setting.choices !== undefined && !setting.choices.includes(first)) {
      throw refused(setting.key, first, `choose one of ${setting.choices.join(", ")}`);
    }
    values.set(setting.key, value);
  }
  const text = (key: SettingKey): string | undefined => values.get(key)?.[0];
  return {
    text,
    list: (key) => values.get(key),
    duration: (key) => parseDuration(key, text(key)),
    count: (key) => parseCount(key, text(key) ?? ""),
  };
}

/** Makes the refusal of one value; `value` is left out where it is a secret, or looks like one in the wrong place. */
export function refused(key: string, value: string | undefined, hint: string): ConfigError {
  const shown = value === undefined || value.includes(bootstrapMark) ? key : `${key} = "${value}"`;
  return new ConfigError("value_refused", `${shown} is refused: ${hint}`);
}

/** `--flag value` and `--flag=value`; a list flag may be repeated. */
function parseFlags(args: readonly string[]): Map<string, string[]> {
  const flags = new Map<string, string[]>();
  for (let index = 0; index < args.length; index++) {
    const [, name, inline] = /^--([a-z][a-z-]*)(?:=(.*))?$/s.exec(args[index] ?? "") ?? [];
    // Not repeated in the message: what stands here may be a bootstrap string.
    if (name === undefined) {
      throw new ConfigError("unknown_setting", `argument ${index + 1} is not a --flag; see countersign-proxy --help`);
    }
    if (name === "bootstrap") {
      throw new ConfigError("value_refused",
        "--bootstrap is refused: every process of this machine could read the token in the process list; " +
          "pass it in COUNTERSIGN_BOOTSTRAP or --bootstrap-file, and delete the token that was just shown");
    }
    const setting = configTable.find(({ flag }) => flag === name);
    if (setting === undefined && name !== "config") throw unknown(`flag --${name}`, nearest(name, flagNames), "--");
    const value = inline ?? args[++index];
    if (value === undefined) throw new ConfigError("value_refused", `--${name} needs a value`);
    const known = flags.get(name);
    if (known !== undefined && setting?.unit !== "list") throw new ConfigError("value_refused", `--${name} is given twice`);
    flags.set(name, [...(known ?? []), value]);
  }
  return flags;
}

function flagValue({ flag, unit }: Setting, flags: ReadonlyMap<string, string[]>): readonly string[] | undefined {
  const value = flag === undefined ? undefined : flags.get(flag);
  return unit === "list" ? value?.flatMap(words) : value;
}

function envValue({ env: name, unit }: Setting, env: Readonly<Record<string, string | undefined>>): readonly string[] | undefined {
  const value = env[name];
  if (value === undefined) return undefined;
  return unit === "list" ? words(value) : [value];
}

function fileValue({ key, unit }: Setting, file: Readonly<Record<string, unknown>>): readonly string[] | undefined {
  const value = file[key];
  if (value === undefined) return undefined;
  if (unit === "list" && Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  if (unit === "count" && typeof value === "number") return [String(value)];
  if (unit === "list" || typeof value !== "string") {
    throw refused(
      key, undefined, `it must be ${unit === "list" ? "a list of strings" : "a string"} in the configuration file`,
    );
  }
  return [value];
}

function defaultValue({ default: value, unit }: Setting): readonly string[] | undefined {
  return value === undefined ? undefined : unit === "list" ? words(value) : [value];
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

function parseDuration(key: SettingKey, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  const valueMs = digits === undefined ? 0 : Number(digits) * unitMs[unit as keyof typeof unitMs];
  if (valueMs < 1 || valueMs > maxDurationMs) {
    throw refused(key, text, "write a whole number above 0 with its unit (ms, s, m, h, d), e.g. 30s");
  }
  return valueMs;
}

function parseCount(key: SettingKey, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw refused(key, text, "write a whole number above 0");
  return Number(text);
}

function refuseUnknown(env: object, file: object): void {
  const keys = configTable.map(({ key }) => key as string);
  for (const key of Object.keys(file)) if (!keys.includes(key)) throw unknown(`key "${key}" in the configuration file`, nearest(key, keys));
  const secret = configTable.find(({ key, flag }) => flag === undefined && Object.hasOwn(file, key));
  if (secret !== undefined) {
    throw refused(
      secret.key, undefined, `it is a secret and has no place in the configuration file; set ${secret.env} instead`,
    );
  }
  const names = configTable.map((setting) => setting.env);
  for (const name of Object.keys(env)) {
    if (!name.startsWith("COUNTERSIGN_PROXY_") || name === "COUNTERSIGN_PROXY_CONFIG" || names.includes(name)) continue;
    if (kubernetesServiceVariable.test(name)) continue;
    throw unknown(`environment variable ${name}`, nearest(name, names));
  }
}

function unknown(what: string, near: string | undefined, prefix = ""): ConfigError {
  const hint = near === undefined ? "see countersign-proxy --help for all of them" : `did you mean ${prefix}${near}?`;
  return new ConfigError("unknown_setting", `unknown ${what}; ${hint}`);
}

/** The known name at most `maxSlips` edits away, letter case and separators aside. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const bare = (text: string): string => text.replaceAll(/[-_]/g, "").toLowerCase();
  const scored = known.map((candidate) => ({ candidate, slips: editDistance(bare(name), bare(candidate)) }));
  scored.sort((a, b) => a.slips - b.slips);
  return scored[0] !== undefined && scored[0].slips <= maxSlips ? scored[0].candidate : undefined;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substituted, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}

function readConfigFile(path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? "it is not JSON" : (cause as NodeJS.ErrnoException).code;
    throw new ConfigError("file_unreadable", `cannot read the configuration file ${path}: ${reason}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConfigError(
      "file_unreadable", `the configuration file ${path} must hold one JSON object, e.g. {"app": "127.0.0.1:8080"}`,
    );
  }
  return value as Record<string, unknown>;
}

const flagNames = configTable.flatMap(({ flag }) => flag ?? []);
/** Kubernetes puts these into every pod of a namespace that has a Service named `countersign-proxy` or `countersign-proxy-*`. */
const kubernetesServiceVariable =
  /^COUNTERSIGN_PROXY_(?:.*_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/;
const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
/** How every bootstrap string begins (`ca/pki/bootstrap.ts`). */
const bootstrapMark = "countersign_join_";
/** Ten years: more is a slip of the pen. */
const maxDurationMs = 3650 * 86_400_000;
/** Two slips of the pen are still a misspelling; more are another word. */
const maxSlips = 2;
