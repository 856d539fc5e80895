import { configTable, type ConfigSetting, type SettingKey } from "./table.ts";
import { ConfigError } from "../settings/errors.ts";
import { nearestName } from "../settings/spelling.ts";

/** Where settings come from. */
export interface ConfigSources {
  /** By flag name without dashes: `{ "trust-domain": "east" }`; `config` names the file. */
  readonly flags?: Readonly<Record<string, string | undefined>>;
  /** COUNTERSIGN_* variables; others are ignored. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Already parsed content of the file, for tests and the demo. */
  readonly file?: Readonly<Record<string, unknown>>;
}

/** The values as written; absent where nobody said and there is no default. */
export type Values = Partial<Record<SettingKey, string>>;

/**
 * Collects every setting as it is written: a flag goes before the environment, the environment before the file. Defaults are not among them.
 * @throws {ConfigError} unknown_setting | value_refused
 */
export function gatherSettings(flags: NonNullable<ConfigSources["flags"]>, env: NonNullable<ConfigSources["env"]>, file: object): Values {
  refuseUnknown(flags, env, file);
  const values: Values = {};
  for (const setting of configTable) {
    const value = (setting.flag === undefined ? undefined : flags[setting.flag]) ?? env[setting.env] ?? fileValue(setting, file);
    if (value === undefined) continue;
    if (setting.choices !== undefined && !setting.choices.includes(value)) {
      throw refused(setting.key, value, `choose one of ${setting.choices.join(", ")}`);
    }
    values[setting.key] = value;
  }
  return values;
}

/** What operators set, and where they said nothing what is told from elsewhere, or the default. */
export function withDefaults(given: Values, told: Values): Values {
  const defaults = Object.fromEntries(configTable.flatMap(({ key, default: value }) => (value === undefined ? [] : [[key, value]])));
  return { ...defaults, ...told, ...given };
}

function fileValue({ key, flag, unit, env }: ConfigSetting, file: object): string | undefined {
  const value: unknown = (file as Record<string, unknown>)[key];
  if (value === undefined) return undefined;
  if (flag === undefined) {
    throw new ConfigError(
      "value_refused",
      `${key} is a secret and not read from the file; set ${env} instead`,
    );
  }
  if (unit === "list" && Array.isArray(value) && value.every((item) => typeof item === "string")) return value.join(",");
  if (unit === "json" && typeof value === "object") return JSON.stringify(value);
  if (unit === "count" && typeof value === "number") return String(value);
  if (typeof value !== "string") throw new ConfigError("value_refused", `${key} in the configuration file must be a string`);
  return value;
}

function refuseUnknown(flags: object, env: object, file: object): void {
  const keys = configTable.map(({ key }) => key as string);
  for (const key of Object.keys(file)) if (!keys.includes(key)) throw unknown(`key "${key}" in the configuration file`, nearestName(key, keys));
  const flagNames = configTable.flatMap(({ flag }) => flag ?? []);
  for (const flag of Object.keys(flags)) {
    if (flag !== "config" && !flagNames.includes(flag)) throw unknown(`flag --${flag}`, nearestName(flag, flagNames));
  }
  // Kubernetes puts COUNTERSIGN_PORT, COUNTERSIGN_SERVICE_HOST and more into pods beside a service of that name, so
  // only what looks like a slip of the pen is refused here.
  const names = configTable.map((setting) => setting.env);
  for (const name of Object.keys(env)) {
    if (!name.startsWith("COUNTERSIGN_") || names.includes(name)) continue;
    const near = nearestName(name, names);
    if (near !== undefined) throw unknown(`environment variable ${name}`, near);
  }
}

function unknown(what: string, near: string | undefined): ConfigError {
  const hint = near === undefined ? "see `countersign serve --help` for all of them" : `did you mean ${near}?`;
  return new ConfigError("unknown_setting", `unknown ${what}; ${hint}`);
}

/** Makes the refusal of one value, which is no secret. */
export function refused(key: string, value: string, hint: string): ConfigError {
  return new ConfigError("value_refused", `${key} = "${value}" is refused: ${hint}`);
}
