import { decodeFields, decodeText, encodeField, encodeVarint } from "../pki/protobuf.ts";

/** What a proxy of Linkerd's asks. */
export interface CertifyRequest {
  /** Its name as Linkerd has it: SA.NS.serviceaccount.identity.CONTROL-NS.DOMAIN */
  readonly identity: string;
  /** Projected service-account token. */
  readonly token: Uint8Array;
  /** PKCS #10, DER. */
  readonly csr: Uint8Array;
}

export interface CertifyResponse {
  /** DER, as are the others. */
  readonly leaf: Uint8Array;
  /** Issuer first, without the root. */
  readonly intermediates: readonly Uint8Array[];
  readonly validUntilMs: number;
}

/**
 * A field that is not there is empty; of one that is there twice the last counts.
 * @throws {ProtobufError}
 * @source linkerd2-proxy-api, proto/identity.proto
 */
export function decodeCertifyRequest(message: Uint8Array): CertifyRequest {
  const fields = decodeFields(message);
  const last = (number: number): Uint8Array => fields.get(number)?.at(-1) ?? new Uint8Array();
  return { identity: decodeText(last(1)), token: last(2), csr: last(3) };
}

/** @source linkerd2-proxy-api, proto/identity.proto; google/protobuf/timestamp.proto */
export function encodeCertifyResponse({ leaf, intermediates, validUntilMs }: CertifyResponse): Uint8Array {
  const timestamp = encodeVarint(1, Math.floor(validUntilMs / 1000));
  return Buffer.concat([encodeField(1, leaf), ...intermediates.map((der) => encodeField(2, der)), encodeField(3, timestamp)]);
}
