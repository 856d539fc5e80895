import { encodeSequence, encodeTime } from "../pki/der-encoding.ts";
import { tag } from "../pki/der-tag.ts";
import { DerReader, encodedOf, readDer } from "../pki/der.ts";
import { describeSpki, type KeyAlgorithm } from "../pki/key.ts";
import { extensionOid } from "../pki/oid.ts";
import type { CertificateContext, IssuerFacts, MeantContent } from "./certificate-context.ts";
import { permitsDnsName, permitsIpAddress } from "./permitted-names.ts";
import { viewExtensions, viewTbs } from "./tbs-view.ts";

/** What a leaf is meant to say, and the key identifier the request computed of its key. */
export type QuickContent = Pick<MeantContent, "serialNumber" | "notBeforeMs" | "notAfterMs" | "spki" | "dnsNames"> & {
  readonly uri: string;
  readonly subjectKeyIdentifier: Uint8Array;
  readonly ipAddresses?: readonly Uint8Array[];
};

/** A verdict in a microsecond or two: true is sure, false means only that all rules have to be asked. */
export type QuickVerdict = (tbs: Uint8Array, content: QuickContent) => boolean;

/**
 * From a leaf that passed every rule, makes a judge for its siblings: same issuer, same profile. What all of them share is compared
 * byte for byte with what was judged; serial number, dates, key and names are judged each time, and the bytes must spell them.
 * The key is not tried for a valid point, since the CSR's signature was verified with it.
 * @param model  a TBSCertificate that passed `lintCertificate` in this context
 */
export function quickVerdict(model: Uint8Array, context: CertificateContext & { readonly issuer: IssuerFacts }): QuickVerdict {
  const { issuer, limits, trustDomain } = context;
  const view = viewTbs(model);
  const { keyAlgorithm } = describeSpki(view.spki);
  const keyHead = view.spki.slice(0, view.spki.length - (keyOctets[keyAlgorithm] ?? 0));
  const head = view.version ?? new Uint8Array();
  const algorithmAndIssuer = Buffer.concat([view.signatureAlgorithm, view.issuer]);
  const parts = partsOf(model);
  const idForm = new RegExp(`^spiffe://${RegExp.escape(trustDomain ?? "")}${pathForm}$`);
  let dates = { notBeforeMs: Number.NaN, notAfterMs: Number.NaN, encoded: new Uint8Array() as Uint8Array | undefined };
  let bytes: Uint8Array = model;
  let at = 0;

  /** Enters an element: where it ends, or -1 for another tag or a length that is not minimal. */
  function enter(expected: number): number {
    if (bytes[at] !== expected) return -1;
    const first = bytes[at + 1] ?? -1;
    if (first < 0x80) return (at += 2) + first;
    const second = bytes[at + 2] ?? 0;
    if (first === 0x81) return second < 0x80 ? -1 : (at += 3) + second;
    const length = second * 256 + (bytes[at + 3] ?? 0);
    return first !== 0x82 || length < 0x100 ? -1 : (at += 4) + length;
  }

  function spells(expected: Uint8Array): boolean {
    const start = at;
    at += expected.length;
    return holdsAt(bytes, start, expected);
  }

  function spellsName(nameTag: number, text: string): boolean {
    if (enter(nameTag) !== at + text.length) return false;
    for (let index = 0; index < text.length; index++) if (bytes[at + index] !== text.charCodeAt(index)) return false;
    at += text.length;
    return true;
  }

  function spellsSerial(serialNumber: Uint8Array): boolean {
    const [first = 0] = serialNumber;
    if (serialNumber.length !== serialOctets || first === 0 || first >= 0x80) return false;
    return enter(tag.integer) === at + serialOctets && spells(serialNumber);
  }

  function spellsDates(notBeforeMs: number, notAfterMs: number): boolean {
    if (notBeforeMs !== dates.notBeforeMs || notAfterMs !== dates.notAfterMs) {
      const fit = notBeforeMs % 1000 === 0 && notAfterMs % 1000 === 0 && notBeforeMs <= notAfterMs
        && notAfterMs + 1000 - notBeforeMs <= limits.lifetimeMaxMs + limits.clockSkewMs
        && notBeforeMs >= issuer.notBeforeMs && notAfterMs <= issuer.notAfterMs && notAfterMs < year2050Ms;
      dates = { notBeforeMs, notAfterMs, encoded: fit ? encodeSequence(encodeTime(notBeforeMs), encodeTime(notAfterMs)) : undefined };
    }
    return dates.encoded !== undefined && spells(dates.encoded);
  }

  function spellsKey(spki: Uint8Array): boolean {
    if (sameOctets(spki, issuer.spki) || (keyAlgorithm in keyOctets ? spki.length !== view.spki.length : describeSpki(spki).keyAlgorithm !== keyAlgorithm)) return false;
    return holdsAt(spki, 0, keyHead) && spells(spki);
  }

  function spellsAltNames({ uri, dnsNames, ipAddresses = [] }: QuickContent): boolean {
    const end = enter(tag.sequence);
    if (!spells(altNameHead) || enter(tag.octetString) !== end || enter(tag.sequence) !== end) return false;
    if (uri.length > maxUriChars || !idForm.test(uri) || !spellsName(uriTag, uri)) return false;
    for (const name of dnsNames) if (!dnsForm.test(name) || !permitsDnsName(limits.names, name) || !spellsName(dnsTag, name)) return false;
    for (const address of ipAddresses) {
      if ((address.length !== 4 && address.length !== 16) || !permitsIpAddress(limits.names, address)) return false;
      if (enter(ipTag) !== at + address.length || !spells(address)) return false;
    }
    return at === end;
  }

  return (tbs, content) => {
    const { serialNumber, notBeforeMs, notAfterMs, spki, subjectKeyIdentifier } = content;
    bytes = tbs;
    at = 0;
    const end = enter(tag.sequence);
    if (end !== tbs.length || tbs.length > maxQuickBytes) return false;
    if (!spells(head) || !spellsSerial(serialNumber) || !spells(algorithmAndIssuer) || !spellsDates(notBeforeMs, notAfterMs)) return false;
    if (!spells(view.subject) || !spellsKey(spki)) return false;
    if (enter(0xa3) !== end || enter(tag.sequence) !== end) return false;
    for (const part of parts) {
      if (part === "altNames" ? !spellsAltNames(content)
        : part === "keyIdentifier" ? subjectKeyIdentifier.length !== keyIdentifierOctets || !spells(keyIdentifierHead) || !spells(subjectKeyIdentifier)
        : !spells(part)) return false;
    }
    return at === end;
  };
}

/** The extensions of the model in order: the two that differ in each certificate, and the bytes of the others. */
function partsOf(model: Uint8Array): readonly (Uint8Array | "altNames" | "keyIdentifier")[] {
  const tbs = new DerReader(readDer(model));
  let explicit = tbs.next();
  while (!tbs.finished) explicit = tbs.next();
  const list = new DerReader(explicit).next();
  const oids = viewExtensions(list).map(({ oid }) => oid);
  const reader = new DerReader(list);
  return oids.map((oid) => {
    const encoded = encodedOf(reader.next());
    if (oid === extensionOid.subjectAltName) return "altNames";
    return oid === extensionOid.subjectKeyIdentifier ? "keyIdentifier" : encoded;
  });
}

function holdsAt(bytes: Uint8Array, start: number, expected: Uint8Array): boolean {
  const { length } = expected;
  for (let index = 0; index < length; index++) if (bytes[start + index] !== expected[index]) return false;
  return true;
}

/** From the end, where keys differ. */
function sameOctets(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let index = one.length - 1; index >= 0; index--) if (one[index] !== other[index]) return false;
  return true;
}

/** Octets at the end of a SubjectPublicKeyInfo that are the key; what stands before is the same in all of a kind. RSA is not so simple. */
const keyOctets: Readonly<Partial<Record<KeyAlgorithm, number>>> = { "ec-p256": 64, "ec-p384": 96, ed25519: 32 };
const [uriTag, dnsTag, ipTag] = [0x86, 0x82, 0x87];
/** OID of subjectAltName and critical TRUE. */
const altNameHead = Uint8Array.of(0x06, 0x03, 0x55, 0x1d, 0x11, 0x01, 0x01, 0xff);
/** SEQUENCE, OID of subjectKeyIdentifier, OCTET STRING, OCTET STRING of 20 octets. */
const keyIdentifierHead = Uint8Array.of(0x30, 0x1d, 0x06, 0x03, 0x55, 0x1d, 0x0e, 0x04, 0x16, 0x04, 0x14);
const keyIdentifierOctets = 20;
/** A first octet of 1 to 127 is written as it is. */
const serialOctets = 18;
// Stricter than the rules, so that what they would refuse is never let through here.
const pathForm = "(?:/(?!\\.\\.?(?:/|$))[A-Za-z0-9._-]+)+";
const dnsForm = /^(?=.{1,253}$)(?!(?:.*\.)?[0-9]+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const maxUriChars = 2048;
const maxQuickBytes = 8 * 1024;
const year2050Ms = Date.UTC(2050, 0, 1);
