import { setImmediate } from "node:timers/promises";
import { LintRefusal, type Linted } from "../lint/rule.ts";
import type { Certificate } from "../pki/certificate.ts";
import type { IssuingDistributionPoint } from "../pki/crl-encoding.ts";
import { parseTbsCrl, type TbsCrl } from "../pki/crl.ts";
import { DerReader, encodedOf, tag, type DerElement } from "../pki/der.ts";
import { encodeRevokedCertificate } from "../pki/crl-encoding.ts";
import { PkiError } from "../pki/errors.ts";

/** What the CRL was meant to be. */
export interface MeantCrl {
  readonly issuer: Certificate;
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly scope: IssuingDistributionPoint;
  readonly count: number;
}

/**
 * Reads the bytes that will be signed as a stranger would and holds them against the rules and what was meant; many entries are
 * read in small steps.
 * @throws {LintRefusal} lint_failed, with the rule: a bug of ours, and nothing was signed
 */
export async function lintCrl(tbs: Uint8Array, meant: MeantCrl): Promise<Linted<"crl">> {
  const crl = read(tbs);
  const { issuer } = meant;
  expect("CRL-01", Buffer.compare(crl.issuer, issuer.subject) === 0);
  expect("CRL-02", crl.thisUpdateMs === meant.thisUpdateMs && crl.nextUpdateMs === meant.nextUpdateMs && crl.thisUpdateMs < crl.nextUpdateMs);
  expect("CRL-04", Buffer.compare(crl.authorityKeyIdentifier, issuer.subjectKeyIdentifier ?? new Uint8Array()) === 0);
  expect("CRL-05", crl.number === BigInt(meant.number) && crl.number > 0n);
  expect("CRL-09", crl.scope.onlyAuthorities === (meant.scope.only === "authorities") && crl.scope.onlyEndEntities === (meant.scope.only === "end-entities"));
  expect("CRL-10", crl.scope.urls.length === (meant.scope.url === undefined ? 0 : 1) && crl.scope.urls[0] === meant.scope.url);
  expect("CRL-14", issuer.keyUsage?.crlSign === true);
  expect("CRL-03", await lintEntries(crl.revokedCertificates) === meant.count);
  return tbs as Linted<"crl">;
}

/** @returns how many there are */
async function lintEntries(revoked: DerElement | undefined): Promise<number> {
  if (revoked === undefined) return 0;
  const serials = new Set<string>();
  const reader = new DerReader(revoked);
  let count = 0;
  while (!reader.finished) {
    const entry = encodedOf(reader.next(tag.sequence));
    expect("CRL-07, CRL-24", isEntryOfOurs(entry));
    // The octets of the INTEGER, one character each.
    serials.add(Buffer.from(entry.buffer, entry.byteOffset + serialAt, entry[serialAt - 1]!).toString("latin1"));
    count += 1;
    if (count % entriesPerStep === 0) await setImmediate();
  }
  expect("CRL-06", serials.size === count);
  return count;
}

/** SEQUENCE of a positive INTEGER of at most 20 octets, a UTCTime, and either nothing or one reason, not critical and not 0. */
function isEntryOfOurs(entry: Uint8Array): boolean {
  const serialOctets = entry[serialAt - 1]!;
  const [first = 0, second = 0] = entry.subarray(serialAt, serialAt + 2);
  if (entry[serialAt - 2] !== tag.integer || serialOctets === 0 || serialOctets > maxSerialOctets || first >= 0x80) return false;
  if (first === 0 && second < 0x80) return false;
  const timeAt = serialAt + serialOctets;
  if (entry[timeAt] !== tag.utcTime || entry[timeAt + 1] !== utcTimeOctets) return false;
  const rest = entry.subarray(timeAt + 2 + utcTimeOctets);
  return rest.length === 0 || (reasons.has(rest.at(-1)!) && Buffer.compare(rest.subarray(0, -1), reasonHead) === 0);
}

function read(tbs: Uint8Array): TbsCrl {
  try {
    return parseTbsCrl(tbs);
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw failed("CRL-01, CRL-24", cause);
  }
}

function expect(rule: string, holds: boolean): void {
  if (!holds) throw failed(rule);
}

function failed(id: string, cause?: Error): LintRefusal {
  return new LintRefusal("crl", "complete", [{ id, citation: "RFC 5280 5", detail: cause?.message ?? "it is not as it was meant" }], { cause });
}

/** Where the serial number's octets begin: behind the headers of SEQUENCE and INTEGER, both shorter than 128 octets. */
const serialAt = 4;
const maxSerialOctets = 20;
const utcTimeOctets = 13;
/** keyCompromise to cessationOfOperation, privilegeWithdrawn, aACompromise. */
const reasons: ReadonlySet<number> = new Set([1, 2, 3, 4, 5, 9, 10]);
const reasonHead = encodeRevokedCertificate("01", 0, "keyCompromise").subarray(-reasonOctets(), -1);
/** Some tenths of a millisecond. */
const entriesPerStep = 500;

/** SEQUENCE, SEQUENCE, the OID, OCTET STRING, ENUMERATED with one octet. */
function reasonOctets(): number {
  return 2 + 2 + 5 + 2 + 3;
}
