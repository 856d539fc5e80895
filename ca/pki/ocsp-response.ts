import { hash } from "node:crypto";
import { encodeBitString, encodeDer, encodeExplicit, encodeGeneralizedTime, encodeOctetString, encodeOid, encodeSequence } from "./der-encoding.ts";
import { context, contextConstructed, tag } from "./der-tag.ts";
import { encodeExtension } from "./extension-encoding.ts";
import { encodeSignatureAlgorithm, keyBitsOf, type SignatureAlgorithm } from "./key.ts";
import { extensionOid, ocspBasicOid } from "./oid.ts";
import { reasonCodes, type CrlReason } from "./revocation-reason.ts";

/** What an OCSP response says, but for its signature. */
export interface OcspResponseFields {
  /** SubjectPublicKeyInfo of whoever signs it. */
  readonly responderSpki: Uint8Array;
  readonly producedAtMs: number;
  readonly responses: readonly SingleResponse[];
  readonly nonce?: Uint8Array | undefined;
}

export interface SingleResponse {
  /** CertID, DER, as it was asked. */
  readonly certId: Uint8Array;
  readonly status: OcspStatus;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
}

export type OcspStatus =
  | { readonly kind: "good" }
  | { readonly kind: "revoked"; readonly revokedAtMs: number; readonly reason: CrlReason }
  | { readonly kind: "unknown" };

/** Answers without a signature. @source RFC 6960 section 4.2.1 */
export const ocspErrors = { malformedRequest: 1, internalError: 2, tryLater: 3, sigRequired: 5, unauthorized: 6 } as const;

/**
 * Writes a ResponseData, the part that is signed; its responder is named by key.
 * @source RFC 6960 section 4.2.1; 4.2.1 byKey: SHA-1 of the key bits
 */
export function encodeOcspResponseData({ responderSpki, producedAtMs, responses, nonce }: OcspResponseFields): Uint8Array {
  const keyHash = hash("sha1", keyBitsOf(responderSpki), "buffer");
  return encodeSequence(
    encodeExplicit(2, encodeOctetString(keyHash)),
    encodeGeneralizedTime(producedAtMs),
    encodeSequence(...responses.map(encodeSingleResponse)),
    ...(nonce === undefined ? [] : [encodeExplicit(1, encodeSequence(encodeExtension(encodeOid(extensionOid.ocspNonce), false, encodeOctetString(nonce))))]),
  );
}

/** Puts the signature and the signer's certificate beside what was signed. */
export function encodeOcspResponse(data: Uint8Array, algorithm: SignatureAlgorithm, signature: Uint8Array, signerCertificate: Uint8Array): Uint8Array {
  const basic = encodeSequence(
    data, encodeSignatureAlgorithm(algorithm), encodeBitString(signature), encodeExplicit(0, encodeSequence(signerCertificate)),
  );
  const bytes = encodeSequence(encodeOid(ocspBasicOid), encodeOctetString(basic));
  return encodeSequence(encodeDer(tag.enumerated, Uint8Array.of(0)), encodeExplicit(0, bytes));
}

/** An answer that is an error. */
export function encodeOcspError(error: keyof typeof ocspErrors): Uint8Array {
  return encodeSequence(encodeDer(tag.enumerated, Uint8Array.of(ocspErrors[error])));
}

function encodeSingleResponse({ certId, status, thisUpdateMs, nextUpdateMs }: SingleResponse): Uint8Array {
  return encodeSequence(certId, encodeStatus(status), encodeGeneralizedTime(thisUpdateMs), encodeExplicit(0, encodeGeneralizedTime(nextUpdateMs)));
}

function encodeStatus(status: OcspStatus): Uint8Array {
  if (status.kind === "good") return encodeDer(context(0));
  if (status.kind === "unknown") return encodeDer(context(2));
  const { revokedAtMs, reason } = status;
  const code = reasonCodes[reason];
  // Unspecified is said by saying nothing, as in a CRL.
  const reasons = code === reasonCodes.unspecified ? [] : [encodeExplicit(0, encodeDer(tag.enumerated, Uint8Array.of(code)))];
  return encodeDer(contextConstructed(1), encodeGeneralizedTime(revokedAtMs), ...reasons);
}
