import { readFileSync } from "node:fs";
import { nearestName } from "./config-spelling.ts";
import { parseAcme, type AcmeConfig } from "./config-acme.ts";
import { parseAttestors, type AttestorConfig } from "./config-attestors.ts";
import { parseProfiles, type ProfileConfig } from "./config-profiles.ts";
import { configTable, type Setting, type SettingKey } from "./config-table.ts";
import {
  apiNamesOf, defaultPublicUrl, parseBytes, parseCount, parseInstant, parseDuration, parseListen, parseNames, parsePublicUrl, parsePercent,
  parseOutsideRootKey, parseRootKey, parseSealing, parseStatusUrl,
  type Listen, type OutsideRootKey, type RootKey,
} from "./config-values.ts";
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
  readonly foreignIssuerLifetimeMaxMs: number;
  /** Parts of a root's usable life, 0 to 1. */
  readonly rootPreparePart: number;
  readonly rootActivatePart: number;
  /** Part of a root's life. */
  readonly rootRetirePart: number;
  readonly renewWindowMs: number;
  readonly jwtSvidLifetimeMs: number;
  readonly jwtSvidLifetimeMaxMs: number;
  readonly jwtKeyRotationMs: number;
  readonly clockSkewMs: number;
  readonly profiles: readonly ProfileConfig[];
  readonly attestors: readonly AttestorConfig[];
  /** Undefined: ACME is not spoken. */
  readonly acme: AcmeConfig | undefined;
  /** Linkerd's identity protocol; undefined: it is not spoken. */
  readonly linkerd: { readonly listen: Listen; readonly attestor: string } | undefined;
  readonly keyAlgorithm: "ec-p256" | "ec-p384";
  readonly rootCertPath: string | undefined;
  readonly rootKey: RootKey;
  /** Where the next root's key is; undefined where the CA makes it. */
  readonly nextRootKey: OutsideRootKey | undefined;
  readonly rootKeyPassphrase: string | undefined;
  /** ID, ARN or alias of the KMS key that wraps the sealing key of a new store; undefined: it is in a file or the environment. */
  readonly sealingKmsKey: string | undefined;
  readonly kmsEndpoint: string | undefined;
  readonly kmsRegion: string | undefined;
  readonly pkcs11Pin: string | undefined;
  readonly sealingKeyPath: string;
  /** Base64, from the environment; goes before the file. */
  readonly sealingKey: string | undefined;
  /** A second listener, for CRLs, OCSP and issuer certificates; undefined for none. */
  readonly statusListen: Listen | undefined;
  /** `http://host[:port][/path]`, no trailing slash; undefined when certificates do not say where their status is. */
  readonly statusUrl: string | undefined;
  /** A power of two, at most 256. */
  readonly crlShards: number;
  readonly crlLifetimeMs: number;
  readonly rootCrlLifetimeMs: number;
  readonly ocspLifetimeMs: number;
  readonly noRevAvail: boolean;
  readonly witnessPath: string;
  readonly checkpointPath: string | undefined;
  /** Size of a witnessed log whose loss is accepted. */
  readonly acceptRollback: number | undefined;
  /** What was issued up to then was issued by a wrong clock. */
  readonly acceptClockMs: number | undefined;
  readonly joinTokenLifetimeMs: number;
  readonly certificateRetentionMs: number;
  readonly reattestGraceMs: number;
  readonly bodyLimitBytes: number;
  readonly requestTimeoutMs: number;
  readonly maxConnections: number;
  /** Requests a second, each. */
  readonly callerRate: number;
  readonly workloadRate: number;
  readonly anonymousRate: number;
  readonly maxWatchers: number;
  /** What peers and proxies without a stream are asked to poll at. */
  readonly bundleRefreshHintMs: number;
  readonly federationSettleMs: number;
  /** PEM; undefined: those that Node brings along. */
  readonly federationWebRoots: string | undefined;
  /** Proxies before us whose X-Forwarded-For is believed. */
  readonly forwarders: number | undefined;
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
  const read = <T>(key: SettingKey, parse: (text: string) => T | undefined, hint: string): T => {
    const value = parse(text(key));
    if (value === undefined) throw refused(key, text(key), hint);
    return value;
  };
  const duration = (key: SettingKey): number => read(key, parseDuration, "write a whole number with its unit (ms, s, m, h, d, y), e.g. 24h");
  const percent = (key: SettingKey): number => read(key, parsePercent, "write a number of percent, e.g. 80%");

  const dataDir = text("dataDir");
  const listen = read("listen", parseListen, "write host:port, e.g. 127.0.0.1:8443 or [::1]:8443");
  const publicUrl = values.publicUrl === undefined
    ? defaultPublicUrl(listen) : read("publicUrl", parsePublicUrl, "write https://host or https://host:port");
  const statusListen = values.statusListen === undefined
    ? undefined : read("statusListen", parseListen, "write host:port, e.g. 0.0.0.0:8080");
  const statusUrl = values.statusUrl !== undefined
    ? read("statusUrl", parseStatusUrl, "write http://host, http://host:port or either with a path") : statusListen && defaultPublicUrl(statusListen, "http");
  const attestors = readAttestors(values.attestors, text("trustDomain"));
  const furtherNames = read("apiNames", parseNames, "write DNS names in lower case and IP addresses");
  const config: CaConfig = {
    trustDomain: checkTrustDomain(text("trustDomain")),
    dataDir,
    storeUrl: text("store").replace("<dataDir>", dataDir),
    listenHost: listen.host,
    listenPort: listen.port,
    publicUrl,
    ...apiNamesOf(publicUrl, listen.host, furtherNames),
    certificateLifetimeMs: duration("certificateLifetime"),
    certificateLifetimeMaxMs: duration("certificateLifetimeMax"),
    issuerLifetimeMs: duration("issuerLifetime"),
    issuerRenewBeforeMs: duration("issuerRenewBefore"),
    rootLifetimeMs: duration("rootLifetime"),
    foreignIssuerLifetimeMaxMs: duration("foreignIssuerLifetimeMax"),
    rootPreparePart: percent("rootPrepareAt"),
    rootActivatePart: percent("rootActivateAt"),
    rootRetirePart: percent("rootRetireAfter"),
    renewWindowMs: duration("renewWindow"),
    jwtSvidLifetimeMs: duration("jwtSvidLifetime"),
    jwtSvidLifetimeMaxMs: duration("jwtSvidLifetimeMax"),
    jwtKeyRotationMs: duration("jwtKeyRotation"),
    clockSkewMs: duration("clockSkew"),
    profiles: readProfiles(values.profiles, text("trustDomain"), {
      lifetimeMs: duration("certificateLifetime"), lifetimeMaxMs: duration("certificateLifetimeMax"), issuerRenewBeforeMs: duration("issuerRenewBefore"),
      clockSkewMs: duration("clockSkew"), noRevAvail: text("noRevAvail") === "on",
    }),
    acme: readAcme(values.acme), attestors, linkerd: readLinkerd(values, attestors),
    keyAlgorithm: text("keyAlgorithm") as CaConfig["keyAlgorithm"],
    rootCertPath: values.rootCert,
    rootKey: read("rootKey", parseRootKey, "write software, offline, kms:KEY-ID, pkcs11:... or the path of a file"),
    nextRootKey: values.nextRootKey === undefined ? undefined : read("nextRootKey", parseOutsideRootKey, "write kms:KEY-ID or pkcs11:..."),
    rootKeyPassphrase: values.rootKeyPassphrase,
    sealingKmsKey: read("sealing", parseSealing, "write file or kms:KEY-ID") || undefined,
    kmsEndpoint: values.kmsEndpoint,
    kmsRegion: values.kmsRegion,
    pkcs11Pin: values.pkcs11Pin,
    sealingKeyPath: text("sealingKeyFile").replace("<dataDir>", dataDir),
    sealingKey: values.sealingKey,
    statusListen,
    statusUrl,
    crlShards: Number(text("crlShards")),
    crlLifetimeMs: duration("crlLifetime"),
    rootCrlLifetimeMs: duration("rootCrlLifetime"),
    ocspLifetimeMs: duration("ocspLifetime"),
    noRevAvail: text("noRevAvail") === "on",
    witnessPath: text("witnessFile").replace("<dataDir>", dataDir),
    checkpointPath: values.checkpoint,
    acceptRollback: values.acceptRollback === undefined ? undefined : read("acceptRollback", parseCount, "write the size that the CA named when it refused to start"),
    acceptClockMs: values.acceptClock === undefined ? undefined : read("acceptClock", parseInstant, "write the time that the CA named when it refused to start"),
    joinTokenLifetimeMs: duration("joinTokenLifetime"),
    certificateRetentionMs: duration("certificateRetention"),
    reattestGraceMs: duration("reattestGrace"),
    bodyLimitBytes: read("bodyLimit", parseBytes, "write a whole number with its unit (B, KiB, MiB), e.g. 64KiB"),
    requestTimeoutMs: duration("requestTimeout"),
    maxConnections: read("maxConnections", parseCount, "write a whole number above 0"),
    callerRate: read("callerRate", parseCount, "write a whole number above 0"),
    workloadRate: read("workloadRate", parseCount, "write a whole number above 0"),
    anonymousRate: read("anonymousRate", parseCount, "write a whole number above 0"),
    maxWatchers: read("maxWatchers", parseCount, "write a whole number above 0"),
    bundleRefreshHintMs: duration("bundleRefreshHint"),
    federationSettleMs: duration("federationSettle"),
    federationWebRoots: values.federationWebRoots === undefined ? undefined : read("federationWebRoots", readCertificates, "name a readable file of certificates in PEM"),
    forwarders: values.forwarders === undefined ? undefined : read("forwarders", parseCount, "write a whole number above 0, or leave it out"),
    logLevel: text("logLevel"),
  };
  checkTogether(config);
  return Object.freeze(config);
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

/** Their text, unread: OpenSSL is who reads them. */
function readCertificates(path: string): string | undefined {
  try {
    const text = readFileSync(path, "utf8");
    return text.includes("-----BEGIN CERTIFICATE-----") ? text : undefined;
  } catch {
    return undefined;
  }
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
      "file_unreadable",
      `the configuration file ${path} must hold one JSON object, e.g. {"trustDomain": "east"}`,
    );
  }
  return value as Record<string, unknown>;
}

interface ProfileBounds {
  readonly lifetimeMs: number;
  readonly lifetimeMaxMs: number;
  readonly issuerRenewBeforeMs: number;
  readonly clockSkewMs: number;
  readonly noRevAvail: boolean;
}

/** All that is wrong with the profiles is told at once. */
function readProfiles(json: string | undefined, trustDomain: string, bounds: ProfileBounds): readonly ProfileConfig[] {
  if (json === undefined) return [];
  const faults: string[] = [];
  const profiles = parseProfiles(json, trustDomain, faults);
  for (const { name, lifetimeMs = bounds.lifetimeMs, lifetimeMaxMs = Math.max(lifetimeMs, bounds.lifetimeMaxMs), noRevAvail = bounds.noRevAvail } of profiles) {
    if (lifetimeMs < minCertificateLifetimeMs) faults.push(`${name}.lifetime is below 1m: proxies could not renew in time`);
    if (lifetimeMs > lifetimeMaxMs) faults.push(`${name}.lifetime is longer than its lifetimeMax`);
    if (lifetimeMaxMs + bounds.clockSkewMs >= bounds.issuerRenewBeforeMs) faults.push(`${name}.lifetimeMax is not shorter than issuerRenewBefore, so certificates would outlive their issuer`);
    if (noRevAvail && lifetimeMaxMs + bounds.clockSkewMs >= maxNoRevAvailMs) faults.push(`${name}.lifetimeMax is not below 7d, and only what expires soon may do without revocation (noRevAvail)`);
  }
  if (faults.length > 0) throw new ConfigError("value_refused", `profiles is refused: ${faults.join("; ")}`);
  return profiles;
}

function readAttestors(json: string | undefined, trustDomain: string): readonly AttestorConfig[] {
  const faults: string[] = [];
  const attestors = json === undefined ? [] : parseAttestors(json, trustDomain, faults);
  if (faults.length > 0) throw new ConfigError("value_refused", `attestors is refused: ${faults.join("; ")}`);
  return attestors;
}

function readAcme(json: string | undefined): AcmeConfig | undefined {
  const faults: string[] = [];
  const acme = json === undefined ? undefined : parseAcme(json, faults);
  if (faults.length > 0) throw new ConfigError("value_refused", `acme is refused: ${faults.join("; ")}`);
  return acme;
}

function readLinkerd({ linkerdListen, linkerdAttestor }: Partial<Record<SettingKey, string>>, attestors: readonly AttestorConfig[]): CaConfig["linkerd"] {
  const refuse = (key: SettingKey, why: string): never => {
    throw new ConfigError("value_refused", `${key} is refused: ${why}`);
  };
  if (linkerdListen === undefined) return linkerdAttestor === undefined ? undefined : refuse("linkerdAttestor", "it says nothing without linkerdListen");
  const listen = parseListen(linkerdListen) ?? refuse("linkerdListen", "write host:port, e.g. 0.0.0.0:8080");
  const attestor = attestors.find(({ name }) => name === linkerdAttestor);
  if (attestor?.type !== "kubernetes") return refuse("linkerdAttestor", "name one of the attestors, of the type kubernetes, whose audience is that of the proxies' tokens: identity.l5d.io");
  if (attestor.rules.some(({ dnsNames }) => dnsNames.length === 0)) {
    refuse("linkerdAttestor", `${attestor.name} gives no DNS names, by which Linkerd knows workloads; set dnsNames, e.g. ["{serviceAccount}.{namespace}.serviceaccount.identity.linkerd.cluster.local"]`);
  }
  return { listen, attestor: attestor.name };
}

function checkTrustDomain(text: string): string {
  try {
    return parseTrustDomain(text);
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw refused("trustDomain", text, cause.message);
  }
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
    throw contradiction(
      "issuerLifetime is not longer than issuerRenewBefore: each issuer would be replaced at once; raise issuerLifetime",
    );
  }
  if (rootLifetimeMs <= issuerLifetimeMs) {
    throw contradiction(
      "rootLifetime is not longer than issuerLifetime: no issuer would fit; raise rootLifetime",
    );
  }
  if (config.rootActivatePart < config.rootPreparePart) {
    throw contradiction("rootActivateAt comes before rootPrepareAt: a root is prepared first; raise the one or lower the other");
  }
  if (clockSkewMs >= certificateLifetimeMs) throw contradiction("clockSkew is not shorter than certificateLifetime; lower it");
  for (const [key, lifetimeMs] of [["crlLifetime", config.crlLifetimeMs], ["rootCrlLifetime", config.rootCrlLifetimeMs], ["ocspLifetime", config.ocspLifetimeMs]] as const) {
    if (lifetimeMs < minStatusLifetimeMs) throw new ConfigError("value_refused", `${key} is below 1m: others could not fetch the next in time; make it longer`);
  }
  if (config.noRevAvail && certificateLifetimeMaxMs + clockSkewMs >= maxNoRevAvailMs) {
    throw contradiction("noRevAvail is on, and certificateLifetimeMax is not below 7d: only what expires soon may do without revocation; lower the one or turn off the other");
  }
  if (config.jwtSvidLifetimeMs > config.jwtSvidLifetimeMaxMs) throw contradiction("jwtSvidLifetime is longer than jwtSvidLifetimeMax: lower the one or raise the other");
  if (config.jwtSvidLifetimeMs < minJwtSvidLifetimeMs) throw new ConfigError("value_refused", "jwtSvidLifetime is below 1m: it would end on its way between clocks; make it longer");
  if (config.jwtKeyRotationMs < 2 * config.jwtSvidLifetimeMaxMs) {
    throw contradiction("jwtKeyRotation is not twice jwtSvidLifetimeMax: keys would be replaced before what they signed has ended; raise the one or lower the other");
  }
  const { kind } = config.rootKey;
  if (config.rootCertPath === undefined ? kind === "file" : kind === "software") {
    throw contradiction("rootCert and rootKey belong together: give both, or neither to have a root made");
  }
  if (config.sealingKmsKey !== undefined && config.sealingKey !== undefined) {
    throw contradiction("sealing by KMS and sealingKey exclude each other: drop one of them");
  }
}

function refused(key: string, value: string, hint: string): ConfigError {
  return new ConfigError("value_refused", `${key} = "${value}" is refused: ${hint}`);
}

function contradiction(message: string): ConfigError {
  return new ConfigError("contradiction", message);
}

const minCertificateLifetimeMs = 60_000;
const minStatusLifetimeMs = 60_000;
const minJwtSvidLifetimeMs = 60_000;
/** The CA/Browser Forum's bound for short-lived certificates since March 2026 (BR 1.6.1). */
const maxNoRevAvailMs = 7 * 86_400_000;
