import { createPublicKey, type KeyObject } from "node:crypto";
import {
  encodeBitString, encodeBoolean, encodeDer, encodeIa5String, encodeOctetString, encodeOid, encodeSequence, encodeSetOf, encodeSmallInteger,
} from "./der-encoding.ts";
import { context, contextConstructed, tag } from "./der-tag.ts";
import {
  encodedOf, readBoolean, readDer, readerOf, readOctetAlignedBitString, readOctetString, readOid, readSetOf, readSmallInteger, type DerElement,
} from "./der.ts";
import { PkiError } from "./errors.ts";
import { readGeneralNames } from "./general-name.ts";
import {
  describeSpki, encodeSignatureAlgorithm, parseSignatureAlgorithm, signatureAlgorithmFor, signData,
  verifySignatureBySpki, type KeyAlgorithm, type SignatureAlgorithm,
} from "./key.ts";
import { parseName } from "./name.ts";
import { extensionOid, extensionRequestOid } from "./oid.ts";

/** A certification request whose sender was shown to hold the private key. Only key and names are ever used of it. */
export interface Csr {
  /** SubjectPublicKeyInfo in DER, a view into the request. */
  readonly spki: Uint8Array;
  readonly keyAlgorithm: KeyAlgorithm;
  /** What the request is signed with. */
  readonly signatureAlgorithm: SignatureAlgorithm;
  /** URI names asked for, as written: well formed, not granted yet. */
  readonly uriSans: readonly string[];
  /** DNS names asked for, as written: well formed, not granted yet. */
  readonly dnsSans: readonly string[];
  /** How many names of other kinds are asked for. */
  readonly otherSans: number;
  /** Subject Name in DER, a view into the request. */
  readonly subject: Uint8Array;
}

export interface CsrFields {
  readonly privateKey: KeyObject;
  /** Default: derived from the private key, which costs a few microseconds. */
  readonly publicKey?: KeyObject;
  readonly uriSans?: readonly string[];
  readonly dnsSans?: readonly string[];
}

/**
 * Reads a PKCS #10 request and verifies its signature by its own key (proof of possession). Attributes other than the
 * wished-for extensions, extensions other than subjectAltName, and names other than URI and DNS are ignored.
 * @throws {PkiError} der_malformed | der_limit_exceeded | csr_malformed | certificate_extension_invalid (the names) |
 *                    algorithm_unsupported | public_key_unsupported | public_key_weak | public_key_invalid |
 *                    csr_signature_invalid
 * @source RFC 2986 section 4
 */
export function parseCsr(der: Uint8Array): Csr {
  if (der.length > maxCsrBytes) {
    throw new PkiError("der_limit_exceeded", `certification request of ${der.length} bytes exceeds the limit of ${maxCsrBytes}`);
  }
  const outer = readerOf(readDer(der), tag.sequence);
  const info = outer.next(tag.sequence);
  const signatureAlgorithm = parseSignatureAlgorithm(encodedOf(outer.next(tag.sequence)));
  const signature = readOctetAlignedBitString(outer.next());
  outer.done();

  const fields = readerOf(info, tag.sequence);
  if (readSmallInteger(fields.next()) !== 0) throw malformed("version is not 0");
  const subject = fields.next(tag.sequence);
  parseName(subject);
  const spki = encodedOf(fields.next(tag.sequence));
  const { uriSans, dnsSans, otherSans } = namesOf(fields.next(contextConstructed(0)));
  fields.done();

  const { valid, keyAlgorithm } = verifySignatureBySpki(signatureAlgorithm, spki, encodedOf(info), signature);
  if (!valid) {
    throw new PkiError("csr_signature_invalid", "the request is not signed by the key it asks to certify; sign it with that key");
  }
  return { spki, keyAlgorithm, signatureAlgorithm, uriSans, dnsSans, otherSans, subject: encodedOf(subject) };
}

/**
 * Writes a request with an empty subject and the wished-for names in a critical subjectAltName, signed by `privateKey`.
 * @throws {PkiError} public_key_unsupported | public_key_weak, when we would not accept such a key ourselves
 * @source RFC 2986 section 4
 */
export function encodeCsr({ privateKey, publicKey, uriSans = [], dnsSans = [] }: CsrFields): Uint8Array {
  const spki = (publicKey ?? createPublicKey(privateKey)).export({ format: "der", type: "spki" });
  const signatureAlgorithm = signatureAlgorithmFor(describeSpki(spki).keyAlgorithm);
  const attributes = uriSans.length + dnsSans.length === 0 ? [] : [extensionRequest(uriSans, dnsSans)];
  const info = encodeSequence(encodeSmallInteger(0), encodeSequence(), spki, encodeDer(contextConstructed(0), ...attributes));
  const signature = signData(signatureAlgorithm, privateKey, info);
  return encodeSequence(info, encodeSignatureAlgorithm(signatureAlgorithm), encodeBitString(signature));
}

type Names = Pick<Csr, "uriSans" | "dnsSans" | "otherSans">;
const noNames: Names = { uriSans: [], dnsSans: [], otherSans: 0 };

/** Names in the attributes, `[0] IMPLICIT SET OF SEQUENCE { type, values SET }`. */
function namesOf(attributes: DerElement): Names {
  let names: Names | undefined;
  for (const element of readSetOf(attributes, contextConstructed(0))) {
    const attribute = readerOf(element, tag.sequence);
    const type = readOid(attribute.next());
    const values = readSetOf(attribute.next(), tag.set);
    attribute.done();
    if (type !== extensionRequestOid) continue;
    const [extensions] = values;
    if (names !== undefined || extensions === undefined || values.length > 1) {
      throw malformed("extensions are asked for twice or emptily");
    }
    names = namesInExtensions(extensions);
  }
  return names ?? noNames;
}

function namesInExtensions(extensions: DerElement): Names {
  const reader = readerOf(extensions, tag.sequence);
  const seen = new Set<string>();
  let names: Names | undefined;
  while (!reader.finished) {
    const extension = readerOf(reader.next(), tag.sequence);
    const oid = readOid(extension.next());
    const critical = extension.optional(tag.boolean);
    // X.690 11.5: a DEFAULT value is left out.
    if (critical !== undefined && !readBoolean(critical)) throw malformed("an extension spells out critical FALSE");
    const value = readOctetString(extension.next());
    extension.done();
    if (seen.has(oid)) throw malformed("an extension occurs twice");
    seen.add(oid);
    if (oid === extensionOid.subjectAltName) {
      const { uris, dnsNames, ipAddresses, emails, directoryNames, otherKinds } = readGeneralNames(readDer(value, tag.sequence));
      names = { uriSans: uris, dnsSans: dnsNames, otherSans: ipAddresses.length + emails.length + directoryNames.length + otherKinds.length };
    }
  }
  if (seen.size === 0) throw malformed("the list of extensions is empty");
  return names ?? noNames;
}

function extensionRequest(uriSans: readonly string[], dnsSans: readonly string[]): Uint8Array {
  const names = [...uriSans.map((uri) => encodeIa5String(uri, uriTag)), ...dnsSans.map((dns) => encodeIa5String(dns, dnsTag))];
  const subjectAltName = encodeSequence(
    encodeOid(extensionOid.subjectAltName), encodeBoolean(true), encodeOctetString(encodeSequence(...names)),
  );
  return encodeSequence(encodeOid(extensionRequestOid), encodeSetOf(encodeSequence(subjectAltName)));
}

function malformed(detail: string): PkiError {
  return new PkiError("csr_malformed", `not a certification request: ${detail}`);
}

// GeneralName, RFC 5280 section 4.2.1.6.
const dnsTag = context(2);
const uriTag = context(6);
/** A request with an RSA-4096 key and a handful of names has 2 KiB. */
const maxCsrBytes = 8 * 1024;
