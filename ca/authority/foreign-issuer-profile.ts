import type { IssueIssuerRequest, IssuerProfile } from "../contract/issuers.ts";
import { isDnsName } from "../issuance/names.ts";
import { PkiError } from "../pki/errors.ts";
import type { ExtensionFields, NameSubtreeFields } from "../pki/extension-encoding.ts";
import type { KeyAlgorithm } from "../pki/key.ts";
import { parseTrustDomain } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";

/** What the certificate of an issuer for another CA will say. */
export interface ForeignIssuer {
  readonly trustDomain: string;
  readonly commonName: string;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly nameConstraints: NonNullable<ExtensionFields["nameConstraints"]> | undefined;
  /** Keys the other CA may have. */
  readonly keyAlgorithms: readonly KeyAlgorithm[];
}

/** What decides how it looks, besides the key. */
export type ForeignIssuerRequest = Pick<IssueIssuerRequest, "profile" | "trustDomain" | "uriConstraint" | "dnsDomains">;

/** What whoever asks may let an issuer name, beside its trust domain. */
export interface NamingRights {
  /** DNS names, or `*.` and what they end in; undefined: whatever it likes, with or without constraints. */
  readonly dnsScope: readonly string[] | undefined;
  /** It is the CA of a cluster: it issues for its own API, too, which has addresses, and what its scope has whole is what it is held to. */
  readonly isCluster: boolean;
  /** Whether it may have an issuer without the URI constraint that its software has by default. */
  readonly mayLiftUri: boolean;
  /** Whether it has such issuers unless it asks for the constraint. */
  readonly liftsUri: boolean;
}

/**
 * Settles what an issuer for another CA may do. It always names its trust domain as a SPIFFE ID: by that `verifySvid` refuses what it
 * would sign in another one's name, with or without name constraints.
 * @param ownTrustDomain  for which nobody else may issue
 * @param signerKey       the key it will be signed with
 * @throws {Refusal} spiffe_id_refused | dns_name_refused | issuer_refused | forbidden
 */
export function foreignIssuer(request: ForeignIssuerRequest, ownTrustDomain: string, signerKey: KeyAlgorithm, rights: NamingRights): ForeignIssuer {
  const { dnsScope, isCluster, mayLiftUri, liftsUri } = rights;
  const trustDomain = readTrustDomain(request.trustDomain);
  if (trustDomain === ownTrustDomain) {
    throw new Refusal("issuer_refused", `${trustDomain} is this CA's own trust domain, and nobody else issues for it; name the other cluster's.`);
  }
  const { uriConstraint: byDefault, keyAlgorithms, anchorKeys, identityDomain, reason } = profiles[request.profile];
  if (anchorKeys !== undefined && !anchorKeys.includes(signerKey)) {
    throw new Refusal("issuer_refused", `This CA signs with a key of ${signerKey}, and ${request.profile} takes only anchors of ${anchorKeys.join(", ")}; use a CA with such a root.`);
  }
  if (request.uriConstraint === true && reason !== undefined) throw new Refusal("issuer_refused", `${reason}; leave uriConstraint out.`);
  const domain = identityDomain?.(trustDomain);
  const dnsDomains = request.dnsDomains ?? (domain === undefined ? wholeDomains(rights) : [domain]);
  if (!dnsDomains.every(isDnsName)) {
    throw new Refusal("dns_name_refused", "dnsDomains holds DNS names in lower case, without a wildcard or a final dot; for linkerd the trust domain has to be one, too.");
  }
  if (request.uriConstraint === false && byDefault && !mayLiftUri) {
    throw new Refusal("forbidden", `Only an admin has an issuer for ${request.profile} signed without its URI constraint; leave uriConstraint out.`);
  }
  if (dnsScope !== undefined) checkDnsRights((request.dnsDomains ?? []).filter((each) => each !== domain), dnsScope);
  const [named] = domain === undefined ? [] : dnsDomains;
  const commonName = named ?? `${trustDomain} issuer`;
  return {
    trustDomain,
    commonName: commonName.length <= maxCommonNameChars ? commonName : "issuer of another trust domain",
    uris: [`spiffe://${trustDomain}`],
    dnsNames: named === undefined ? [] : [named],
    nameConstraints: constraintsOf(request.uriConstraint ?? (byDefault && !liftsUri) ? [trustDomain] : [], dnsDomains, dnsScope === undefined, isCluster),
    keyAlgorithms,
  };
}

/** Whoever trusts our root by DNS names, as databases do, would else be deceived by way of another cluster's issuer. */
function checkDnsRights(dnsDomains: readonly string[], dnsScope: readonly string[]): void {
  const has = (name: string): boolean => dnsScope.some((pattern) => (pattern.startsWith("*.") ? name.endsWith(pattern.slice(1)) : name === pattern));
  const foreign = dnsDomains.find((domain) => !has(domain) || !has(`*.${domain}`));
  if (foreign === undefined) return;
  throw new Refusal(
    "forbidden", `The scope of whoever asks does not have the DNS domain ${foreign} and all below it; ask an admin for one with dns:${foreign} and dns:*.${foreign}.`,
  );
}

/** What the CA of a cluster is held to without asking: the domains that its scope has whole, and its own machine. */
function wholeDomains({ dnsScope = [], isCluster }: NamingRights): readonly string[] {
  const domains = isCluster ? dnsScope.filter((name) => dnsScope.includes(`*.${name}`)) : [];
  return domains.length === 0 ? [] : [...domains, ownMachine];
}

/**
 * @param free       whether an issuer that is held to no DNS domain may give any DNS name and address; otherwise it gives none
 * @param addresses  whether it may give addresses in any case
 */
function constraintsOf(uris: readonly string[], dnsNames: readonly string[], free: boolean, addresses: boolean): ForeignIssuer["nameConstraints"] {
  const permitted: NameSubtreeFields = { ...(uris.length > 0 && { uris }), ...(dnsNames.length > 0 && { dnsNames }) };
  // RFC 5280 4.2.1.10: a constraint binds names of its own kind only, so who is held to DNS names is kept from addresses besides.
  const none: NameSubtreeFields | undefined = free ? undefined : { dnsNames: [anyDnsName], ipRanges: anyAddress };
  const excluded = dnsNames.length === 0 ? none : addresses ? undefined : { ipRanges: anyAddress };
  const permits = uris.length > 0 || dnsNames.length > 0;
  return permits || excluded !== undefined ? { ...(permits && { permitted }), ...(excluded && { excluded }) } : undefined;
}

function readTrustDomain(text: string): string {
  try {
    return parseTrustDomain(text);
  } catch (cause) {
    if (cause instanceof PkiError) throw new Refusal("spiffe_id_refused", `The trust domain is refused: ${cause.message}.`, { cause });
    throw cause;
  }
}

interface ProfileRules {
  readonly uriConstraint: boolean;
  readonly keyAlgorithms: readonly KeyAlgorithm[];
  /** Keys of anchors the software takes; undefined: any of ours. */
  readonly anchorKeys?: readonly KeyAlgorithm[];
  /** The domain its identities are DNS names below. */
  readonly identityDomain?: (trustDomain: string) => string;
  /** Why it cannot have a URI constraint. */
  readonly reason?: string;
}

const anyKey: readonly KeyAlgorithm[] = ["ec-p256", "ec-p384", "ed25519", "rsa-2048", "rsa-3072", "rsa-4096"];
const profiles: Readonly<Record<IssuerProfile, ProfileRules>> = {
  countersign: { uriConstraint: true, keyAlgorithms: ["ec-p256", "ec-p384"] },
  // linkerd2 pkg/issuercerts: the issuer is ECDSA P-256, anchors ECDSA P-256 or RSA.
  linkerd: {
    uriConstraint: false, keyAlgorithms: ["ec-p256"], anchorKeys: ["ec-p256", "rsa-2048", "rsa-4096"], identityDomain: (trustDomain) => `identity.linkerd.${trustDomain}`,
    reason: "linkerd's proxy refuses a chain with a URI constraint (RUSTSEC-2026-0098)",
  },
  istio: { uriConstraint: false, keyAlgorithms: ["ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096"] },
  "cert-manager": { uriConstraint: false, keyAlgorithms: anyKey },
};
/** RFC 5280 4.2.1.10: every name is made of this one by adding labels in front. */
const anyDnsName = "";
/** Everybody's own: it says nothing about anybody else. */
const ownMachine = "localhost";
/** 0.0.0.0/0 and ::/0: address and mask. */
const anyAddress = [new Uint8Array(8), new Uint8Array(32)];
/** RFC 5280 appendix A.1, ub-common-name. */
const maxCommonNameChars = 64;
