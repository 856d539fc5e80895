import {
  encodeBitString, encodeBoolean, encodeDer, encodeExplicit, encodeOctetString, encodeOid, encodeSequence, encodeSmallInteger, encodeTime,
  encodeUnsignedInteger,
} from "./der-encoding.ts";
import { context, tag } from "./der-tag.ts";
import { encodeDistributionPointName, encodeExtension } from "./extension-encoding.ts";
import { encodeSignatureAlgorithm, type SignatureAlgorithm } from "./key.ts";
import { extensionOid } from "./oid.ts";
import { reasonCodes, type CrlReason } from "./revocation-reason.ts";

/** All of a CRL but its signature. */
export interface CrlFields {
  readonly signatureAlgorithm: SignatureAlgorithm;
  /** DER of the issuer's subject Name, byte for byte. */
  readonly issuer: Uint8Array;
  readonly authorityKeyIdentifier: Uint8Array;
  /** CRLNumber. */
  readonly number: number;
  /** Both cut to the second. */
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly scope: IssuingDistributionPoint;
  /** Made by `encodeRevokedCertificate`, each piece any number of them one after another. */
  readonly entries: readonly Uint8Array[];
}

/** Which certificates of its issuer a CRL is about. */
export interface IssuingDistributionPoint {
  readonly only: "end-entities" | "authorities";
  /** Where it is fetched, as those certificates say, for one that lists only a part of them. */
  readonly url?: string | undefined;
}

/**
 * Writes a TBSCertList, version 2.
 * @throws {RangeError} for 16 MiB or more: some 300 000 entries
 * @source RFC 5280 section 5.1.2
 */
export function encodeTbsCrl({ signatureAlgorithm, issuer, authorityKeyIdentifier, number, thisUpdateMs, nextUpdateMs, scope, entries }: CrlFields): Uint8Array {
  if (!(thisUpdateMs < nextUpdateMs)) throw new RangeError("a CRL is updated after it was made");
  const extensions = encodeSequence(
    encodeExtension(encodeOid(extensionOid.authorityKeyIdentifier), false, encodeSequence(encodeDer(context(0), authorityKeyIdentifier))),
    encodeExtension(encodeOid(extensionOid.crlNumber), false, encodeSmallInteger(number)),
    encodeExtension(encodeOid(extensionOid.issuingDistributionPoint), true, encodeIssuingDistributionPoint(scope)),
  );
  return encodeSequence(
    version2,
    encodeSignatureAlgorithm(signatureAlgorithm),
    issuer,
    encodeTime(thisUpdateMs),
    encodeTime(nextUpdateMs),
    // 5.1.2.6: absent, not empty, when nothing is revoked.
    ...(entries.some(({ length }) => length > 0) ? [encodeSequence(...entries)] : []),
    encodeExplicit(0, extensions),
  );
}

/**
 * One entry of a CRL.
 * @param serialNumber  hex
 * @source RFC 5280 section 5.3: unspecified is said by saying nothing
 */
export function encodeRevokedCertificate(serialNumber: string, revokedAtMs: number, reason: CrlReason): Uint8Array {
  // Whole seconds, and what is revoked together is listed together.
  const second = Math.floor(revokedAtMs / 1000);
  if (second !== lastTime.second) lastTime = { second, encoded: encodeTime(revokedAtMs) };
  const serial = encodeUnsignedInteger(Buffer.from(serialNumber, "hex"));
  const extensions = reasonExtensions.get(reason) ?? noExtensions;
  const entry = Buffer.allocUnsafe(2 + serial.length + lastTime.encoded.length + extensions.length);
  // Shorter than 128 octets whatever is in it.
  entry[0] = tag.sequence;
  entry[1] = entry.length - 2;
  entry.set(serial, 2);
  entry.set(lastTime.encoded, 2 + serial.length);
  entry.set(extensions, 2 + serial.length + lastTime.encoded.length);
  return entry;
}

/** Puts the signature beside what was signed. @source RFC 5280 section 5.1.1 */
export function encodeCrl(tbs: Uint8Array, signatureAlgorithm: SignatureAlgorithm, signature: Uint8Array): Uint8Array {
  return encodeSequence(tbs, encodeSignatureAlgorithm(signatureAlgorithm), encodeBitString(signature));
}

/** Never the empty SEQUENCE: one of onlyContainsUserCerts [1] and onlyContainsCACerts [2] is there. @source RFC 5280 section 5.2.5 */
function encodeIssuingDistributionPoint({ only, url }: IssuingDistributionPoint): Uint8Array {
  const yes = encodeBoolean(true).subarray(2);
  return encodeSequence(
    ...(url === undefined ? [] : [encodeDistributionPointName(url)]),
    encodeDer(context(only === "end-entities" ? 1 : 2), yes),
  );
}

let lastTime: { readonly second: number; readonly encoded: Uint8Array } = { second: Number.NaN, encoded: new Uint8Array() };
const noExtensions = new Uint8Array();
const version2 = encodeSmallInteger(1);
/** What follows the date, by reason: encoded once. */
const reasonExtensions: ReadonlyMap<CrlReason, Uint8Array> = new Map(
  Object.entries(reasonCodes).filter(([, code]) => code !== reasonCodes.unspecified).map(([reason, code]) => [
    reason as CrlReason,
    encodeSequence(encodeSequence(encodeOid(extensionOid.reasonCode), encodeOctetString(encodeDer(tag.enumerated, Uint8Array.of(code))))),
  ]),
);
