import { ConfigError } from "../../ca/settings/errors.ts";
import { readSettingsFile } from "../../ca/settings/file.ts";
import { nearestName } from "../../ca/settings/spelling.ts";
import { parseCount, parseDuration } from "../../ca/settings/values.ts";
import { configTable, type ConfigSetting, type SettingKey } from "./table.ts";

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
  const fromFile = file ?? (path === undefined ? {} : readSettingsFile(path, '{"app": "127.0.0.1:8080"}'));
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
    duration: (key) => readDuration(key, text(key)),
    count: (key) => readCount(key, text(key) ?? ""),
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
    if (setting === undefined && name !== "config") throw unknown(`flag --${name}`, nearestName(name, flagNames), "--");
    const value = inline ?? args[++index];
    if (value === undefined) throw new ConfigError("value_refused", `--${name} needs a value`);
    const known = flags.get(name);
    if (known !== undefined && setting?.unit !== "list") throw new ConfigError("value_refused", `--${name} is given twice`);
    flags.set(name, [...(known ?? []), value]);
  }
  return flags;
}

function flagValue({ flag, unit }: ConfigSetting, flags: ReadonlyMap<string, string[]>): readonly string[] | undefined {
  const value = flag === undefined ? undefined : flags.get(flag);
  return unit === "list" ? value?.flatMap(words) : value;
}

function envValue({ env: name, unit }: ConfigSetting, env: Readonly<Record<string, string | undefined>>): readonly string[] | undefined {
  const value = env[name];
  if (value === undefined) return undefined;
  return unit === "list" ? words(value) : [value];
}

function fileValue({ key, unit }: ConfigSetting, file: Readonly<Record<string, unknown>>): readonly string[] | undefined {
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

function defaultValue({ default: value, unit }: ConfigSetting): readonly string[] | undefined {
  return value === undefined ? undefined : unit === "list" ? words(value) : [value];
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

function readDuration(key: SettingKey, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const valueMs = parseDuration(text) ?? 0;
  if (valueMs < 1 || valueMs > maxDurationMs) {
    throw refused(key, text, "write a whole number above 0 with its unit (ms, s, m, h, d, y), e.g. 30s");
  }
  return valueMs;
}

function readCount(key: SettingKey, text: string): number {
  const value = parseCount(text);
  if (value === undefined) throw refused(key, text, "write a whole number above 0");
  return value;
}

function refuseUnknown(env: object, file: object): void {
  const keys = configTable.map(({ key }) => key as string);
  for (const key of Object.keys(file)) if (!keys.includes(key)) throw unknown(`key "${key}" in the configuration file`, nearestName(key, keys));
  const secret = configTable.find(({ key, flag }) => flag === undefined && Object.hasOwn(file, key));
  if (secret !== undefined) {
    throw refused(
      secret.key, undefined, `it is a secret and has no place in the configuration file; set ${secret.env} instead`,
    );
  }
  const names = configTable.map((setting) => setting.env);
  for (const name of Object.keys(env)) {
    if (name === "COUNTERSIGN_PROXY_CONFIG" || names.includes(name)) continue;
    const meant = names.find((known) => withoutProxy(known) === withoutProxy(name));
    // Without PROXY_ it may be the CA's, or somebody else's: only what would be a setting of ours is refused.
    if (name.startsWith("COUNTERSIGN_PROXY_") ? kubernetesServiceVariable.test(name) : meant === undefined || ofTheCa.includes(name)) continue;
    throw unknown(`environment variable ${name}`, meant ?? nearestName(name, names));
  }
}

function unknown(what: string, near: string | undefined, prefix = ""): ConfigError {
  const hint = near === undefined ? "see countersign-proxy --help for all of them" : `did you mean ${prefix}${near}?`;
  return new ConfigError("unknown_setting", `unknown ${what}; ${hint}`);
}

const withoutProxy = (name: string): string => name.replace(/^COUNTERSIGN_PROXY_/, "COUNTERSIGN_");
/** What the CA and its commands read by a name that is ours but for PROXY_. */
const ofTheCa: readonly string[] = ["TOKEN_FILE", "TRUST_DOMAIN", "KEY_ALGORITHM", "CERTIFICATE_LIFETIME", "MAX_CONNECTIONS", "LOG_LEVEL"].map((name) => `COUNTERSIGN_${name}`);
const flagNames = configTable.flatMap(({ flag }) => flag ?? []);
/** Kubernetes puts these into every pod of a namespace that has a Service named `countersign-proxy` or `countersign-proxy-*`. */
const kubernetesServiceVariable =
  /^COUNTERSIGN_PROXY_(?:.*_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/;
/** How every bootstrap string begins (`ca/pki/bootstrap.ts`). */
const bootstrapMark = "countersign_join_";
/** Ten years: more is a slip of the pen. */
const maxDurationMs = 3650 * 86_400_000;
