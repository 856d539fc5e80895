import { hash } from "node:crypto";
import { LintRefusal, type Linted } from "../lint/rule.ts";
import { context, contextConstructed, DerReader, encodedOf, readDer, readOctetString, readTime, tag } from "../pki/der.ts";
import { keyBitsOf } from "../pki/key.ts";
import type { OcspResponseFields } from "../pki/ocsp-response.ts";

/**
 * Reads the bytes that will be signed back and holds them against the rules and what was meant.
 * @throws {LintRefusal} lint_failed, with the rule: a bug of ours, and nothing was signed
 */
export function lintOcspResponse(data: Uint8Array, { responderSpki, producedAtMs, responses, nonce }: OcspResponseFields): Linted<"ocsp-response"> {
  const reader = new DerReader(readDer(data, tag.sequence));
  const keyHash = readOctetString(new DerReader(reader.next(contextConstructed(2))).next());
  expect("OCSP-07", Buffer.compare(keyHash, hash("sha1", keyBitsOf(responderSpki), "buffer")) === 0);
  expect("OCSP-06", readTime(reader.next(tag.generalizedTime)) === producedAtMs);
  const singles = new DerReader(reader.next(tag.sequence));
  for (const meant of responses) {
    const single = new DerReader(singles.next(tag.sequence));
    expect("OCSP-08", Buffer.compare(encodedOf(single.next(tag.sequence)), meant.certId) === 0);
    expect("OCSP-05", single.next().tag === statusTags[meant.status.kind]);
    const thisUpdateMs = readTime(single.next(tag.generalizedTime));
    const nextUpdateMs = readTime(new DerReader(single.next(contextConstructed(0))).next(tag.generalizedTime));
    single.done();
    expect("OCSP-06", thisUpdateMs === meant.thisUpdateMs && nextUpdateMs === meant.nextUpdateMs && thisUpdateMs <= producedAtMs && producedAtMs < nextUpdateMs);
    expect("OCSP-05", meant.status.kind !== "revoked" || meant.status.revokedAtMs < producedAtMs + 1000);
  }
  singles.done();
  expect("OCSP-09", (reader.optional(contextConstructed(1)) !== undefined) === (nonce !== undefined));
  reader.done();
  return data as Linted<"ocsp-response">;
}

function expect(id: string, holds: boolean): void {
  if (!holds) throw new LintRefusal("ocsp-response", "basic", [{ id, citation: "RFC 6960 4.2", detail: "it is not as it was meant" }]);
}

const statusTags = { good: context(0), revoked: contextConstructed(1), unknown: context(2) } as const;
