import type { Policy } from "../../ca/contract/policies.ts";
import type { Service } from "../../ca/contract/services.ts";
import { parseSpiffeId } from "../../ca/pki/spiffe-id.ts";
import { compileInbound } from "../../ca/policy/decide.ts";
import type { ProxyConfig } from "../../proxy/config/config.ts";
import type { DataPathDeps } from "../../proxy/data-path.ts";
import { countExchanges, type Exchanges } from "../../proxy/exchanges.ts";
import { identityHolder, type Identity, type IdentityHolder, type PolicyInForce } from "../../proxy/identity/source.ts";
import { startInbound, type InboundDataPath } from "../../proxy/inbound/server.ts";
import type { Log } from "../../proxy/log.ts";
import { createMetrics, type Metrics } from "../../proxy/metrics.ts";
import { startOutbound, type OutboundDataPath } from "../../proxy/outbound/start.ts";
import { testAuthority, type TestAuthority, type TestLeaf } from "./test-ca.ts";

/** A proxy half with everything a test may turn. */
export interface TestHalf<Path> {
  readonly path: Path;
  readonly port: number;
  readonly config: ProxyConfig;
  readonly holder: IdentityHolder;
  readonly metrics: Metrics;
  /** Messages of the log, with their level. */
  readonly logged: readonly string[];
}

/** The world most tests live in: trust domain east with one issuer. Made once; keys are the slow part. */
export const east: TestAuthority = testAuthority({ trustDomain: "east" });
export const eastIssuer: TestAuthority = east.issuer();

/** The identity a leaf gives its holder. */
export function identityOf(leaf: TestLeaf, spiffeId: string, notAfterMs = Date.UTC(2046, 0, 1)): Identity {
  return Object.freeze({
    id: parseSpiffeId(spiffeId), chain: leaf.chain, chainPem: leaf.chainPem, privateKey: leaf.privateKey, serialNumber: leaf.serialNumber,
    notBeforeMs: 0, notAfterMs,
  });
}

/** An identity of east. */
export function eastIdentity(name: string): Identity {
  const spiffeId = `spiffe://east/${name}`;
  return identityOf(eastIssuer.leaf({ spiffeId }), spiffeId);
}

/** A holder that has this identity and trusts these authorities, each for its own trust domain. */
export function holderOf(identity: Identity | undefined, authorities: readonly TestAuthority[] = [east], now: () => number = Date.now): IdentityHolder {
  const holder = identityHolder(now);
  const own = authorities[0]!.trustDomain;
  holder.setBundles(own, new Map(authorities.map((authority) => [authority.trustDomain, authority.bundle()])));
  holder.setRevoked(new Set());
  if (identity !== undefined) holder.setPolicy(policyFor(identity));
  holder.setIdentity(identity);
  return holder;
}

/** What is in force with these policies and services; by default there are none. */
export function policyFor({ id }: Identity, policies: readonly Policy[] = [], services: readonly Service[] = [], sequence = 1): PolicyInForce {
  return { sequence, inbound: compileInbound(id, policies), services };
}

export type HalfOptions = Partial<ProxyConfig> & { readonly holder?: IdentityHolder; readonly metrics?: Metrics; readonly exchanges?: Exchanges };

/** Starts the inbound half of `spiffe://east/world` on a free loopback port. */
export async function inboundHalf({ holder = holderOf(eastIdentity("world")), metrics = createMetrics(), exchanges = countExchanges(metrics), ...config }: HalfOptions): Promise<TestHalf<InboundDataPath>> {
  const { log, logged } = memoryLog();
  const whole = { ...baseConfig, inbound: loopback, ...config };
  const path = await startInbound({ config: whole, source: holder, metrics, exchanges, log } satisfies DataPathDeps);
  return { path, port: portOf(path.addresses[0]), config: whole, holder, metrics, logged };
}

/** Starts the outbound half of `spiffe://east/hello` on a free loopback port. */
export async function outboundHalf({ holder = holderOf(eastIdentity("hello")), metrics = createMetrics(), exchanges = countExchanges(metrics), ...config }: HalfOptions): Promise<TestHalf<OutboundDataPath>> {
  const { log, logged } = memoryLog();
  const whole = { ...baseConfig, outbound: loopback, ...config };
  const path = await startOutbound({ config: whole, source: holder, metrics, exchanges, log } satisfies DataPathDeps);
  return { path, port: portOf(path.addresses[0]), config: whole, holder, metrics, logged };
}

/** Value of the first series of a metric whose labels contain all of `parts`; 0 when there is none. */
export function metricValue(metrics: Metrics, name: string, ...parts: readonly string[]): number {
  const line = metrics.text().split("\n").find((text) => text.startsWith(`${name}{`) && parts.every((part) => text.includes(part)));
  return Number(line?.split(" ").at(-1) ?? 0);
}

export const portOf = (address: string | undefined): number => Number(address?.split(":").at(-1));

function memoryLog(): { log: Log; logged: string[] } {
  const logged: string[] = [];
  const at = (level: string) => (fields: object, message: string) => void logged.push(`${level} ${message} ${JSON.stringify(fields)}`);
  return { log: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") }, logged };
}

const loopback = { host: "127.0.0.1", port: 0 };
const baseConfig: ProxyConfig = {
  bootstrap: undefined, platform: undefined, inbound: undefined, app: { host: "127.0.0.1", port: 1 }, inboundProtocol: "detect", opaquePorts: new Set(), inboundMode: "strict", outbound: undefined,
  transparent: undefined, transparentDefault: "refuse", routes: [],
  tcpListeners: [], admin: undefined, scraped: undefined, allow: undefined, foreignBundles: new Map(), foreignBundleMap: undefined, stateDir: undefined, files: undefined, workloadApi: undefined, keyAlgorithm: "ec-p256", keyExchange: "hybrid",
  certificateLifetimeSeconds: undefined, revocationPollMs: 1000, handshakeTimeoutMs: 5000, connectTimeoutMs: 5000, idleTimeoutMs: 60_000,
  connectionMaxAgeMs: 3_600_000, maxConnections: 1000, drainTimeoutMs: 1000, logLevel: "info", accessLog: undefined, remoteTap: "on", otlpEndpoint: undefined, caByWebRoots: false, traceEvery: 1,
};
