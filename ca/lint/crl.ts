import type { Certificate } from "../pki/certificate.ts";
import type { IssuingDistributionPoint } from "../pki/crl-encoding.ts";
import { context as contextTag, contextConstructed, tag } from "../pki/der-tag.ts";
import { contentOf, DerReader, encodedOf, readDer, readSmallInteger, readTime, type DerElement } from "../pki/der.ts";
import { encodeSignatureAlgorithm, signatureAlgorithmFor } from "../pki/key.ts";
import { extensionOid } from "../pki/oid.ts";
import { crlEntryRules, judgeEntries } from "./crl-entries.ts";
import { fullNameUrisOf } from "./distribution-point.ts";
import { itemsOf } from "./extension-values.ts";
import { failuresOf, LintRefusal, same, type Linted, type LintFailure, type LintRule } from "./rule.ts";
import { strictDerFault } from "./strict-der.ts";
import { extensionOf, isEmptyName, repeatedOids, viewExtensions, type ExtensionView } from "./tbs-view.ts";

/** What the CRL was meant to be. */
export interface MeantCrl {
  readonly issuer: Certificate;
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  readonly scope: IssuingDistributionPoint;
  readonly count: number;
}

export interface CrlContext {
  readonly kind: IssuingDistributionPoint["only"];
  readonly meant: MeantCrl;
}

/** A TBSCertList taken apart, its entries not yet. */
interface CrlView {
  readonly version: number | undefined;
  readonly signatureAlgorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly thisUpdate: DerElement;
  readonly nextUpdate: DerElement | undefined;
  readonly revoked: DerElement | undefined;
  readonly extensions: readonly ExtensionView[];
  /** All but the entries, for rules about the encoding. */
  readonly frame: Uint8Array;
}

/** Rules about a CRL as a whole; those about its entries are `crlEntryRules`. */
const crlRules: readonly LintRule<CrlView, CrlContext>[] = [
  {
    id: "CRL-01", citation: "RFC 5280 5.1.1.2, 5.1.2.1-3", appliesTo: "all",
    check: ({ version, issuer, signatureAlgorithm }, { meant }) => {
      if (version !== 1) return "it is not of version 2";
      if (isEmptyName(issuer) || !same(issuer, meant.issuer.subject)) return "its issuer's name is not that of the certificate that signs";
      return same(signatureAlgorithm, encodeSignatureAlgorithm(signatureAlgorithmFor(meant.issuer.keyAlgorithm))) ? undefined : "its algorithm is not the signer's";
    },
  },
  {
    id: "CRL-02", citation: "RFC 5280 5.1.2.4, 5.1.2.5", appliesTo: "all",
    check: ({ thisUpdate, nextUpdate }, { meant }) => {
      if (nextUpdate === undefined) return "it does not say when the next one comes";
      const [thisMs, nextMs] = [readTime(thisUpdate), readTime(nextUpdate)];
      if (thisUpdate.tag !== timeTag(thisMs) || nextUpdate.tag !== timeTag(nextMs)) return "a date before 2050 is no UTCTime, or a later one is";
      if (thisMs >= nextMs) return "it is over before it begins";
      return thisMs === meant.thisUpdateMs && nextMs === meant.nextUpdateMs ? undefined : "its dates are others than meant";
    },
  },
  {
    id: "CRL-03", citation: "RFC 5280 5.1.2.6", appliesTo: "all",
    check: ({ revoked }) => (revoked !== undefined && revoked.contentStart === revoked.end ? "its list of entries is there and empty" : undefined),
  },
  {
    id: "CRL-04", citation: "RFC 5280 5.2.1, 5.2.3", appliesTo: "all",
    check: (crl, { meant }) => {
      const [authority, number] = [extensionOf(crl, extensionOid.authorityKeyIdentifier), extensionOf(crl, extensionOid.crlNumber)];
      if (authority === undefined || number === undefined) return "it lacks the authority key identifier or its number";
      if (authority.critical || number.critical) return "its authority key identifier or its number is critical";
      const [keyIdentifier] = itemsOf(authority);
      const fits = keyIdentifier?.tag === contextTag(0) && same(contentOf(keyIdentifier), meant.issuer.subjectKeyIdentifier);
      return fits ? undefined : "its authority key identifier is not the signer's";
    },
  },
  {
    id: "CRL-05", citation: "RFC 5280 5.2.3", appliesTo: "all",
    check: (crl, { meant }) => {
      const extension = extensionOf(crl, extensionOid.crlNumber);
      if (extension === undefined) return undefined;
      const number = readSmallInteger(readDer(extension.value));
      return number > 0 && number === meant.number ? undefined : "its number is another one than meant";
    },
  },
  {
    id: "CRL-09", citation: "RFC 5280 5.2.5", appliesTo: "all",
    check: (crl, { kind }) => {
      const point = extensionOf(crl, extensionOid.issuingDistributionPoint);
      if (point === undefined) return "it does not say which certificates it is about";
      if (!point.critical) return "its issuing distribution point is not critical";
      const parts = itemsOf(point).map((part) => part.tag).filter((each) => each !== contextConstructed(0));
      return parts.length === 1 && parts[0] === contextTag(kind === "end-entities" ? 1 : 2) ? undefined : `it is not about ${kind} alone`;
    },
  },
  {
    id: "CRL-10", citation: "RFC 5280 5.2.5, 6.3.3", appliesTo: "all",
    check: (crl, { meant }) => {
      const point = extensionOf(crl, extensionOid.issuingDistributionPoint);
      const name = point && itemsOf(point).find((part) => part.tag === contextConstructed(0));
      const uris = name === undefined ? [] : fullNameUrisOf(name) ?? [""];
      const wanted = meant.scope.url === undefined ? [] : [meant.scope.url];
      return uris.join("\n") === wanted.join("\n") ? undefined : "its distribution point is not the one its certificates name";
    },
  },
  {
    id: "CRL-11", citation: "RFC 5280 5.2.4", appliesTo: "all",
    check: (crl) => (extensionOf(crl, extensionOid.deltaCrlIndicator) === undefined ? undefined : "it is a delta, and there is no base for one"),
  },
  {
    id: "CRL-14", citation: "RFC 5280 6.3.3 (f)", appliesTo: "all",
    check: (_crl, { meant }) => (meant.issuer.keyUsage?.crlSign === true ? undefined : "its signer may not sign CRLs"),
  },
  {
    id: "CRL-22", citation: "RFC 5280 5.2", appliesTo: "all",
    check: ({ extensions }) => {
      const [repeated] = repeatedOids(extensions);
      if (repeated !== undefined) return `extension ${repeated} occurs twice`;
      const unknown = extensions.find(({ oid, critical }) => critical && !known.has(oid));
      return unknown === undefined ? undefined : `extension ${unknown.oid} is critical, and verifiers need not know it`;
    },
  },
  { id: "CRL-23", citation: "X.690 10 and 11", appliesTo: "all", check: ({ frame }) => strictDerFault(frame) },
];

/** Rules that are about more than one CRL's bytes, and what keeps them. */
export const crlRulesKeptElsewhere: Readonly<Record<string, string>> = {
  "CRL-06": "lintCrl counts the different serial numbers",
  "CRL-12": "ca/revocation/crl-content.ts lists what ended since the CRL before",
  "CRL-15": "ca/revocation/crl-content.ts", "CRL-16": "ca/http/status.ts", "CRL-17": "rows of the revocations table",
  "CRL-18": "the commit of a CRL is a compare-and-swap on the number before", "CRL-19": "the same: one of two replicas wins",
};

/**
 * Judges the bytes of a CRL that is about to be signed; many entries in small steps.
 * @returns the same bytes, fit for signing
 * @throws {LintRefusal} lint_failed, with every rule that is broken
 */
export async function lintCrl(tbs: Uint8Array, meant: MeantCrl): Promise<Linted<"crl">> {
  const failures = await crlFailures(tbs, meant);
  if (failures.length > 0) throw new LintRefusal("crl", meant.scope.only, failures);
  return tbs as Linted<"crl">;
}

/** Every rule that the bytes break; of the entries those that the first bad one breaks. */
export async function crlFailures(tbs: Uint8Array, meant: MeantCrl): Promise<readonly LintFailure[]> {
  const context: CrlContext = { kind: meant.scope.only, meant };
  let view: CrlView;
  try {
    view = viewCrl(tbs);
  } catch (error) {
    return [{ id: "CRL-23", citation: "X.690 10 and 11", detail: `it is no TBSCertList: ${(error as Error).message}` }];
  }
  const { count, different, failures } = await judgeEntries(view.revoked, context);
  const found = [...failuresOf(crlRules, view, context), ...failures];
  if (failures.length > 0) return found;
  if (different !== count) found.push({ id: "CRL-06", citation: "RFC 5280 5.1.2.6", detail: "a serial number occurs twice" });
  if (count !== meant.count) found.push({ id: "CRL-20", citation: "what was to be listed", detail: `it has ${count} entries and ${meant.count} were meant` });
  return found;
}

/** Ids of every rule there is. */
export const crlRuleIds: readonly string[] = [...crlRules, ...crlEntryRules].map(({ id }) => id);

function viewCrl(bytes: Uint8Array): CrlView {
  const tbs = new DerReader(readDer(bytes, tag.sequence));
  const version = tbs.optional(tag.integer);
  const signatureAlgorithm = encodedOf(tbs.next(tag.sequence));
  const issuer = encodedOf(tbs.next(tag.sequence));
  const thisUpdate = tbs.next();
  const hasNext = tbs.peekTag() === tag.utcTime || tbs.peekTag() === tag.generalizedTime;
  const nextUpdate = hasNext ? tbs.next() : undefined;
  const revoked = tbs.optional(tag.sequence);
  const explicit = tbs.optional(contextConstructed(0));
  tbs.done();
  return {
    version: version && readSmallInteger(version), signatureAlgorithm, issuer, thisUpdate, nextUpdate, revoked,
    extensions: explicit === undefined ? [] : viewExtensions(new DerReader(explicit).next(tag.sequence)),
    frame: explicit === undefined ? issuer : encodedOf(explicit),
  };
}

function timeTag(timeMs: number): number {
  return timeMs < year2050Ms ? tag.utcTime : tag.generalizedTime;
}

/** Those that have rules of their own here. */
const known: ReadonlySet<string> = new Set(Object.values(extensionOid));
const year2050Ms = Date.UTC(2050, 0, 1);
