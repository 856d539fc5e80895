import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { configTable, type Setting, type SettingKey } from "./config-table.ts";
import { PkiError } from "./pki/errors.ts";
import { parseTrustDomain } from "./pki/spiffe-id.ts";

/** What the operator decided, checked and frozen. Every default is in `config-table.ts`. */
export interface CaConfig {
  readonly trustDomain: string;
  readonly dataDir: string;
  /** `sqlite:<path>` or a postgres URL, which may hold a password: never log it. */
  readonly storeUrl: string;
  readonly listenHost: string;
  /** 0 for any free port. */
  readonly listenPort: number;
  /** `https://host[:port]`, no trailing slash. */
  readonly publicUrl: string;
  readonly apiDnsNames: readonly string[];
  readonly apiIpAddresses: readonly string[];
  readonly certificateLifetimeMs: number;
  readonly certificateLifetimeMaxMs: number;
  readonly issuerLifetimeMs: number;
  readonly issuerRenewBeforeMs: number;
  readonly rootLifetimeMs: number;
  readonly clockSkewMs: number;
  readonly keyAlgorithm: "ec-p256" | "ec-p384";
  readonly rootCertPath: string | undefined;
  readonly rootKeyPath: string | undefined;
  readonly rootKeyPassphrase: string | undefined;
  readonly sealingKeyPath: string;
  /** Base64, from the environment; goes before the file. */
  readonly sealingKey: string | undefined;
  readonly joinTokenLifetimeMs: number;
  readonly reattestGraceMs: number;
  readonly bodyLimitBytes: number;
  readonly requestTimeoutMs: number;
  readonly maxConnections: number;
  readonly logLevel: string;
}

/** `value_refused`: one setting is wrong by itself. `contradiction`: two settings cannot both hold. */
export type ConfigErrorCode = "file_unreadable" | "unknown_setting" | "value_refused" | "contradiction";

/** A configuration the CA does not start with. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly code: ConfigErrorCode;

  constructor(code: ConfigErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export interface ConfigSources {
  /** By flag name without dashes: `{ "trust-domain": "east" }`; `config` names the file. */
  readonly flags?: Readonly<Record<string, string | undefined>>;
  /** COUNTERSIGN_* variables; others are ignored. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Already parsed content of the file, for tests and the demo. */
  readonly file?: Readonly<Record<string, unknown>>;
}

/**
 * Reads the configuration: a flag goes before the environment, the environment before the file, the file before the default.
 * @throws {ConfigError} file_unreadable | unknown_setting | value_refused | contradiction
 */
export function readConfig({ flags = {}, env = {}, file }: ConfigSources): CaConfig {
  const path = flags["config"] ?? env["COUNTERSIGN_CONFIG"];
  const values = gather(flags, env, file ?? (path === undefined ? {} : readConfigFile(path)));
  const text = (key: SettingKey): string => values[key] ?? "";
  const duration = (key: SettingKey): number => parseDuration(text(key), key);

  const dataDir = text("dataDir");
  const listen = parseListen(text("listen"));
  const publicUrl = parsePublicUrl(values.publicUrl ?? defaultPublicUrl(listen));
  const config: CaConfig = {
    trustDomain: checkTrustDomain(text("trustDomain")),
    dataDir,
    storeUrl: text("store").replace("<dataDir>", dataDir),
    listenHost: listen.host,
    listenPort: listen.port,
    publicUrl,
    ...apiNamesOf(publicUrl, listen.host, text("apiNames")),
    certificateLifetimeMs: duration("certificateLifetime"),
    certificateLifetimeMaxMs: duration("certificateLifetimeMax"),
    issuerLifetimeMs: duration("issuerLifetime"),
    issuerRenewBeforeMs: duration("issuerRenewBefore"),
    rootLifetimeMs: duration("rootLifetime"),
    clockSkewMs: duration("clockSkew"),
    keyAlgorithm: text("keyAlgorithm") as CaConfig["keyAlgorithm"],
    rootCertPath: values.rootCert,
    rootKeyPath: values.rootKey,
    rootKeyPassphrase: values.rootKeyPassphrase,
    sealingKeyPath: text("sealingKeyFile").replace("<dataDir>", dataDir),
    sealingKey: values.sealingKey,
    joinTokenLifetimeMs: duration("joinTokenLifetime"),
    reattestGraceMs: duration("reattestGrace"),
    bodyLimitBytes: parseBytes(text("bodyLimit"), "bodyLimit"),
    requestTimeoutMs: duration("requestTimeout"),
    maxConnections: parseCount(text("maxConnections"), "maxConnections"),
    logLevel: text("logLevel"),
  };
  checkTogether(config);
  return Object.freeze(config);
}

/** Reads `90s`, `24h`, `10y` (of 365 days); a bare number is refused, since nobody could tell its unit. Result in ms. */
export function parseDuration(text: string, key: string): number {
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h|d|y)$/.exec(text) ?? [];
  if (digits === undefined || unit === undefined) {
    throw refused(key, text, "write a whole number with its unit (ms, s, m, h, d, y), e.g. 24h");
  }
  return Number(digits) * unitMs[unit as keyof typeof unitMs];
}

type Values = Partial<Record<SettingKey, string>>;

function gather(flags: NonNullable<ConfigSources["flags"]>, env: NonNullable<ConfigSources["env"]>, file: object): Values {
  refuseUnknown(flags, env, file);
  const values: Values = {};
  for (const setting of configTable) {
    const value = (setting.flag === undefined ? undefined : flags[setting.flag]) ?? env[setting.env] ?? fileValue(setting, file) ?? setting.default;
    if (value === undefined) continue;
    if (setting.choices !== undefined && !setting.choices.includes(value)) {
      throw refused(setting.key, value, `choose one of ${setting.choices.join(", ")}`);
    }
    values[setting.key] = value;
  }
  return values;
}

function fileValue({ key, flag, unit, env }: Setting, file: object): string | undefined {
  const value: unknown = (file as Record<string, unknown>)[key];
  if (value === undefined) return undefined;
  if (flag === undefined) throw new ConfigError("value_refused", `${key} is a secret and not read from the file; set ${env} instead`);
  if (unit === "list" && Array.isArray(value) && value.every((item) => typeof item === "string")) return value.join(",");
  if (unit === "count" && typeof value === "number") return String(value);
  if (typeof value !== "string") throw new ConfigError("value_refused", `${key} in the configuration file must be a string`);
  return value;
}

function refuseUnknown(flags: object, env: object, file: object): void {
  const keys = configTable.map(({ key }) => key as string);
  for (const key of Object.keys(file)) if (!keys.includes(key)) throw unknown(`key "${key}" in the configuration file`, nearest(key, keys));
  const flagNames = configTable.flatMap(({ flag }) => flag ?? []);
  for (const flag of Object.keys(flags)) {
    if (flag !== "config" && !flagNames.includes(flag)) throw unknown(`flag --${flag}`, nearest(flag, flagNames));
  }
  // Kubernetes puts COUNTERSIGN_PORT, COUNTERSIGN_SERVICE_HOST and more into pods beside a service of that name, so
  // only what looks like a slip of the pen is refused here.
  const names = configTable.map((setting) => setting.env);
  for (const name of Object.keys(env)) {
    if (!name.startsWith("COUNTERSIGN_") || names.includes(name)) continue;
    const near = nearest(name, names);
    if (near !== undefined) throw unknown(`environment variable ${name}`, near);
  }
}

function unknown(what: string, near: string | undefined): ConfigError {
  const hint = near === undefined ? "see `countersign serve --help` for all of them" : `did you mean ${near}?`;
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
    throw new ConfigError("file_unreadable", `the configuration file ${path} must hold one JSON object, e.g. {"trustDomain": "east"}`);
  }
  return value as Record<string, unknown>;
}

function checkTrustDomain(text: string): string {
  try {
    return parseTrustDomain(text);
  } catch (cause) {
    throw refused("trustDomain", text, cause instanceof PkiError ? cause.message : "it is unreadable");
  }
}

interface Listen {
  readonly host: string;
  readonly port: number;
}

function parseListen(text: string): Listen {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535) throw refused("listen", text, "write host:port, e.g. 127.0.0.1:8443 or [::1]:8443");
  return { host, port: Number(port) };
}

function defaultPublicUrl({ host, port }: Listen): string {
  return `https://${isUnspecified(host) ? "localhost" : isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

function parsePublicUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const bare = url !== undefined && url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "";
  if (url?.protocol !== "https:" || !bare) throw refused("publicUrl", text, "write https://host or https://host:port");
  return url.origin;
}

function apiNamesOf(publicUrl: string, listenHost: string, extra: string): Pick<CaConfig, "apiDnsNames" | "apiIpAddresses"> {
  const urlHost = new URL(publicUrl).hostname.replaceAll(/[[\]]/g, "");
  const local = isUnspecified(listenHost) || listenHost === "localhost" || listenHost.startsWith("127.") || listenHost === "::1";
  const names = [urlHost, ...(isUnspecified(listenHost) ? [] : [listenHost]), ...(local ? ["localhost", "127.0.0.1", "::1"] : [])];
  for (const name of extra.split(",").map((part) => part.trim())) {
    if (name === "") continue;
    if (isIP(name) === 0 && !dnsName.test(name)) throw refused("apiNames", name, "write DNS names in lower case and IP addresses");
    names.push(name);
  }
  const unique = [...new Set(names.map((name) => name.toLowerCase()))];
  return { apiDnsNames: unique.filter((name) => isIP(name) === 0), apiIpAddresses: unique.filter((name) => isIP(name) !== 0) };
}

function isUnspecified(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

function parseBytes(text: string, key: string): number {
  const [, digits, unit] = /^(\d{1,9})(B|KiB|MiB)$/.exec(text) ?? [];
  if (digits === undefined) throw refused(key, text, "write a whole number with its unit (B, KiB, MiB), e.g. 64KiB");
  return Number(digits) * (unit === "MiB" ? 1024 * 1024 : unit === "KiB" ? 1024 : 1);
}

function parseCount(text: string, key: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw refused(key, text, "write a whole number above 0");
  return Number(text);
}

/** Lifetimes must nest: nothing may outlive what signed it (spire#1266: certificates silently cut short to fit the CA). */
function checkTogether(config: CaConfig): void {
  const { certificateLifetimeMs, certificateLifetimeMaxMs, issuerLifetimeMs, issuerRenewBeforeMs, rootLifetimeMs, clockSkewMs } = config;
  if (certificateLifetimeMs < minCertificateLifetimeMs) {
    throw new ConfigError("value_refused", "certificateLifetime is below 1m: proxies could not renew in time; make it longer");
  }
  if (certificateLifetimeMs > certificateLifetimeMaxMs) {
    throw contradiction("certificateLifetime is longer than certificateLifetimeMax: lower the one or raise the other");
  }
  if (issuerRenewBeforeMs <= certificateLifetimeMaxMs + clockSkewMs) {
    throw contradiction(
      "issuerRenewBefore is not longer than certificateLifetimeMax: a certificate issued just before the issuer's replacement " +
        "would outlive its issuer, and this CA never shortens one silently; make issuerRenewBefore at least an hour longer",
    );
  }
  if (issuerLifetimeMs <= issuerRenewBeforeMs) {
    throw contradiction("issuerLifetime is not longer than issuerRenewBefore: each issuer would be replaced at once; raise issuerLifetime");
  }
  if (rootLifetimeMs <= issuerLifetimeMs) throw contradiction("rootLifetime is not longer than issuerLifetime: no issuer would fit; raise rootLifetime");
  if (clockSkewMs >= certificateLifetimeMs) throw contradiction("clockSkew is not shorter than certificateLifetime; lower it");
  if ((config.rootCertPath === undefined) !== (config.rootKeyPath === undefined)) {
    throw contradiction("rootCert and rootKey belong together: give both, or neither to have a root made");
  }
}

function refused(key: string, value: string, hint: string): ConfigError {
  return new ConfigError("value_refused", `${key} = "${value}" is refused: ${hint}`);
}

function contradiction(message: string): ConfigError {
  return new ConfigError("contradiction", message);
}

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, y: 365 * 86_400_000 } as const;
const dnsName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const minCertificateLifetimeMs = 60_000;
/** Two slips of the pen are still a misspelling; more are another word. */
const maxSlips = 2;
