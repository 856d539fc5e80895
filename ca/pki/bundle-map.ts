import { encodeBundle, parseBundle, type Bundle } from "./bundle.ts";
import { PkiError } from "./errors.ts";
import { isObject } from "./json.ts";
import { parseTrustDomain } from "./spiffe-id.ts";
import { parseStrictObject } from "./strict-json.ts";

/**
 * Writes the bundles of several trust domains as one document, by name. None has a refresh hint: whoever reads the map goes by the map.
 * @source SPIFFE Trust Domain and Bundle section 5.1.1
 */
export function encodeBundleMap(bundles: readonly Bundle[]): string {
  const byName = new Map(bundles.map((bundle) => [bundle.trustDomain, bundle]));
  const members = [...byName].sort(([one], [other]) => (one < other ? -1 : 1)).map(([name, { refreshHintSeconds: _, ...bundle }]) => `${JSON.stringify(name)}:${encodeBundle(bundle)}`);
  // As text: a sequence has 64 bits, which a number does not hold.
  return `{"trust_domains":{${members.join(",")}}}`;
}

/**
 * Reads which trust domains a map has. It is the state of the world or nothing: one bundle that cannot be read refuses all of it.
 * @throws {PkiError} bundle_malformed | bundle_limit_exceeded | trust_domain_malformed
 * @source SPIFFE Trust Domain and Bundle sections 5.1.1 and 6.3
 */
export function readBundleMap(text: string): readonly string[] {
  const domains = parseStrictObject(Buffer.from(text), "bundle_malformed", "the bundle map")["trust_domains"];
  if (!isObject(domains)) throw new PkiError("bundle_malformed", `the bundle map has no object "trust_domains"`);
  return Object.entries(domains).map(([name, bundle]) => {
    parseTrustDomain(name);
    parseBundle(name, JSON.stringify(bundle));
    return name;
  });
}
