import { readFileSync } from "node:fs";
import { parseAcme, type AcmeConfig } from "./acme.ts";
import { parseAttestors, type AttestorConfig } from "./attestors.ts";
import { checkTogether } from "./contradictions.ts";
import { readLinkerd, type LinkerdConfig } from "./linkerd.ts";
import { parseProfiles, type ProfileConfig } from "./profiles.ts";
import { gatherSettings, refused, withDefaults, type ConfigSources } from "./sources.ts";
import type { SettingKey } from "./table.ts";
import { defaultsUnder, readUpstream, type UpstreamInvitation } from "./upstream.ts";
import {
  apiNamesOf, defaultPublicUrl, parseBytes, parseInstant, parseListen, parseNames, parseOutsideRootKey, parsePercent, parsePublicUrl, parseRootKey,
  parseSealing, parseStatusUrl, type Listen, type OutsideRootKey, type RootKey,
} from "./values.ts";
import { PkiError } from "../pki/errors.ts";
import { parseTrustDomain } from "../pki/spiffe-id.ts";
import { ConfigError } from "../settings/errors.ts";
import { readSettingsFile } from "../settings/file.ts";
import { parseCount, parseDuration } from "../settings/values.ts";

/** What the operator decided, checked and frozen. Every default is in `table.ts`. */
export interface CaConfig {
  readonly trustDomain: string;
  readonly dataDir: string;
  /** `sqlite:<path>` or a postgres URL, which may hold a password: never log it. */
  readonly storeUrl: string;
  /** False where tables and a first start are somebody else's. */
  readonly initializes: boolean;
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
  readonly linkerd: LinkerdConfig | undefined;
  readonly keyAlgorithm: "ec-p256" | "ec-p384";
  readonly rootCertPath: string | undefined;
  readonly rootKey: RootKey;
  /** Where the next root's key is; undefined where the CA makes it. */
  readonly nextRootKey: OutsideRootKey | undefined;
  readonly rootKeyPassphrase: string | undefined;
  /** The CA that signs this one's issuers; undefined: this one has a root of its own. */
  readonly upstream: UpstreamInvitation | undefined;
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
  /** Of the Web PKI, for the bundle endpoint under names of its own; undefined: it has the API's certificate alone. */
  readonly webCertificate: { readonly certPath: string; readonly keyPath: string } | undefined;
  readonly federationHub: string | undefined;
  readonly federationHubEndpoint: string | undefined;
  readonly publish: string | undefined;
  readonly publishEndpoint: string | undefined;
  /** AWS's own names for who this process is, and where; what is not there its SDK looks for. */
  readonly aws: Readonly<Record<string, string | undefined>>;
  /** Proxies before us whose X-Forwarded-For is believed. */
  readonly forwarders: number | undefined;
  readonly logLevel: string;
}

/**
 * Reads the configuration: a flag goes before the environment, the environment before the file, the file before the default.
 * @throws {ConfigError} file_unreadable | unknown_setting | value_refused | contradiction
 */
export function readConfig({ flags = {}, env = {}, file }: ConfigSources): CaConfig {
  const path = flags["config"] ?? env["COUNTERSIGN_CONFIG"];
  const given = gatherSettings(flags, env, file ?? (path === undefined ? {} : readSettingsFile(path, '{"trustDomain": "east"}')));
  const upstream = readUpstream(given);
  const values = withDefaults(given, upstream === undefined ? {} : defaultsUnder(upstream));
  const text = (key: SettingKey): string => values[key] ?? "";
  const read = <T>(key: SettingKey, parse: (text: string) => T | undefined, hint: string): T => {
    const value = parse(text(key));
    if (value === undefined) throw refused(key, text(key), hint);
    return value;
  };
  const duration = (key: SettingKey): number => read(key, parseDuration, "write a whole number with its unit (ms, s, m, h, d, y), e.g. 24h");
  const percent = (key: SettingKey): number => read(key, parsePercent, "write a number of percent, e.g. 80%");

  const dataDir = text("dataDir");
  const listen = read("listen", parseListen, "write host:port, e.g. 127.0.0.1:8443, [::1]:8443 or *:8443");
  const publicUrl = values.publicUrl === undefined
    ? defaultPublicUrl(listen) : read("publicUrl", parsePublicUrl, "write https://host or https://host:port");
  const statusListen = values.statusListen === undefined
    ? undefined : read("statusListen", parseListen, "write host:port, e.g. *:8080");
  const statusUrl = values.statusUrl !== undefined
    ? read("statusUrl", parseStatusUrl, "write http://host, http://host:port or either with a path") : statusListen && defaultPublicUrl(statusListen, "http");
  const attestors = readWhole("attestors", (faults) => (values.attestors === undefined ? [] : parseAttestors(values.attestors, text("trustDomain"), faults)));
  const apiNames = apiNamesOf(publicUrl, listen.host, read("apiNames", parseNames, "write DNS names in lower case and IP addresses"));
  const config: CaConfig = {
    trustDomain: checkTrustDomain(text("trustDomain")),
    dataDir,
    storeUrl: checkStoreUrl(text("store")).replace("<dataDir>", dataDir),
    initializes: text("initialize") === "on",
    listenHost: listen.host,
    listenPort: listen.port,
    publicUrl,
    ...apiNames,
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
    profiles: readWhole("profiles", (faults) => (values.profiles === undefined ? [] : parseProfiles(values.profiles, text("trustDomain"), {
      lifetimeMs: duration("certificateLifetime"), lifetimeMaxMs: duration("certificateLifetimeMax"), issuerRenewBeforeMs: duration("issuerRenewBefore"),
      clockSkewMs: duration("clockSkew"), noRevAvail: text("noRevAvail") === "on",
    }, faults))),
    acme: readWhole("acme", (faults) => (values.acme === undefined ? undefined : parseAcme(values.acme, faults))), attestors, linkerd: readLinkerd(values, attestors, apiNames.apiDnsNames),
    keyAlgorithm: text("keyAlgorithm") as CaConfig["keyAlgorithm"],
    rootCertPath: values.rootCert,
    rootKey: read("rootKey", parseRootKey, "write software, offline, kms:KEY-ID, pkcs11:... or the path of a file"),
    nextRootKey: values.nextRootKey === undefined ? undefined : read("nextRootKey", parseOutsideRootKey, "write kms:KEY-ID or pkcs11:..."),
    rootKeyPassphrase: values.rootKeyPassphrase,
    upstream,
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
    webCertificate: readWebFiles(values),
    federationHub: values.federationHub,
    federationHubEndpoint: values.federationHubEndpoint,
    publish: values.publish,
    publishEndpoint: values.publishEndpoint,
    aws: Object.fromEntries(awsNames.map((name) => [name, env[name]])),
    forwarders: values.forwarders === undefined ? undefined : read("forwarders", parseCount, "write a whole number above 0, or leave it out"),
    logLevel: text("logLevel"),
  };
  checkTogether(config);
  return Object.freeze(config);
}

function readWebFiles({ webCert, webKey }: Partial<Record<SettingKey, string>>): CaConfig["webCertificate"] {
  if (webCert !== undefined && webKey !== undefined) return { certPath: webCert, keyPath: webKey };
  if (webCert === undefined && webKey === undefined) return undefined;
  throw new ConfigError("contradiction", "webCert and webKey belong together: give both, e.g. certbot's fullchain.pem and privkey.pem, or neither");
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

/** All that is wrong with a setting in JSON is told at once. */
function readWhole<T>(key: SettingKey, parse: (faults: string[]) => T): T {
  const faults: string[] = [];
  const value = parse(faults);
  if (faults.length > 0) throw new ConfigError("value_refused", `${key} is refused: ${faults.join("; ")}`);
  return value;
}

/** What it is may hold a password, so it is not repeated. */
function checkStoreUrl(url: string): string {
  if (/^(?:sqlite|postgres|postgresql):/.test(url)) return url;
  throw new ConfigError("value_refused", "store is refused: write sqlite:/path/to/file.db or postgres://user@host/database");
}

function checkTrustDomain(text: string): string {
  try {
    return parseTrustDomain(text);
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw refused("trustDomain", text, cause.message);
  }
}

/** @source AWS SDKs and Tools Reference Guide, "Environment variables" */
const awsNames = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"];
