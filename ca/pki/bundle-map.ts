import { encodeBundle, parseBundleJson, readBundle, type Bundle } from "./bundle.ts";
import { PkiError } from "./errors.ts";
import { isObject } from "./json.ts";
import { parseTrustDomain } from "./spiffe-id.ts";

/**
 * Writes the bundles of several trust domains as one document, for software that takes all it is to believe from one file.
 * @param bundles  by trust domain, each its own; their refresh hints are left out
 * @throws {PkiError} trust_domain_malformed
 * @source SPIFFE Trust Domain and Bundle section 5
 */
export function encodeBundleMap(bundles: ReadonlyMap<string, Bundle>): string {
  const all = [...bundles].map(([trustDomain, { refreshHintSeconds: _, ...bundle }]) => `${JSON.stringify(parseTrustDomain(trustDomain))}:${encodeBundle(bundle)}`);
  return `{"trust_domains":{${all.join(",")}}}`;
}

/**
 * Reads a bundle map, which is the state of the world or nothing: one bundle of it that cannot be read refuses all of it. Refresh hints
 * in it are not looked at.
 * @returns the bundles by trust domain
 * @throws {PkiError} bundle_malformed | bundle_limit_exceeded | trust_domain_malformed
 * @source SPIFFE Trust Domain and Bundle section 5
 */
export function parseBundleMap(json: string): ReadonlyMap<string, Bundle> {
  if (json.length > maxMapChars) throw new PkiError("bundle_limit_exceeded", `bundle map is too large: ${json.length} characters, the limit is ${maxMapChars}`);
  const document = parseBundleJson(json);
  if (!isObject(document) || !isObject(document["trust_domains"])) throw malformed(`no object "trust_domains"`);
  refuseDuplicates(json);
  const entries = Object.entries(document["trust_domains"]);
  if (entries.length > maxTrustDomains) throw new PkiError("bundle_limit_exceeded", `bundle map is too large: ${entries.length} trust domains, the limit is ${maxTrustDomains}`);
  return new Map(entries.map(([trustDomain, bundle]) => {
    const { refreshHintSeconds: _, ...read } = readBundle(trustDomain, bundle);
    return [trustDomain, read];
  }));
}

/** `JSON.parse` takes the last of two members of one name, others the first: of a text that is JSON already, none may have two. */
function refuseDuplicates(json: string): void {
  /** Names of each object that is open; undefined for a list. */
  const open: (Set<string> | undefined)[] = [];
  for (const { 0: token, index } of json.matchAll(tokens)) {
    const names = open.at(-1);
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(undefined);
    else if (token === "}" || token === "]") open.pop();
    else if (names !== undefined && isName(json, index + token.length)) {
      const name = JSON.parse(token) as string;
      if (names.has(name)) throw malformed(`"${name.slice(0, maxNameChars)}" is there twice`);
      names.add(name);
    }
  }
}

/** What stands behind a member's name. */
function isName(json: string, end: number): boolean {
  colon.lastIndex = end;
  return colon.test(json);
}

function malformed(detail: string): PkiError {
  return new PkiError("bundle_malformed", `bundle map is not valid: ${detail}`);
}

/** Strings are taken whole, with what looks like a bracket in them. */
const tokens = /[{}[\]]|"(?:[^"\\]+|\\.)*"/g;
const colon = /\s*:/y;
/** What is federated with at most, at some 2 KiB each, twice. */
const maxMapChars = 8 * 1024 * 1024;
const maxTrustDomains = 2_000;
const maxNameChars = 100;
