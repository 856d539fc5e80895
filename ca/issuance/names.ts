import type { AttestedIdentity } from "../attestation/identity.ts";
import type { Certificate } from "../pki/certificate.ts";
import { nameConstraintFault } from "../pki/name-constraints.ts";
import type { SpiffeId } from "../pki/spiffe-id.ts";
import { emptyName } from "../pki/tbs.ts";
import { Refusal } from "../refusal.ts";

/** Which names this CA gives to workloads at all, whoever asks. */
export interface NameRules {
  readonly trustDomain: string;
  /** The API's own names: whoever had one of them in a certificate could pass for the CA. */
  readonly reservedDnsNames: ReadonlySet<string>;
}

/**
 * Refuses names no workload may have: of another trust domain, without a path, the CA's own.
 * @throws {Refusal} spiffe_id_refused | dns_name_refused
 */
export function authorizeNames({ trustDomain, reservedDnsNames }: NameRules, id: SpiffeId, dnsNames: readonly string[]): void {
  if (id.trustDomain !== trustDomain) {
    throw new Refusal(
      "spiffe_id_refused",
      `${id.uri} is not of this CA's trust domain, ${trustDomain}; ask the CA of ${id.trustDomain} for it.`,
    );
  }
  if (id.path === "") {
    throw new Refusal(
      "spiffe_id_refused",
      `${id.uri} names the trust domain itself; a workload needs a path, e.g. ${id.uri}/ns/shop/sa/cart.`,
    );
  }
  if (id.path === reservedPath || id.path.startsWith(`${reservedPath}/`)) {
    throw new Refusal(
      "spiffe_id_refused",
      `${id.uri} is reserved: IDs below ${reservedPath} are the CA's own and issued to nobody else; choose another ` +
        "path.",
    );
  }
  if (dnsNames.length === 0) return;
  if (dnsNames.length > maxDnsNames) {
    throw new Refusal(
      "dns_name_refused",
      `${dnsNames.length} DNS names are asked for; a certificate carries at most ${maxDnsNames}.`,
    );
  }
  if (new Set(dnsNames).size !== dnsNames.length) {
    throw new Refusal(
      "dns_name_refused",
      "A DNS name is asked for twice; list each once.",
    );
  }
  for (const name of dnsNames) {
    if (!isDnsName(name)) {
      throw new Refusal(
        "dns_name_refused",
        `The DNS name ${JSON.stringify(name)} is refused: it must be lower-case letters, digits and dashes between dots, without a wildcard or a final dot (RFC 5280 4.2.1.6).`,
      );
    }
    // The last label of a host name is never all digits (RFC 1123 2.1): some clients would read it as an IP address.
    if (/(^|\.)[0-9]+$/.test(name)) {
      throw new Refusal(
        "dns_name_refused",
        `"${name}" looks like an IP address, not a DNS name.`,
      );
    }
    if (reservedDnsNames.has(name)) {
      throw new Refusal(
        "dns_name_refused",
        `"${name}" is a name of the CA's own API, so no workload may have it; choose another, or change apiNames and ` +
          "publicUrl.",
      );
    }
  }
}

/**
 * Refuses DNS names that the issuer may not give, where a CA above holds it to some: nobody would believe the certificate.
 * @throws {Refusal} dns_name_refused
 */
export function checkIssuerNames({ nameConstraints }: Pick<Certificate, "nameConstraints">, dnsNames: readonly string[]): void {
  if (nameConstraints === undefined || dnsNames.length === 0) return;
  const refused = dnsNames.find((name) => nameConstraintFault(nameConstraints, { subject: emptyName, subjectEmpty: true, subjectAltName: { ...noNames, dnsNames: [name] } }, () => undefined) !== undefined);
  if (refused === undefined) return;
  const within = nameConstraints.permitted?.dnsNames ?? [];
  throw new Refusal(
    "dns_name_refused",
    `"${refused}" is not a name that this CA's issuer may give: what signed it holds it to ${within.length === 0 ? "no DNS names" : `DNS names in ${within.join(", ")}`}. Choose another, or have ` +
      "it held to others there.",
  );
}

/**
 * Leaves of an attested identity the one DNS name that Linkerd knows it by.
 * @throws {Refusal} dns_name_refused: it is not among those that were attested
 */
export function narrowToLinkerd(identity: AttestedIdentity, name: string): AttestedIdentity {
  if (identity.dnsNames.includes(name)) return { ...identity, dnsNames: [name], shape: "linkerd" };
  const attested = identity.dnsNames.length === 0 ? "no DNS name: its attestor needs dnsNames" : identity.dnsNames.join(", ");
  throw new Refusal("dns_name_refused", `The identity that is asked for is not the token's, which is ${identity.spiffeId.uri} with ${attested}.`);
}

/** Whether it is a DNS name in the one spelling we issue: lower case, no wildcard, no final dot. */
export function isDnsName(text: string): boolean {
  return dnsNameForm.test(text);
}

/** ID of the API's certificate. */
export const apiSegments = ["countersign", "ca"] as const;

const noNames = { critical: false, uris: [], ipAddresses: [], emails: [], directoryNames: [], otherKinds: [] };
const reservedPath = "/countersign";
const dnsNameForm = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const maxDnsNames = 16;
