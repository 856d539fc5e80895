import { setImmediate } from "node:timers/promises";
import { tag } from "../pki/der-tag.ts";
import { contentOf, DerReader, encodedOf, readDer, readTime, type DerElement } from "../pki/der.ts";
import { encodeRevokedCertificate } from "../pki/crl-encoding.ts";
import { extensionOid } from "../pki/oid.ts";
import type { CrlContext } from "./crl.ts";
import { failuresOf, type LintFailure, type LintRule } from "./rule.ts";
import { serialSet } from "./serial-set.ts";
import { strictDerFault } from "./strict-der.ts";
import { extensionOf, viewExtensions, type ExtensionView } from "./tbs-view.ts";

/** One entry of revokedCertificates, taken apart. */
export interface CrlEntryView {
  readonly bytes: Uint8Array;
  /** Content octets of the INTEGER. */
  readonly serialNumber: Uint8Array;
  readonly revocationDate: DerElement;
  readonly extensions: readonly ExtensionView[];
}

/** Rules about each entry of a CRL. */
export const crlEntryRules: readonly LintRule<CrlEntryView, CrlContext>[] = [
  {
    id: "CRL-07", citation: "RFC 5280 5.3.1", appliesTo: "all",
    check: (entry) => {
      const reason = extensionOf(entry, extensionOid.reasonCode);
      if (reason === undefined) return undefined;
      if (reason.critical) return "a reason is critical";
      const [code = 0] = contentOf(readDer(reason.value, tag.enumerated));
      return reasonCodes.has(code) ? undefined : `the reason ${code} has no place in a full CRL`;
    },
  },
  {
    id: "CRL-08", citation: "RFC 5280 5.3.2, 5.3.3", appliesTo: "all",
    check: (entry) => {
      if (extensionOf(entry, extensionOid.certificateIssuer) !== undefined) return "an entry names another issuer, and the CRL is not indirect";
      const invalidity = extensionOf(entry, extensionOid.invalidityDate);
      return invalidity === undefined || readDer(invalidity.value).tag === tag.generalizedTime ? undefined : "an invalidity date is no GeneralizedTime";
    },
  },
  {
    id: "CRL-13", citation: "RFC 5280 5.1.2.6, practice of public CAs", appliesTo: "all",
    check: ({ revocationDate }, { meant }) => (readTime(revocationDate) > meant.thisUpdateMs ? "a certificate was revoked after the CRL was made" : undefined),
  },
  {
    id: "CRL-21", citation: "RFC 5280 4.1.2.2, 5.1.2.6", appliesTo: "all",
    check: ({ serialNumber }) => {
      const positive = (serialNumber[0] ?? 0x80) < 0x80 && serialNumber.length <= maxSerialOctets;
      return positive ? undefined : "an entry has a serial number that is negative or longer than 20 octets";
    },
  },
  { id: "CRL-24", citation: "X.690 10 and 11", appliesTo: "all", check: ({ bytes }) => strictDerFault(bytes) },
];

/**
 * Judges all entries, in steps between which other work gets its turn. An entry of the one form we write is recognized in some
 * tenths of a microsecond; any other is judged by every rule.
 * @returns how many there are, how many different serial numbers, and the failures of the first entry that has some
 */
export async function judgeEntries(
  revoked: DerElement | undefined, context: CrlContext,
): Promise<{ readonly count: number; readonly different: number; readonly failures: readonly LintFailure[] }> {
  let count = 0;
  if (revoked === undefined) return { count, different: 0, failures: [] };
  const { bytes, end } = revoked;
  const serials = serialSet(bytes);
  const ours = recognizer(bytes, context.meant.thisUpdateMs);
  for (let at = revoked.contentStart; at < end;) {
    let next = ours(at, end);
    if (next > 0) {
      serials.add(at + serialAt, bytes[at + serialAt - 1]!);
    } else {
      const element = new DerReader({ tag: tag.sequence, bytes, start: at, contentStart: at, end }).next(tag.sequence);
      const failures = failuresOf(crlEntryRules, viewEntry(encodedOf(element)), context);
      if (failures.length > 0) return { count, different: serials.size(), failures };
      const serialNumber = new DerReader(element).next(tag.integer);
      serials.add(serialNumber.contentStart, serialNumber.end - serialNumber.contentStart);
      next = element.end;
    }
    at = next;
    count += 1;
    if (count % entriesPerStep === 0) await setImmediate();
  }
  return { count, different: serials.size(), failures: [] };
}

function viewEntry(bytes: Uint8Array): CrlEntryView {
  const reader = new DerReader(readDer(bytes, tag.sequence));
  const serialNumber = contentOf(reader.next(tag.integer));
  const revocationDate = reader.next();
  const extensions = reader.optional(tag.sequence);
  reader.done();
  return { bytes, serialNumber, revocationDate, extensions: extensions === undefined ? [] : viewExtensions(extensions) };
}

/**
 * Recognizes the one form we write: SEQUENCE of a positive INTEGER of at most 20 octets, a UTCTime not after the CRL's, and either
 * nothing or one reason, not critical.
 * @returns a function to the offset behind the entry at an offset, 0 for one of another form
 */
function recognizer(bytes: Uint8Array, thisUpdateMs: number): (at: number, end: number) => number {
  // What is revoked together is listed together, so dates repeat.
  let goodDateAt = -1;

  function isGoodDate(at: number): boolean {
    if (goodDateAt >= 0 && isSame(bytes, at, bytes, goodDateAt, 2 + utcTimeOctets)) return true;
    if (bytes[at] !== tag.utcTime || bytes[at + 1] !== utcTimeOctets) return false;
    if (readTime(readDer(bytes.subarray(at, at + 2 + utcTimeOctets))) > thisUpdateMs) return false;
    goodDateAt = at;
    return true;
  }

  return (at, end) => {
    const next = at + 2 + bytes[at + 1]!;
    if (bytes[at] !== tag.sequence || bytes[at + 1]! >= 0x80 || next > end || bytes[at + 2] !== tag.integer) return 0;
    const serialOctets = bytes[at + serialAt - 1]!;
    const [first, second] = [bytes[at + serialAt]!, bytes[at + serialAt + 1]!];
    if (serialOctets === 0 || serialOctets > maxSerialOctets || first >= 0x80 || (first === 0 && second < 0x80)) return 0;
    const dateAt = at + serialAt + serialOctets;
    const restAt = dateAt + 2 + utcTimeOctets;
    if (restAt > next || !isGoodDate(dateAt)) return 0;
    if (restAt === next) return next;
    const hasReason = next - restAt === reasonHead.length + 1 && isSame(bytes, restAt, reasonHead, 0, reasonHead.length) && reasonCodes.has(bytes[next - 1]!);
    return hasReason ? next : 0;
  };
}

function isSame(one: Uint8Array, at: number, other: Uint8Array, otherAt: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (one[at + index] !== other[otherAt + index]) return false;
  return true;
}

/** Behind the headers of SEQUENCE and INTEGER, both shorter than 128 octets. */
const serialAt = 4;
const maxSerialOctets = 20;
const utcTimeOctets = 13;
/** RFC 5280 5.3.1, without unspecified (said by saying nothing), certificateHold (made nowhere here) and removeFromCRL (deltas only). */
const reasonCodes: ReadonlySet<number> = new Set([1, 2, 3, 4, 5, 9, 10]);
/** SEQUENCE, SEQUENCE, the OID, OCTET STRING, ENUMERATED with one octet, which follows. */
const reasonHead = encodeRevokedCertificate("01", 0, "keyCompromise").subarray(-(2 + 2 + 5 + 2 + 3), -1);
/** Less than a millisecond. */
const entriesPerStep = 1000;
