import { isIP } from "node:net";
import { attestorTypes } from "./attestors.ts";
import { maxNoRevAvailMs, minCertificateLifetimeMs } from "./contradictions.ts";
import { parseNamed } from "./values.ts";
import { PkiError } from "../pki/errors.ts";
import { parseIpRange } from "../pki/ip-address.ts";
import { isObject } from "../pki/json.ts";
import type { KeyAlgorithm } from "../pki/key.ts";
import { parseSpiffeIdPattern, type SpiffeIdPattern } from "../pki/spiffe-id.ts";
import { nearestName } from "../settings/spelling.ts";
import { parseDuration } from "../settings/values.ts";

/** A named profile as the operator wrote it, checked. What it leaves out is as in the profile of everybody else. */
export interface ProfileConfig {
  readonly name: string;
  /** The IDs it claims. */
  readonly spiffeIds: readonly SpiffeIdPattern[];
  /** How their first certificate was attested; renewals keep the profile. */
  readonly attestations: readonly ProfileAttestation[];
  readonly lifetimeMs: number | undefined;
  readonly lifetimeMaxMs: number | undefined;
  readonly keyAlgorithms: readonly KeyAlgorithm[] | undefined;
  /** DNS names, or `*.` and what they end in; undefined: any that attestation and scope give. */
  readonly dnsNames: readonly string[] | undefined;
  /** Address and mask, 8 or 32 octets; of none, none. */
  readonly ipRanges: readonly Uint8Array[];
  readonly noRevAvail: boolean | undefined;
  /** Whether certificates say where their CRL and OCSP are, where the CA publishes them; default yes. */
  readonly revocationInfo: boolean | undefined;
}

const profileAttestations = ["operator", "join-token", ...attestorTypes, "acme"] as const;
export type ProfileAttestation = (typeof profileAttestations)[number];

/** What everybody's profile has, and what bounds them all. */
export interface ProfileBounds {
  readonly lifetimeMs: number;
  readonly lifetimeMaxMs: number;
  readonly issuerRenewBeforeMs: number;
  readonly clockSkewMs: number;
  readonly noRevAvail: boolean;
}

/**
 * Reads named profiles: a JSON object, by name.
 * @param faults  gets a sentence for each thing that is wrong, so that all of them are told at once
 */
export function parseProfiles(json: string, trustDomain: string, bounds: ProfileBounds, faults: string[]): readonly ProfileConfig[] {
  const named = parseNamed(json, 'it is no object of profiles by name, e.g. {"database": {"spiffeIds": ["spiffe://east/ns/db/*"], "lifetime": "12h"}}', faults);
  const profiles = named.map(([name, body]) => parseProfile(name, body, trustDomain, faults));
  const claims = new Map<string, string>();
  for (const { name, spiffeIds, attestations } of profiles) {
    for (const claim of spiffeIds.flatMap(({ text }) => attestations.map((attestation) => `${text} by ${attestation}`))) {
      const other = claims.get(claim);
      if (other !== undefined) faults.push(`${other} and ${name} both claim ${claim}`);
      claims.set(claim, name);
    }
  }
  for (const profile of profiles) checkLifetimes(profile, bounds, faults);
  return profiles;
}

/** As they have to nest for everybody (`checkTogether`). */
function checkLifetimes({ name, ...given }: ProfileConfig, bounds: ProfileBounds, faults: string[]): void {
  const { lifetimeMs = bounds.lifetimeMs, lifetimeMaxMs = Math.max(lifetimeMs, bounds.lifetimeMaxMs), noRevAvail = bounds.noRevAvail } = given;
  if (lifetimeMs < minCertificateLifetimeMs) faults.push(`${name}.lifetime is below 1m: proxies could not renew in time`);
  if (lifetimeMs > lifetimeMaxMs) faults.push(`${name}.lifetime is longer than its lifetimeMax`);
  if (lifetimeMaxMs + bounds.clockSkewMs >= bounds.issuerRenewBeforeMs) faults.push(`${name}.lifetimeMax is not shorter than issuerRenewBefore, so certificates would outlive their issuer`);
  if (noRevAvail && lifetimeMaxMs + bounds.clockSkewMs >= maxNoRevAvailMs) faults.push(`${name}.lifetimeMax is not below 7d, and only what expires soon may do without revocation (noRevAvail)`);
}

function parseProfile(name: string, body: unknown, trustDomain: string, faults: string[]): ProfileConfig {
  const say = (member: string, fault: string): undefined => void faults.push(`${name}.${member} ${fault}`);
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) faults.push(`"${name}" is no name of a profile: lower-case letters, digits and dashes`);
  const given = isObject(body) ? body : {};
  if (!isObject(body)) faults.push(`${name} is no object`);
  for (const member of Object.keys(given)) {
    if (members.includes(member)) continue;
    const near = nearestName(member, members);
    say(member, near === undefined ? `is not known; there are ${members.join(", ")}` : `is not known; did you mean ${near}?`);
  }

  const list = (member: string): readonly string[] | undefined => {
    const found = given[member];
    if (found === undefined) return undefined;
    if (Array.isArray(found) && found.length <= maxItems && found.every((item) => typeof item === "string")) return found;
    return say(member, `is no list of at most ${maxItems} strings`);
  };
  const each = <T>(member: string, items: readonly string[], parse: (item: string) => T | undefined, hint: string): T[] =>
    items.flatMap((item) => parse(item) ?? say(member, `has "${item}": ${hint}`) ?? []);
  const duration = (member: string): number | undefined => {
    const found = given[member];
    if (found === undefined) return undefined;
    const ms = typeof found === "string" ? parseDuration(found) : undefined;
    return ms ?? say(member, "is no whole number with its unit, e.g. 12h");
  };

  const spiffeIds = each("spiffeIds", list("spiffeIds") ?? [], (text) => parsePattern(text, trustDomain), `write an ID of ${trustDomain}, or a prefix ending in /*`);
  if (given["spiffeIds"] === undefined || (Array.isArray(given["spiffeIds"]) && given["spiffeIds"].length === 0)) say("spiffeIds", "is missing: no certificate would have this profile");
  const attestations = each("attestations", list("attestations") ?? profileAttestations, (text) => profileAttestations.find((one) => one === text), `choose of ${profileAttestations.join(", ")}`);
  const keys = list("keyAlgorithms");
  const keyAlgorithms = keys && each("keyAlgorithms", keys, (text) => keyNames.find((one) => one === text), `choose of ${keyNames.join(", ")}`);
  if (keyAlgorithms?.length === 0) say("keyAlgorithms", "is empty: no key would do");
  const names = list("dnsNames");
  const dnsNames = names && each("dnsNames", names, (text) => (dnsPattern.test(text) && isIP(text) === 0 ? text : undefined), "write a DNS name in lower case, or *. and what the names end in");
  const ipRanges = each("ipRanges", list("ipRanges") ?? [], parseRange, "write a range such as 10.0.0.0/8 or fd00::/8");
  const flag = (member: string): boolean | undefined => {
    const found = given[member];
    return found === undefined || typeof found === "boolean" ? found : say(member, "is neither true nor false");
  };
  const [noRevAvail, revocationInfo] = [flag("noRevAvail"), flag("revocationInfo")];
  if (noRevAvail === true && revocationInfo === true) say("revocationInfo", "and noRevAvail exclude each other (RFC 9608)");
  const purposes = list("extKeyUsage");
  if (purposes !== undefined && [...purposes].sort().join() !== "clientAuth,serverAuth") {
    say("extKeyUsage", "is serverAuth and clientAuth, or is left out: X509-SVID 4.4 wants both in every certificate, and proxies refuse others");
  }
  return {
    name, spiffeIds, attestations, keyAlgorithms, dnsNames, ipRanges, lifetimeMs: duration("lifetime"), lifetimeMaxMs: duration("lifetimeMax"),
    noRevAvail, revocationInfo,
  };
}

function parsePattern(text: string, trustDomain: string): SpiffeIdPattern | undefined {
  const pattern = unlessRefused(() => parseSpiffeIdPattern(text));
  return pattern?.trustDomain === trustDomain ? pattern : undefined;
}

function parseRange(text: string): Uint8Array | undefined {
  return unlessRefused(() => parseIpRange(text));
}

function unlessRefused<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

const members = ["spiffeIds", "attestations", "lifetime", "lifetimeMax", "keyAlgorithms", "dnsNames", "ipRanges", "extKeyUsage", "noRevAvail", "revocationInfo"];
const keyNames: readonly KeyAlgorithm[] = ["ec-p256", "ec-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"];
const dnsPattern = /^(?:\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const maxItems = 64;
