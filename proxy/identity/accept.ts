import type { KeyObject } from "node:crypto";
import { PkiError } from "../../ca/pki/errors.ts";
import { decodePem } from "../../ca/pki/pem.ts";
import { verifySvid, type VerifiedSvid } from "../../ca/pki/svid.ts";
import type { IssuedAnswer } from "../ca-answer.ts";
import { CaError } from "../ca-error.ts";
import { bundleTexts, mergeBundles, type HeldBundles, type MergedBundles } from "./bundles.ts";
import type { Identity } from "./source.ts";

/** An answer and all it is held against. */
export interface AcceptInput {
  readonly answer: IssuedAnswer;
  /** The pair the certificate was asked for. */
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly trustDomain: string;
  /** What is held so far; empty at the first issuance. */
  readonly held: HeldBundles;
  /** Pinned by the bootstrap string or the settings; looked at while no own bundle is held. */
  readonly rootFingerprints: readonly string[];
  /** The identity had so far: a renewal does not make us somebody else. */
  readonly last: Identity | undefined;
  readonly nowMs: number;
}

/** What an accepted answer gives. */
export interface Accepted {
  readonly identity: Identity;
  readonly bundles: MergedBundles;
}

/**
 * Believes an answer to a certificate request only if everything fits: our key, our trust domain, our old name, and a chain
 * that our peers will accept.
 * @throws {CaError} ca_answer_invalid
 */
export function acceptIssued(input: AcceptInput): Accepted {
  const { answer, trustDomain, held, rootFingerprints, last } = input;
  // Who is no longer federated with is told by the feed, not by being left out here.
  const bundles = mergeBundles(trustDomain, held, { ...bundleTexts(held), ...answer.bundles });
  const own = bundles.held.get(trustDomain)?.bundle;
  if (own === undefined) throw refusedAnswer(`it has no usable bundle of our trust domain ${trustDomain}`);
  if (!held.has(trustDomain) && !own.x509Authorities.some(({ fingerprint }) => rootFingerprints.includes(fingerprint))) {
    throw refusedAnswer("its bundle lacks the root that the bootstrap string or the settings name");
  }
  const { svid, chain } = verify(input, bundles.held);
  if (Buffer.compare(svid.leaf.spki, input.publicKey.export({ format: "der", type: "spki" })) !== 0) {
    throw refusedAnswer("its certificate is for another key than ours");
  }
  if (svid.id.trustDomain !== trustDomain) {
    throw refusedAnswer(`its certificate is for ${svid.id.uri}, not of our trust domain ${trustDomain}`);
  }
  if (last !== undefined && last.id.uri !== svid.id.uri) {
    throw refusedAnswer(`its certificate is for ${svid.id.uri}, and we are ${last.id.uri}`);
  }
  return { identity: identityOf(svid, chain, answer.chain, input.privateKey), bundles };
}

/** The identity that a verified chain and the key of its leaf make. */
export function identityOf(svid: VerifiedSvid, chain: readonly Uint8Array[], chainPem: string, privateKey: KeyObject): Identity {
  const { notBeforeMs } = svid.leaf;
  // An issuer that ends before its leaf takes it along: what counts is how long peers accept it.
  return Object.freeze({ id: svid.id, chain, chainPem, privateKey, serialNumber: svid.serialNumber, notBeforeMs, notAfterMs: svid.validUntilMs });
}

function verify({ answer, nowMs }: AcceptInput, held: HeldBundles): { readonly svid: VerifiedSvid; readonly chain: readonly Uint8Array[] } {
  try {
    const chain = decodePem(answer.chain, "CERTIFICATE");
    const bundles = new Map([...held].map(([trustDomain, { bundle }]) => [trustDomain, bundle]));
    verifySvid({ chain, bundles, nowMs, purpose: "server" });
    return { svid: verifySvid({ chain, bundles, nowMs, purpose: "client" }), chain };
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw refusedAnswer(`its certificate does not verify: ${cause.message}${skewHint(cause, answer.clockAheadMs)}`, cause);
  }
}

function skewHint({ code }: PkiError, clockAheadMs: number | undefined): string {
  if (code !== "path_not_yet_valid" && code !== "path_expired") return "";
  if (clockAheadMs === undefined || Math.abs(clockAheadMs) < notableSkewMs) {
    return "; compare this machine's clock with the CA's";
  }
  const direction = clockAheadMs > 0 ? "behind" : "ahead of";
  return `; this machine's clock is ${Math.round(Math.abs(clockAheadMs) / 1000)} s ${direction} the CA's: set it right (NTP)`;
}

function refusedAnswer(detail: string, cause?: unknown): CaError {
  return new CaError("ca_answer_invalid", `the CA's answer is refused: ${detail}`, { cause });
}

/** The Date header has whole seconds, and an answer takes its time. */
const notableSkewMs = 3000;
