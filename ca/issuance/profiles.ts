import type { AttestedIdentity } from "../attestation/identity.ts";
import type { AttestorConfig } from "../config/attestors.ts";
import type { ProfileConfig } from "../config/profiles.ts";
import { permitsDnsName, permitsIpAddress } from "../lint/permitted-names.ts";
import type { KeyAlgorithm } from "../pki/key.ts";
import { matchesSpiffeIdPattern } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import { apiProfile, workloadProfile, type Profile, type ProfileSettings } from "./profile.ts";

/** Which profile a certificate has; always the same object for the same profile. */
export type ProfileChoice = (identity: Pick<AttestedIdentity, "spiffeId" | "method" | "tokenId" | "attestor">) => Profile;

/**
 * Chooses by ID and attestation: of the profiles that claim both, the one that names the ID most exactly; otherwise that of everybody
 * else. A renewal has the profile of the attestation its line began with, as of today's settings.
 */
export function profileChoice(settings: ProfileSettings & { readonly profiles: readonly ProfileConfig[]; readonly attestors?: readonly Pick<AttestorConfig, "name" | "type">[] }): ProfileChoice {
  const standard = workloadProfile(settings);
  const api = apiProfile(settings);
  const claims = settings.profiles
    .flatMap((config) => {
      const profile = profileOf(config, settings);
      return config.spiffeIds.map((pattern) => ({ pattern, attestations: config.attestations, profile }));
    })
    .sort((one, other) => exactness(other.pattern) - exactness(one.pattern));

  const originOf = ({ method, tokenId, attestor }: Parameters<ProfileChoice>[0]) => method === "acme" ? method :
    settings.attestors?.find(({ name }) => name === attestor)?.type ?? (method === "join-token" || tokenId !== undefined ? "join-token" : "operator");

  return (identity) => {
    const { spiffeId, method } = identity;
    if (method === "system") return api;
    if (claims.length === 0) return standard;
    const origin = originOf(identity);
    return claims.find(({ pattern, attestations }) => attestations.includes(origin) && matchesSpiffeIdPattern(pattern, spiffeId))?.profile ?? standard;
  };
}

/**
 * Refuses what the profile does not permit: said here in words; the lint holds the bytes to the same.
 * @throws {Refusal} csr_refused | dns_name_refused | ip_address_refused
 */
export function checkProfile({ name, keyAlgorithms, names }: Profile, keyAlgorithm: KeyAlgorithm, { dnsNames, ipAddresses = [] }: Pick<AttestedIdentity, "dnsNames" | "ipAddresses">): void {
  const whose = name === undefined ? "this CA" : `the profile "${name}"`;
  if (!keyAlgorithms.includes(keyAlgorithm)) {
    throw new Refusal("csr_refused", `The CSR has a key of ${keyAlgorithm}; ${whose} takes ${keyAlgorithms.join(", ")}.`);
  }
  const foreign = dnsNames.find((dnsName) => !permitsDnsName(names, dnsName));
  if (foreign !== undefined) throw new Refusal("dns_name_refused", `"${foreign}" is not a DNS name that ${whose} permits; do without it, or have the profile changed.`);
  if (!ipAddresses.every((address) => permitsIpAddress(names, address))) {
    throw new Refusal("ip_address_refused", `An IP address is asked for that ${whose} does not permit; do without it, or have the profile's ipRanges changed.`);
  }
}

function profileOf({ name, lifetimeMs, lifetimeMaxMs, keyAlgorithms, dnsNames, ipRanges, noRevAvail, revocationInfo }: ProfileConfig, settings: ProfileSettings): Profile {
  const base = workloadProfile({ ...settings, ...(noRevAvail !== undefined && { noRevAvail }), ...(revocationInfo === false && { statusUrl: undefined }) });
  const lifetime = lifetimeMs ?? Math.min(base.lifetimeMs, lifetimeMaxMs ?? Infinity);
  return {
    ...base, name, lifetimeMs: lifetime, lifetimeMaxMs: lifetimeMaxMs ?? Math.max(lifetime, base.lifetimeMaxMs),
    ...(keyAlgorithms && { keyAlgorithms }), names: { dnsNames, ipRanges },
  };
}

/** One ID before all prefixes, a longer prefix before a shorter one. */
function exactness({ text, matchesBelow }: ProfileConfig["spiffeIds"][number]): number {
  return matchesBelow ? text.length : Infinity;
}
