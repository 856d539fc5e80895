import { readFileSync, statSync } from "node:fs";
import { parseBootstrap, type Bootstrap } from "../../ca/pki/bootstrap.ts";
import { PkiError } from "../../ca/pki/errors.ts";
import type { KeyAlgorithm } from "../../ca/pki/key.ts";
import { parseSpiffeId, parseSpiffeIdPattern, parseTrustDomain, type SpiffeId, type SpiffeIdPattern } from "../../ca/pki/spiffe-id.ts";
import { isLoopback, parseListenAddress, parseSocketAddress, type SocketAddress } from "../address.ts";
import { readPlatform, type PlatformConfig } from "./platform.ts";
import { gatherSettings, refused, type SettingSources } from "./sources.ts";
import type { LogLevel } from "../log.ts";
import type { RenewalCommand } from "../workload/renewal-command.ts";
import type { FilesConfig } from "../workload/write-files.ts";

/** What the operator decided, checked and frozen. Every default is in `table.ts`. Holds a secret: never log it whole. */
export interface ProxyConfig {
  /** Undefined only where a platform vouches, or a state directory may hold an identity already. */
  readonly bootstrap: Bootstrap | undefined;
  /** Who vouches in place of a bootstrap string. */
  readonly platform: PlatformConfig | undefined;
  /** Undefined: no inbound side. */
  readonly inbound: SocketAddress | undefined;
  readonly app: SocketAddress;
  readonly inboundProtocol: InboundProtocol;
  /** Ports of the app where `detect` does not look. */
  readonly opaquePorts: ReadonlySet<number>;
  readonly inboundMode: InboundMode;
  /** HTTP forward proxy; undefined: none. */
  readonly outbound: SocketAddress | undefined;
  /** Where redirected connections of the app arrive; undefined: none are taken. */
  readonly transparent: SocketAddress | undefined;
  readonly transparentDefault: TransparentDefault;
  readonly routes: readonly Route[];
  readonly tcpListeners: readonly TcpListener[];
  readonly admin: SocketAddress | undefined;
  /** Where `/metrics` and probes are open to whoever reaches it; undefined: nowhere. */
  readonly scraped: SocketAddress | undefined;
  /** Undefined: everyone of the own trust domain. Empty: nobody. */
  readonly allow: readonly SpiffeIdPattern[] | undefined;
  /** Trust domain -> path of its bundle. */
  readonly foreignBundles: ReadonlyMap<string, string>;
  readonly foreignBundleMap: string | undefined;
  /** Undefined: memory only. */
  readonly stateDir: string | undefined;
  /** Identity and trust as files; undefined: none. */
  readonly files: FilesConfig | undefined;
  /** The Workload API's socket; undefined: none. */
  readonly workloadApi: { readonly path: string; readonly mode: number } | undefined;
  readonly keyAlgorithm: KeyAlgorithm;
  readonly keyExchange: KeyExchange;
  /** Undefined: the CA's default. */
  readonly certificateLifetimeSeconds: number | undefined;
  readonly revocationPollMs: number;
  readonly handshakeTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly connectionMaxAgeMs: number;
  readonly maxConnections: number;
  readonly drainTimeoutMs: number;
  /** The CA's TLS is a front end's. */
  readonly caByWebRoots: boolean;
  readonly logLevel: LogLevel;
  /** `stdout` or a path; undefined: none. */
  readonly accessLog: string | undefined;
  readonly remoteTap: "on" | "off";
  /** Undefined: requests are not traced. */
  readonly otlpEndpoint: URL | undefined;
  /** At least 1. */
  readonly traceEvery: number;
}

/** `detect` looks at the first bytes; `tcp` looks at none, for servers that speak first. */
export type InboundProtocol = "detect" | "http" | "tcp";

/** `hybrid`: what OpenSSL prefers, ML-KEM-768 with X25519 where both sides have it. */
export type KeyExchange = "hybrid" | "x25519";

/** `audit` only tells of what policy would deny; `permissive` takes plain text beside mutual TLS. */
export type InboundMode = "strict" | "permissive" | "audit";

/** What becomes of a redirected connection for which no route names who must answer. */
export type TransparentDefault = "refuse" | "passthrough";

/** Where the app's requests for a host go, and who must answer there. */
export interface Route {
  /** Host as the app names it, lower case. */
  readonly host: string;
  /** Undefined: any port. */
  readonly port: number | undefined;
  readonly address: SocketAddress;
  readonly serverId: SpiffeId;
}

/** A local TCP port that leads to one service. */
export interface TcpListener {
  readonly listen: SocketAddress;
  readonly address: SocketAddress;
  readonly serverId: SpiffeId;
}

/**
 * Reads the configuration: a flag goes before the environment, the environment before the file, the file before the default.
 * @throws {ConfigError} file_unreadable | unknown_setting | value_refused | contradiction
 */
export function readConfig(sources: SettingSources): ProxyConfig {
  const settings = gatherSettings(sources);
  const { text, list, duration, count } = settings;
  const lifetimeMs = duration("certificateLifetime");
  const platform = readPlatform(settings, sources.env ?? {});
  const config: ProxyConfig = {
    platform, bootstrap: platform === undefined ? readBootstrap(text("bootstrap"), text("bootstrapFile"), text("stateDir")) : undefined,
    inbound: listenAddress("inbound", text("inbound")),
    app: address("app", text("app") ?? ""),
    inboundProtocol: text("inboundProtocol") as InboundProtocol,
    opaquePorts: new Set((list("opaquePorts") ?? []).map(parsePort)),
    inboundMode: text("inboundMode") as InboundMode,
    outbound: listenAddress("outbound", text("outbound")),
    transparent: listenAddress("transparent", text("transparent")),
    transparentDefault: text("transparentDefault") as TransparentDefault,
    routes: (list("route") ?? []).map(parseRoute),
    tcpListeners: (list("tcp") ?? []).map(parseTcpListener),
    admin: adminAddress(text("admin")),
    scraped: listenAddress("metrics", text("metrics")),
    allow: list("allow")?.map(parseAllowed),
    foreignBundles: foreignBundles(list("foreignBundle") ?? []),
    foreignBundleMap: text("foreignBundleMap"),
    stateDir: text("stateDir"),
    files: readFiles(text("writeDir"), list("onRenewal"), duration("onRenewalTimeout") ?? 0, sources.env ?? {}),
    workloadApi: readWorkloadSocket(text("workloadSocket"), text("workloadSocketMode") ?? ""),
    keyAlgorithm: text("keyAlgorithm") as KeyAlgorithm,
    keyExchange: text("keyExchange") as KeyExchange,
    certificateLifetimeSeconds: lifetimeMs === undefined ? undefined : Math.floor(lifetimeMs / 1000),
    revocationPollMs: duration("revocationPoll") ?? 0,
    handshakeTimeoutMs: duration("handshakeTimeout") ?? 0,
    connectTimeoutMs: duration("connectTimeout") ?? 0,
    idleTimeoutMs: duration("idleTimeout") ?? 0,
    connectionMaxAgeMs: duration("connectionMaxAge") ?? 0,
    maxConnections: count("maxConnections"),
    drainTimeoutMs: duration("drainTimeout") ?? 0,
    caByWebRoots: text("caTls") === "web",
    logLevel: text("logLevel") as LogLevel,
    accessLog: text("accessLog"),
    remoteTap: text("remoteTap") as "on" | "off",
    otlpEndpoint: readOtlpEndpoint(text("otlpEndpoint")),
    traceEvery: count("traceEvery"),
  };
  return Object.freeze(config);
}

/** The message never holds the text: a cut-off bootstrap string is still most of a secret. */
function readBootstrap(text: string | undefined, file: string | undefined, stateDir: string | undefined): Bootstrap | undefined {
  const origin = text !== undefined ? "COUNTERSIGN_BOOTSTRAP" : file;
  const value = text ?? (file === undefined ? undefined : readSecretFile(file));
  if (value === undefined) {
    if (stateDir !== undefined) return undefined;
    throw refused("bootstrap", undefined,
      'nothing is set; run "countersign token create --id <SPIFFE ID>" at the CA ' +
        "and pass what it prints in COUNTERSIGN_BOOTSTRAP or --bootstrap-file, or let the platform vouch with --attest");
  }
  try {
    return parseBootstrap(value);
  } catch (cause) {
    throw refused("bootstrap", undefined, `${origin} is ${cause instanceof PkiError ? cause.message : "unreadable"}`);
  }
}

function readSecretFile(path: string): string {
  try {
    const { mode, size } = statSync(path);
    if ((mode & 0o077) !== 0) {
      throw refused("bootstrapFile", path, "others may read it; run chmod 600 on it, and make a new token if in doubt");
    }
    if (size > maxBootstrapFileBytes) throw refused("bootstrapFile", path, "it is too large to be a bootstrap string");
    return readFileSync(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === undefined || !/^E[A-Z]+$/.test(code)) throw cause;
    throw refused("bootstrapFile", path, `it cannot be read (${code})`);
  }
}

function listenAddress(key: string, text: string | undefined): SocketAddress | undefined {
  if (text === undefined || text === "off") return undefined;
  return parseListenAddress(text) ?? fail(key, text, "write host:port, e.g. 127.0.0.1:4143, [::1]:4143 or *:4143, or off");
}

function adminAddress(text: string | undefined): SocketAddress | undefined {
  const listen = listenAddress("admin", text);
  if (listen !== undefined && !isLoopback(listen.host)) {
    throw refused(
      "admin",
      text,
      "it shows who talks to whom and asks no one who they are, so it listens on loopback only, e.g. 127.0.0.1:4191; for scrapers elsewhere there is metrics",
    );
  }
  return listen;
}

function address(key: string, text: string): SocketAddress {
  const parsed = parseSocketAddress(text);
  if (parsed === undefined || parsed.port === 0) throw refused(key, text, "write host:port, e.g. 127.0.0.1:8080");
  return parsed;
}

function parsePort(text: string): number {
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : 0;
  return port > 0 && port < 65_536 ? port : fail("opaquePorts", text, "write port numbers, e.g. 25 3306");
}

function parseRoute(text: string): Route {
  const { left, right, id } = splitRule("route", text, "HOST[:PORT]=ADDRESS:PORT,SPIFFE-ID");
  const withPort = parseSocketAddress(left);
  if (withPort === undefined && !/^(?:[^\s:[\]/@,=]{1,253}|\[[0-9a-fA-F:.]+\])$/.test(left)) {
    throw refused("route", text, `"${left}" is not HOST or HOST:PORT`);
  }
  const host = withPort?.host ?? left.replaceAll(/[[\]]/g, "");
  return { host: host.toLowerCase(), port: withPort?.port, address: address("route", right), serverId: serverId("route", id) };
}

function parseTcpListener(text: string): TcpListener {
  const { left, right, id } = splitRule("tcp", text, "LISTEN=ADDRESS:PORT,SPIFFE-ID");
  const listen = parseListenAddress(left) ?? fail("tcp", text, `"${left}" is not host:port`);
  return { listen, address: address("tcp", right), serverId: serverId("tcp", id) };
}

function splitRule(key: string, text: string, form: string): { left: string; right: string; id: string } {
  const [, left, right, id] = /^([^=,\s]+)=([^=,\s]+),([^=,\s]+)$/.exec(text) ?? [];
  if (left === undefined || right === undefined || id === undefined) {
    throw refused(key, text, `write ${form}; the identity is never guessed`);
  }
  return { left, right, id };
}

function serverId(key: string, text: string): SpiffeId {
  const id = explain(key, text, () => parseSpiffeId(text));
  if (id.path === "") throw refused(key, text, "it names a trust domain; name the workload that must answer");
  return id;
}

function parseAllowed(text: string): SpiffeIdPattern {
  return explain("allow", text, () => parseSpiffeIdPattern(text));
}

function foreignBundles(entries: readonly string[]): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const entry of entries) {
    const [, trustDomain, file] = /^([^=]+)=(.+)$/.exec(entry) ?? [];
    if (trustDomain === undefined || file === undefined) throw refused("foreignBundle", entry, "write TRUST-DOMAIN=FILE");
    explain("foreignBundle", entry, () => parseTrustDomain(trustDomain));
    if (files.has(trustDomain)) {
      throw refused("foreignBundle", entry, "the trust domain has a file already; one bundle per trust domain");
    }
    files.set(trustDomain, file);
  }
  return files;
}

function readFiles(
  dir: string | undefined, command: readonly string[] | undefined, timeoutMs: number, env: Readonly<Record<string, string | undefined>>,
): FilesConfig | undefined {
  const [program, ...args] = command ?? [];
  if (dir === undefined && program !== undefined) {
    throw refused("onRenewal", undefined, "it runs after files were written, and there is no writeDir for them; set both or none");
  }
  if (dir === "") throw refused("writeDir", dir, "name a folder");
  if (program === "") throw refused("onRenewal", undefined, "its first word is empty; name a program");
  if (dir === undefined) return undefined;
  const onRenewal: RenewalCommand | undefined = program === undefined
    ? undefined
    : { argv: [program, ...args], timeoutMs, environment: withoutSettings(env) };
  return { dir, onRenewal };
}

function readWorkloadSocket(path: string | undefined, mode: string): ProxyConfig["workloadApi"] {
  if (path === undefined) return undefined;
  if (!path.startsWith("/") || path.endsWith("/")) throw refused("workloadSocket", path, "write an absolute path, e.g. /run/countersign/workload.sock");
  if (Buffer.byteLength(path) > maxSocketPathBytes) throw refused("workloadSocket", path, `a path for a socket has up to ${maxSocketPathBytes} bytes`);
  return { path, mode: Number.parseInt(mode, 8) };
}

function readOtlpEndpoint(text: string | undefined): URL | undefined {
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if ((url?.protocol !== "http:" && url?.protocol !== "https:") || url.username !== "" || url.password !== "" || url.search !== "") {
    throw refused("otlpEndpoint", undefined, "write the collector's OTLP/HTTP address without user and query, e.g. http://127.0.0.1:4318");
  }
  return url;
}

/** Among our settings is a token, which a command has no use for. */
function withoutSettings(env: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(env).flatMap(([name, value]) => (name.startsWith("COUNTERSIGN_") || value === undefined ? [] : [[name, value]])));
}

function explain<T>(key: string, text: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw refused(key, text, cause instanceof PkiError ? cause.message : "it is unreadable");
  }
}

function fail(key: string, text: string, hint: string): never {
  throw refused(key, text, hint);
}

const maxBootstrapFileBytes = 8192;
/** unix(7): 107, less what the name is longer while the socket is made. */
const maxSocketPathBytes = 98;
