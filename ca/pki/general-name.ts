import { context, contextConstructed, tag } from "./der-tag.ts";
import { asciiOf, contentOf, DerReader, encodedOf, type DerElement } from "./der.ts";
import { PkiError } from "./errors.ts";
import { parseName } from "./name.ts";

/** The names in a subjectAltName, sorted by kind, each kind in the order of the certificate. */
export interface GeneralNames {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** Each 4 or 16 octets. */
  readonly ipAddresses: readonly Uint8Array[];
  readonly emails: readonly string[];
  /** DER of each Name. */
  readonly directoryNames: readonly Uint8Array[];
  /** Tag numbers of the kinds nobody here interprets: otherName 0, x400Address 3, ediPartyName 5, registeredID 8. */
  readonly otherKinds: readonly number[];
}

/** One side (permitted or excluded) of name constraints, sorted by kind. */
export interface NameSubtrees {
  /** "host" is that host alone, ".domain" any host below it. */
  readonly uris: readonly string[];
  /** The domain and everything below it; "" is every name. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly IpRange[];
  /** "user@host", "host" (every mailbox there), ".domain" (on every host below) or "" (every address). */
  readonly emails: readonly string[];
  readonly directoryNames: readonly Uint8Array[];
  readonly otherKinds: readonly number[];
}

export interface IpRange {
  readonly address: Uint8Array;
  readonly mask: Uint8Array;
}

/**
 * Reads GeneralNames as they stand in a subjectAltName.
 * @throws {PkiError} certificate_extension_invalid, also for an IP address written as a DNS name
 * @source RFC 5280 section 4.2.1.6
 */
export function readGeneralNames(element: DerElement): GeneralNames {
  const names = emptyLists<Uint8Array>();
  const reader = new DerReader(element);
  if (reader.finished) throw invalid("a list of names is empty");
  for (let count = 1; !reader.finished; count++) {
    if (count > maxNames) throw invalid(`a list of more than ${maxNames} names`);
    const name = reader.next();
    switch (name.tag) {
      case nameTag.uri: names.uris.push(checked(uriForm, name, "URI is not absolute")); break;
      case nameTag.dnsName: names.dnsNames.push(readDnsName(name)); break;
      case nameTag.email: names.emails.push(checked(mailboxForm, name, "e-mail address is not user@host")); break;
      case nameTag.ipAddress: names.ipAddresses.push(readIp(name, [4, 16])); break;
      default: readOtherName(name, names);
    }
  }
  return names;
}

/**
 * Reads GeneralSubtrees of a nameConstraints extension; minimum is 0 and so absent, maximum has no use and is refused.
 * @throws {PkiError} certificate_extension_invalid | der_malformed
 * @source RFC 5280 section 4.2.1.10
 */
export function readNameSubtrees(element: DerElement): NameSubtrees {
  const subtrees = emptyLists<IpRange>();
  const reader = new DerReader(element);
  if (reader.finished) throw invalid("a list of name constraints is empty");
  for (let count = 1; !reader.finished; count++) {
    if (count > maxNames) throw invalid(`a list of more than ${maxNames} name constraints`);
    const subtree = new DerReader(reader.next(tag.sequence));
    const base = subtree.next();
    subtree.done();
    switch (base.tag) {
      case nameTag.uri: subtrees.uris.push(checked(uriConstraintForm, base, "URI constraint is not a host or .domain")); break;
      case nameTag.dnsName:
        subtrees.dnsNames.push(checked(dnsConstraintForm, base, "DNS constraint is not a domain (it has no leading dot)"));
        break;
      case nameTag.email: subtrees.emails.push(checked(emailConstraintForm, base, "e-mail constraint is malformed")); break;
      case nameTag.ipAddress: subtrees.ipAddresses.push(readIpRange(base)); break;
      default: readOtherName(base, subtrees);
    }
  }
  return subtrees;
}

function emptyLists<Ip>() {
  return {
    uris: [] as string[], dnsNames: [] as string[], ipAddresses: [] as Ip[], emails: [] as string[],
    directoryNames: [] as Uint8Array[], otherKinds: [] as number[],
  };
}

function readOtherName(name: DerElement, into: { directoryNames: Uint8Array[]; otherKinds: number[] }): void {
  if (name.tag === nameTag.directoryName) {
    // A Name is a CHOICE, so its tag is EXPLICIT although the module says IMPLICIT (X.680 31.2.7).
    const inner = new DerReader(name);
    const directoryName = inner.next(tag.sequence);
    inner.done();
    parseName(directoryName);
    into.directoryNames.push(encodedOf(directoryName));
    return;
  }
  const kind = name.tag & 0x1f;
  if (!otherNameTags.includes(name.tag)) throw invalid("a name of an unknown kind");
  into.otherKinds.push(kind);
}

function readDnsName(name: DerElement): string {
  const text = checked(dnsNameForm, name, "DNS name is not made of letters, digits, dashes and dots");
  if (text.length > maxDnsNameChars) throw invalid(`DNS name is longer than ${maxDnsNameChars} characters`);
  // No top-level domain is a number, so such a name is an IPv4 address in the wrong place.
  if (/(?:^|\.)\d+$/.test(text)) throw invalid("DNS name is an IP address");
  return text;
}

function readIp(name: DerElement, lengths: readonly number[]): Uint8Array {
  const octets = contentOf(name);
  if (!lengths.includes(octets.length)) throw invalid(`IP address of ${octets.length} octets`);
  return octets;
}

function readIpRange(base: DerElement): IpRange {
  const octets = readIp(base, [8, 32]);
  const mask = octets.subarray(octets.length / 2);
  const bits = [...mask].map((octet) => octet.toString(2).padStart(8, "0")).join("");
  if (bits.includes("01")) throw invalid("IP constraint has a mask with holes");
  return { address: octets.subarray(0, octets.length / 2), mask };
}

function checked(form: RegExp, name: DerElement, fault: string): string {
  const text = asciiOf(contentOf(name));
  if (!form.test(text)) throw invalid(fault);
  return text;
}

function invalid(detail: string): PkiError {
  return new PkiError("certificate_extension_invalid", `certificate extension is not valid: ${detail}`);
}

const nameTag = {
  email: context(1),
  dnsName: context(2),
  directoryName: contextConstructed(4),
  uri: context(6),
  ipAddress: context(7),
} as const;
const otherNameTags: readonly number[] = [contextConstructed(0), contextConstructed(3), contextConstructed(5), context(8)];

// Underscores are not in RFC 1123, but in use inside clusters and allowed in SPIFFE trust domains.
const label = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
const domain = `${label}(?:\\.${label})*`;
// RFC 5321 4.1.2, Dot-string; quoted local parts are refused.
const localPart = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*";
const uriForm = /^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]+$/;
// A wildcard is the whole first label or nothing (RFC 9525 6.3).
const dnsNameForm = new RegExp(`^(?:\\*\\.)?${domain}$`);
/** user@host, in the plain form of RFC 5321. */
export const mailboxForm = new RegExp(`^${localPart}@${domain}$`);
const uriConstraintForm = new RegExp(`^\\.?${domain}$`);
const dnsConstraintForm = new RegExp(`^(?:${domain})?$`);
const emailConstraintForm = new RegExp(`^(?:${localPart}@${domain}|\\.?${domain}|)$`);

/** RFC 1035 2.3.4: 255 octets on the wire are 253 characters of text. */
const maxDnsNameChars = 253;
/** Public CAs stop at 100 names. Bounds what each comparison of names with constraints can cost. */
const maxNames = 500;
