import type { AwsIamSignature } from "../../ca/contract/attestation.ts";
import { unsignedAwsIamRequest } from "../../ca/pki/aws-iam-request.ts";
import { awsAuthorization, awsDate, type AwsCredentials } from "../../ca/pki/aws-signature.ts";
import { sha256 } from "../../ca/pki/sha256.ts";

export interface AwsSigning {
  readonly credentials: AwsCredentials;
  readonly region: string;
  /** https URL in place of the region's own; as the CA has it. */
  readonly endpoint: string | undefined;
  readonly trustDomain: string;
  readonly csrDer: Uint8Array;
  readonly nowMs: number;
}

/** Signs a `GetCallerIdentity` request that is for this CA and this CSR; it is never sent by us. */
export function signCallerIdentity({ credentials, region, endpoint, trustDomain, csrDer, nowMs }: AwsSigning): AwsIamSignature {
  const { sessionToken } = credentials;
  const date = awsDate(nowMs);
  const { url, headers, body } = unsignedAwsIamRequest({ region, date, sessionToken }, { endpoint, trustDomain, csrDer });
  const authorization = awsAuthorization({ method: "POST", path: new URL(url).pathname, headers, bodyHash: sha256(body).toString("hex") }, { region, service: "sts", date }, credentials);
  return { region, date, authorization, ...(sessionToken !== undefined && { sessionToken }) };
}
