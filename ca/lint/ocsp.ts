import { hash } from "node:crypto";
import { context as contextTag, contextConstructed, tag } from "../pki/der-tag.ts";
import { DerReader, encodedOf, readDer, readOctetString, readTime, type DerElement } from "../pki/der.ts";
import { keyBitsOf } from "../pki/key.ts";
import type { OcspResponseFields, SingleResponse } from "../pki/ocsp-response.ts";
import { extensionOid } from "../pki/oid.ts";
import { childrenOf } from "./extension-values.ts";
import { failuresOf, LintRefusal, type Linted, type LintFailure, type LintRule } from "./rule.ts";
import { strictDerFault } from "./strict-der.ts";
import { extensionOf, viewExtensions, type ExtensionView } from "./tbs-view.ts";

/** What the response was meant to say. */
export interface OcspContext {
  readonly kind: "basic";
  readonly meant: OcspResponseFields;
}

/** A ResponseData taken apart. */
interface OcspView {
  readonly bytes: Uint8Array;
  readonly responderId: DerElement;
  readonly producedAt: DerElement;
  readonly singles: readonly SingleView[];
  readonly extensions: readonly ExtensionView[];
}

interface SingleView {
  readonly certId: Uint8Array;
  readonly status: DerElement;
  readonly thisUpdate: DerElement;
  readonly nextUpdate: DerElement | undefined;
}

/** Rules of OCSP that are about the bytes of a response. */
export const ocspRules: readonly LintRule<OcspView, OcspContext>[] = [
  {
    id: "OCSP-05", citation: "RFC 6960 2.2, 4.2.1", appliesTo: "all",
    check: (view, { meant }) => eachOf(view, meant, ({ status }, { status: wanted }) => {
      if (status.tag !== statusTags[wanted.kind]) return "a status is another one than meant";
      if (wanted.kind !== "revoked") return undefined;
      const [revokedAt] = childrenOf(status);
      return revokedAt !== undefined && readTime(revokedAt) <= readTime(view.producedAt) ? undefined : "a certificate was revoked after the response was made";
    }),
  },
  {
    id: "OCSP-06", citation: "RFC 6960 4.2.2.1, RFC 5019 2.2.4", appliesTo: "all",
    check: (view, { meant }) => {
      const producedAtMs = readTime(view.producedAt);
      if (view.producedAt.tag !== tag.generalizedTime || producedAtMs !== meant.producedAtMs) return "producedAt is not the GeneralizedTime that was meant";
      return eachOf(view, meant, ({ thisUpdate, nextUpdate }, wanted) => {
        if (nextUpdate === undefined) return "a response does not say when the next one comes";
        if (thisUpdate.tag !== tag.generalizedTime || nextUpdate.tag !== tag.generalizedTime) return "a date is no GeneralizedTime";
        const [thisMs, nextMs] = [readTime(thisUpdate), readTime(nextUpdate)];
        if (!(thisMs <= producedAtMs && producedAtMs < nextMs)) return "a response is not valid when it is made";
        return thisMs === wanted.thisUpdateMs && nextMs === wanted.nextUpdateMs ? undefined : "the dates are others than meant";
      });
    },
  },
  {
    id: "OCSP-07", citation: "RFC 6960 4.2.1, RFC 5019 2.2.2", appliesTo: "all",
    check: ({ responderId }, { meant }) => {
      if (responderId.tag !== contextConstructed(2)) return "the responder is not named by its key";
      const keyHash = readOctetString(new DerReader(responderId).next());
      return Buffer.compare(keyHash, hash("sha1", keyBitsOf(meant.responderSpki), "buffer")) === 0 ? undefined : "the responder is named by another key than the signer's";
    },
  },
  {
    id: "OCSP-08", citation: "RFC 6960 4.1.1, 2.3", appliesTo: "all",
    check: (view, { meant }) => {
      if (view.singles.length !== meant.responses.length) return `it answers for ${view.singles.length} certificates, and ${meant.responses.length} were asked for`;
      return eachOf(view, meant, ({ certId }, wanted) => (Buffer.compare(certId, wanted.certId) === 0 ? undefined : "it answers for another certificate than was asked for"));
    },
  },
  {
    id: "OCSP-09", citation: "RFC 9654 2.1", appliesTo: "all",
    check: (view, { meant: { nonce } }) => {
      const extension = extensionOf(view, extensionOid.ocspNonce);
      if (nonce === undefined || extension === undefined) return nonce === extension ? undefined : "the nonce is not echoed, or there was none";
      const echoed = readOctetString(readDer(extension.value));
      return !extension.critical && Buffer.compare(echoed, nonce) === 0 ? undefined : "the nonce is another one than asked with";
    },
  },
  { id: "OCSP-13", citation: "X.690 10 and 11", appliesTo: "all", check: ({ bytes }) => strictDerFault(bytes) },
];

/** Rules of the table that are not about these bytes, and what keeps them. */
export const ocspRulesKeptElsewhere: Readonly<Record<string, string>> = {
  "OCSP-01": "ca/http/status.ts", "OCSP-02": "ca/http/status.ts", "OCSP-03": "ca/authority/ocsp-signer.ts", "OCSP-04": "a rule of certificates",
  "OCSP-10": "ca/revocation/ocsp.ts", "OCSP-11": "ca/http/status.ts", "OCSP-12": "ca/pki/ocsp-request.ts bounds the request",
};

/**
 * Judges the bytes of an OCSP response that is about to be signed.
 * @returns the same bytes, fit for signing
 * @throws {LintRefusal} lint_failed, with every rule that is broken
 */
export function lintOcspResponse(data: Uint8Array, meant: OcspResponseFields): Linted<"ocsp-response"> {
  const failures = ocspFailures(data, meant);
  if (failures.length > 0) throw new LintRefusal("ocsp-response", "basic", failures);
  return data as Linted<"ocsp-response">;
}

/** Every rule that the bytes break. */
export function ocspFailures(data: Uint8Array, meant: OcspResponseFields): readonly LintFailure[] {
  try {
    const context: OcspContext = { kind: "basic", meant };
    return failuresOf(ocspRules, viewOcsp(data), context);
  } catch (error) {
    return [{ id: "OCSP-13", citation: "X.690 10 and 11", detail: `it is no ResponseData: ${(error as Error).message}` }];
  }
}

function eachOf({ singles }: OcspView, { responses }: OcspResponseFields, check: (single: SingleView, wanted: SingleResponse) => string | undefined): string | undefined {
  for (const [index, wanted] of responses.entries()) {
    const single = singles[index];
    const fault = single && check(single, wanted);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function viewOcsp(bytes: Uint8Array): OcspView {
  const reader = new DerReader(readDer(bytes, tag.sequence));
  const [responderId, producedAt] = [reader.next(), reader.next()];
  const singles = childrenOf(reader.next(tag.sequence)).map(viewSingle);
  const explicit = reader.optional(contextConstructed(1));
  reader.done();
  return { bytes, responderId, producedAt, singles, extensions: explicit === undefined ? [] : viewExtensions(new DerReader(explicit).next(tag.sequence)) };
}

function viewSingle(element: DerElement): SingleView {
  const reader = new DerReader(element);
  const certId = encodedOf(reader.next(tag.sequence));
  const [status, thisUpdate] = [reader.next(), reader.next()];
  const explicit = reader.optional(contextConstructed(0));
  reader.done();
  return { certId, status, thisUpdate, nextUpdate: explicit && new DerReader(explicit).next() };
}

const statusTags = { good: contextTag(0), revoked: contextConstructed(1), unknown: contextTag(2) } as const;
