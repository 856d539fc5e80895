import { readFileSync } from "node:fs";
import type { Values } from "./sources.ts";
import { isTrustDomain } from "../pki/spiffe-id.ts";
import { ConfigError } from "../settings/errors.ts";

/** Where the CA above this one is, and what proves to it who asks. */
export interface UpstreamInvitation {
  /** `https://host:port` of its API. */
  readonly url: string;
  /** Its own trust domain. */
  readonly parentTrustDomain: string;
  /** SHA-256 of a root of its, lower-case hex: the only thing that is believed at first. */
  readonly rootFingerprint: string;
  /** A join token of its, good once. */
  readonly token: string;
  /** What the CA that is invited issues for. */
  readonly trustDomain: string;
  /** By what its API is known: its own identity, or, where a load balancer or AWS Lambda ends its TLS, a certificate of the web. */
  readonly tls: "spiffe" | "web";
}

/** The one string that `countersign issuer invite` prints: a prefix secret scanners can know, then base64url of JSON. */
export function encodeUpstream({ url, parentTrustDomain, rootFingerprint, token, trustDomain, tls }: UpstreamInvitation): string {
  return prefix + Buffer.from(JSON.stringify([url, parentTrustDomain, rootFingerprint, token, trustDomain, tls])).toString("base64url");
}

/** @returns undefined for a text that is none, is cut off or altered */
export function parseUpstream(text: string): UpstreamInvitation | undefined {
  const trimmed = text.trim();
  if (!trimmed.startsWith(prefix) || trimmed.length > maxLength) return undefined;
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(trimmed.slice(prefix.length), "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
  if (!Array.isArray(parts) || parts.length !== 6 || !parts.every((part) => typeof part === "string")) return undefined;
  const [url, parentTrustDomain, rootFingerprint, token, trustDomain, tls] = parts as [string, string, string, string, string, string];
  if (tls !== "spiffe" && tls !== "web") return undefined;
  if (!URL.canParse(url) || new URL(url).protocol !== "https:" || !/^[0-9a-f]{64}$/.test(rootFingerprint)) return undefined;
  if (!isTrustDomain(parentTrustDomain) || !isTrustDomain(trustDomain)) return undefined;
  return { url, parentTrustDomain, rootFingerprint, token, trustDomain, tls };
}

/**
 * The CA above this one, as the settings name it.
 * @returns undefined where they name none
 * @throws {ConfigError} value_refused | contradiction
 */
export function readUpstream({ upstream: text, upstreamFile: path, trustDomain }: Values): UpstreamInvitation | undefined {
  if (text === undefined && path === undefined) return undefined;
  const [key, upstream] = text === undefined ? (["upstreamFile", readUpstreamFile(path ?? "")] as const) : (["upstream", parseUpstream(text)] as const);
  if (upstream === undefined) {
    const what = text === undefined ? `${path} is not a readable file with` : "it is not";
    throw new ConfigError("value_refused", `${key} is refused: ${what} the string that "countersign issuer invite" prints at the CA above this one; have a new one made there`);
  }
  if (trustDomain !== undefined && trustDomain !== upstream.trustDomain) {
    throw new ConfigError("contradiction", `${key} is for the trust domain ${upstream.trustDomain}, and trustDomain is ${trustDomain}: leave trustDomain out, or have a string made with "countersign issuer invite --trust-domain ${trustDomain}"`);
  }
  if (upstream.trustDomain === upstream.parentTrustDomain) throw new ConfigError("contradiction", `${key} names ${upstream.trustDomain} for both CAs, and each has a trust domain of its own`);
  return upstream;
}

/**
 * What settings are under another CA where nobody says. Issuers live longer than where the root is at hand: what is left behind the longest
 * certificate is how long the CA above may be away, two days and a half.
 */
export function defaultsUnder({ trustDomain }: UpstreamInvitation): Values {
  return { trustDomain, issuerLifetime: "7d", issuerRenewBefore: "84h" };
}

function readUpstreamFile(path: string): UpstreamInvitation | undefined {
  try {
    return parseUpstream(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

const prefix = "countersign_upstream_";
const maxLength = 4096;
