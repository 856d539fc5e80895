import type { Certificate } from "./certificate.ts";
import type { PkiErrorCode } from "./errors.ts";
import type { NameConstraints } from "./extensions.ts";
import { mailboxForm, type IpRange, type NameSubtrees } from "./general-name.ts";
import { emailsOfName, relativeNamesOf, type NameAttribute } from "./name.ts";

/** How a certificate breaks the constraints of a CA above it. */
export type NameConstraintFault = Extract<PkiErrorCode, "path_name_constraint_violated" | "path_name_constraint_unsupported">;

/** The part of a certificate that names somebody. */
export type NamedSubject = Pick<Certificate, "subject" | "subjectEmpty" | "subjectAltName">;

/**
 * Checks all names of a certificate against the constraints of one CA above it. A name passes if no excluded subtree holds it
 * and, where its kind has permitted subtrees, one of them does; kinds without a constraint are free.
 * @param spend  called with the number of comparisons about to be made; throws to stop
 * @returns      undefined if every name passes
 * @source RFC 5280 sections 4.2.1.10, 6.1.3 (b) and (c)
 */
export function nameConstraintFault(
  constraints: NameConstraints, certificate: NamedSubject, spend: (comparisons: number) => void,
): NameConstraintFault | undefined {
  const { permitted = none, excluded = none } = constraints;
  const names = certificate.subjectAltName ?? none;

  // RFC 5280 4.2.1.10: constraints are critical, so a kind of name we cannot compare is refused where it is constrained.
  const otherConstrained = [...permitted.otherKinds, ...excluded.otherKinds];
  spend(names.otherKinds.length * otherConstrained.length);
  if (names.otherKinds.some((kind) => otherConstrained.includes(kind))) return "path_name_constraint_unsupported";

  const check = <Name, Subtree>(
    all: readonly Name[], within: readonly Subtree[], without: readonly Subtree[],
    permits: (name: Name, subtree: Subtree) => boolean, excludes: (name: Name, subtree: Subtree) => boolean = permits,
  ): boolean => {
    spend(all.length * (within.length + without.length));
    return all.every((name) => !without.some((subtree) => excludes(name, subtree))
      && (within.length === 0 || within.some((subtree) => permits(name, subtree))));
  };

  const uris = constrained(permitted.uris, excluded.uris) ? names.uris.map(hostOfUri) : [];
  if (uris.includes(undefined)) return "path_name_constraint_violated";
  const emails = constrained(permitted.emails, excluded.emails) ? emailsOf(certificate) : [];
  const directoryNames = constrained(permitted.directoryNames, excluded.directoryNames) ? directoryNamesOf(certificate) : [];
  const permittedNames = permitted.directoryNames.map(foldedName);
  const excludedNames = excluded.directoryNames.map(foldedName);
  if (emails.includes(undefined) || [directoryNames, permittedNames, excludedNames].some((list) => list.includes(undefined))) {
    return "path_name_constraint_unsupported";
  }

  const passes = check(uris as string[], permitted.uris, excluded.uris, hostWithin)
    && check(names.dnsNames, permitted.dnsNames, excluded.dnsNames, dnsNamePermitted, dnsNameExcluded)
    && check(emails as string[], permitted.emails, excluded.emails, emailWithin)
    && check(names.ipAddresses, permitted.ipAddresses, excluded.ipAddresses, ipWithin)
    && check(directoryNames as string[][], permittedNames as string[][], excludedNames as string[][], directoryNameWithin);
  return passes ? undefined : "path_name_constraint_violated";
}

/** "host" is that host alone, ".domain" is every host below it. */
function hostWithin(host: string, constraint: string): boolean {
  const wanted = constraint.toLowerCase();
  return wanted.startsWith(".") ? host.length > wanted.length && host.endsWith(wanted) : host === wanted;
}

// RUSTSEC-2026-0099, CVE-2025-61727: "*.example.com" stands for all its expansions, so it is permitted only where every one of
// them is, and excluded as soon as one could be.
function dnsNamePermitted(name: string, constraint: string): boolean {
  return domainWithin(withoutWildcard(name), constraint.toLowerCase());
}

function dnsNameExcluded(name: string, constraint: string): boolean {
  const domain = withoutWildcard(name);
  const excluded = constraint.toLowerCase();
  return domainWithin(domain, excluded) || (name.startsWith("*.") && excluded.endsWith(`.${domain}`));
}

function withoutWildcard(name: string): string {
  return (name.startsWith("*.") ? name.slice(2) : name).toLowerCase();
}

function domainWithin(domain: string, constraint: string): boolean {
  return constraint === "" || domain === constraint || domain.endsWith(`.${constraint}`);
}

/** The local part compares with case, the host without (RFC 5280 7.5). */
function emailWithin(email: string, constraint: string): boolean {
  const [name, wanted] = [splitMailbox(email), splitMailbox(constraint)];
  if (wanted.localPart !== undefined) return name.localPart === wanted.localPart && name.host === wanted.host;
  return constraint === "" || hostWithin(name.host, wanted.host);
}

function splitMailbox(text: string): { localPart: string | undefined; host: string } {
  const at = text.indexOf("@");
  return { localPart: at < 0 ? undefined : text.slice(0, at), host: text.slice(at + 1).toLowerCase() };
}

function ipWithin(address: Uint8Array, range: IpRange): boolean {
  return address.length === range.address.length
    && address.every((octet, index) => ((octet ^ range.address[index]!) & range.mask[index]!) === 0);
}

/** A subtree is a prefix of relative names. */
function directoryNameWithin(name: readonly string[], prefix: readonly string[]): boolean {
  return prefix.length <= name.length && prefix.every((part, index) => part === name[index]);
}

/**
 * Host of a URI, lower case; undefined if it has none or an unusual one, which no constraint can then be said to hold.
 * SPIFFE ID section 2.1: a trust domain is not treated differently for looking like an IP address, so neither is a host here.
 */
function hostOfUri(uri: string): string | undefined {
  return uriWithHost.exec(uri)?.[1]?.toLowerCase();
}

/** RFC 5280 4.2.1.10: without an e-mail address in the subjectAltName, those in the subject count. */
function emailsOf({ subjectAltName, subject }: NamedSubject): (string | undefined)[] {
  const emails = subjectAltName?.emails ?? [];
  if (emails.length > 0) return [...emails];
  return emailsOfName(subject).map((email) => (email !== undefined && mailboxForm.test(email) ? email : undefined));
}

/** The subject, unless it is empty, and each directoryName; undefined for one with a value that cannot be compared. */
function directoryNamesOf({ subject, subjectEmpty, subjectAltName }: NamedSubject): (string[] | undefined)[] {
  return [...(subjectEmpty ? [] : [subject]), ...(subjectAltName?.directoryNames ?? [])].map(foldedName);
}

/** Each name as comparable relative names; undefined for one with a value of a string type we do not read. */
function foldedName(nameDer: Uint8Array): string[] | undefined {
  const relativeNames = relativeNamesOf(nameDer);
  if (relativeNames.flat().some(({ text }) => text === undefined)) return undefined;
  return relativeNames.map((attributes) => attributes.map(foldedAttribute).sort().join("+"));
}

/** RFC 5280 7.1: without regard to case, nor to how many blanks stand where. */
function foldedAttribute({ type, text = "" }: NameAttribute): string {
  return `${type}=${JSON.stringify(text.normalize("NFKC").toLowerCase().replace(/\s+/gu, " ").trim())}`;
}

function constrained(permitted: readonly unknown[], excluded: readonly unknown[]): boolean {
  return permitted.length > 0 || excluded.length > 0;
}

const none: NameSubtrees & { readonly ipAddresses: readonly never[] } = {
  uris: [], dnsNames: [], ipAddresses: [], emails: [], directoryNames: [], otherKinds: [],
};
const uriWithHost = /^[a-z][a-z0-9+.-]*:\/\/(?:[^@/?#]*@)?([a-z0-9._-]+)(?::[0-9]*)?(?:[/?#]|$)/i;
