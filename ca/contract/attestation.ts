/** Who is asking, and the proof of it. */
export type Attestation =
  /** `proof`, a renewal proof by the key of the last certificate this token gave, makes a redeemed token usable again. */
  | { readonly type: "join-token"; readonly token: string; readonly proof?: string }
  /** A JWS over the CSR by the key of a certificate that is still valid (`ca/pki/renewal-proof.ts`). */
  | { readonly type: "svid"; readonly proof: string }
  /** Sent with `Authorization: Bearer`, an API token that may issue this ID. IP addresses are an admin's to give, and the profile's. */
  | { readonly type: "operator"; readonly spiffeId: string; readonly dnsNames?: readonly string[]; readonly ipAddresses?: readonly string[] }
  /** A projected service-account token. `attestor` names one of those that this CA has of the type; needed where there are several. */
  | { readonly type: "kubernetes"; readonly attestor?: string; readonly token: string }
  /** An ID token, for this CA's audience. */
  | { readonly type: "oidc"; readonly attestor?: string; readonly token: string }
  /** A proof for the purpose `attestation` by the key of another PKI's certificate, bound to the CSR. */
  | { readonly type: "x509"; readonly attestor?: string; readonly proof: string }
  /** A signature over a `GetCallerIdentity` request that names this CA and the CSR (`ca/pki/aws-iam-request.ts`). */
  | ({ readonly type: "aws-iam"; readonly attestor?: string } & AwsIamSignature);

export interface AwsIamSignature {
  readonly region: string;
  /** `x-amz-date`. */
  readonly date: string;
  /** AWS Signature Version 4. */
  readonly authorization: string;
  readonly sessionToken?: string;
}

/**
 * How a certificate's holder proved its identity; `system` is the CA's own API certificate, which nobody can ask for, and `issuer` one
 * that an API caller had signed for another CA (`POST /v1/issuers`).
 */
export type AttestationMethod = Attestation["type"] | "acme" | "system" | "issuer";
