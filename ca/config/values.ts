import { isIPv4, isIPv6 } from "node:net";
import { isObject } from "../pki/json.ts";

/** Reads `64KiB` as bytes. */
export function parseBytes(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,9})(B|KiB|MiB)$/.exec(text) ?? [];
  return digits === undefined ? undefined : Number(digits) * unitBytes[unit as keyof typeof unitBytes];
}

/** Reads an instant as the CA writes it, e.g. 2026-01-01T00:00:00.000Z. */
export function parseInstant(text: string): number | undefined {
  const ms = Date.parse(text);
  return Number.isSafeInteger(ms) && new Date(ms).toISOString() === text ? ms : undefined;
}

/**
 * Reads a JSON object of things by name.
 * @param expected  says what it should be where it is not
 * @param faults    gets a sentence for each thing that is wrong
 */
export function parseNamed(json: string, expected: string, faults: string[]): readonly (readonly [name: string, body: unknown])[] {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    faults.push("it is not JSON");
    return [];
  }
  if (isObject(value)) return Object.entries(value);
  faults.push(expected);
  return [];
}

export interface Listen {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
}

/** Reads `127.0.0.1:8443`, `localhost:8443`, `[::1]:8443`, or `*:8443` for every address, IPv4 and IPv6. */
export function parseListen(text: string): Listen | undefined {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  return host === undefined || Number(port) > 65_535 ? undefined : { host, port: Number(port) };
}

/** What Node.js is asked to listen on: without a host it takes `::`, IPv4 included, or 0.0.0.0 where there is no IPv6. */
export function hostToListenOn(host: string): string | undefined {
  return host === anyHost ? undefined : host;
}

/** Reads `80%` as 0.8. */
export function parsePercent(text: string): number | undefined {
  const [, percent] = /^(\d{1,3}(?:\.\d{1,2})?)%$/.exec(text) ?? [];
  return percent === undefined || Number(percent) > 100 ? undefined : Number(percent) / 100;
}

/** Reads an https URL of a host and perhaps a port, without a path. */
export function parsePublicUrl(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const bare = url !== undefined && url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "";
  return url?.protocol === "https:" && bare ? url.origin : undefined;
}

/** Reads an http URL of a host and perhaps a port and a path; what is published under it is signed by itself. */
export function parseStatusUrl(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const bare = url !== undefined && url.search === "" && url.hash === "" && url.username === "" && url.password === "";
  return url?.protocol === "http:" && bare && url.href.length <= maxStatusUrlChars ? url.href.replace(/\/$/, "") : undefined;
}

/** Where others reach a listener, as far as it can tell. */
export function defaultPublicUrl({ host, port }: Listen, scheme: "http" | "https" = "https"): string {
  return `${scheme}://${isUnspecified(host) ? "localhost" : isAddress(host) && host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Reads DNS names and IP addresses, separated by commas. */
export function parseNames(text: string): readonly string[] | undefined {
  const names = text.split(",").map((part) => part.trim()).filter((part) => part !== "");
  return names.every((name) => isAddress(name) || dnsName.test(name)) ? names : undefined;
}

/** Names of the API's certificate: of its URL, of its listener, of this machine where it listens there, and further ones. */
export function apiNamesOf(
  publicUrl: string, listenHost: string, further: readonly string[],
): { readonly apiDnsNames: readonly string[]; readonly apiIpAddresses: readonly string[] } {
  const urlHost = new URL(publicUrl).hostname.replaceAll(/[[\]]/g, "");
  const local = isUnspecified(listenHost) || listenHost === "localhost" || listenHost.startsWith("127.") || listenHost === "::1";
  const names = [
    urlHost, ...(isUnspecified(listenHost) ? [] : [listenHost]), ...(local ? ["localhost", "127.0.0.1", "::1"] : []), ...further,
  ];
  const unique = [...new Set(names.map((name) => name.toLowerCase()))];
  return { apiDnsNames: unique.filter((name) => !isAddress(name)), apiIpAddresses: unique.filter(isAddress) };
}

/** Node.js is asked for IPv6 last: its expression takes milliseconds to compile. */
function isAddress(text: string): boolean {
  return isIPv4(text) || text === "::1" || (text.includes(":") && isIPv6(text));
}

/** Where the root's key is, as the operator wrote it. */
export type RootKey =
  | { readonly kind: "software" }
  | { readonly kind: "offline" }
  | { readonly kind: "kms"; readonly keyId: string }
  | { readonly kind: "pkcs11"; readonly uri: string }
  | { readonly kind: "file"; readonly path: string };

/** Reads `software`, `offline`, `kms:alias/root`, `pkcs11:...`; anything else is a path. */
export function parseRootKey(text: string): RootKey | undefined {
  if (text === "software" || text === "offline") return { kind: text };
  if (text.startsWith("pkcs11:")) return { kind: "pkcs11", uri: text };
  if (!text.startsWith("kms:")) return text === "" ? undefined : { kind: "file", path: text };
  const keyId = parseKmsKey(text);
  return keyId === undefined ? undefined : { kind: "kms", keyId };
}

/** A key that an operator made outside, by its place. */
export type OutsideRootKey = Extract<RootKey, { readonly kind: "kms" | "pkcs11" }>;

/** Reads where a root's key is outside this CA; undefined for one that is a file, and for no place at all. */
export function parseOutsideRootKey(text: string): OutsideRootKey | undefined {
  const key = parseRootKey(text);
  return key?.kind === "kms" || key?.kind === "pkcs11" ? key : undefined;
}

/** Reads `file` as "" and `kms:KEY-ID` as the key's ID. */
export function parseSealing(text: string): string | undefined {
  return text === "file" ? "" : parseKmsKey(text);
}

/** An ID, an ARN or an alias. @source AWS KMS Developer Guide, "Key identifiers" */
function parseKmsKey(text: string): string | undefined {
  return /^kms:([A-Za-z0-9:/_-]{1,2048})$/.exec(text)?.[1];
}

function isUnspecified(host: string): boolean {
  return host === anyHost || host === "0.0.0.0" || host === "::";
}

const anyHost = "*";
const unitBytes = { B: 1, KiB: 1024, MiB: 1024 * 1024 } as const;
/** It stands in each certificate three times. */
const maxStatusUrlChars = 200;
const dnsName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
