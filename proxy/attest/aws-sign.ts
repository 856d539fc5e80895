import { createHmac } from "node:crypto";
import type { AwsIamSignature } from "../../ca/contract/attestation.ts";
import { unsignedAwsIamRequest } from "../../ca/pki/aws-iam-request.ts";
import { sha256 } from "../../ca/pki/sha256.ts";

/** Of a role or a user. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary ones. */
  readonly sessionToken?: string | undefined;
}

export interface AwsSigning {
  readonly credentials: AwsCredentials;
  readonly region: string;
  /** https URL in place of the region's own; as the CA has it. */
  readonly endpoint: string | undefined;
  readonly trustDomain: string;
  readonly csrDer: Uint8Array;
  readonly nowMs: number;
}

/**
 * Signs a `GetCallerIdentity` request that is for this CA and this CSR; it is never sent by us.
 * @source AWS IAM User Guide, "Create a signed AWS API request"
 */
export function signCallerIdentity({ credentials, region, endpoint, trustDomain, csrDer, nowMs }: AwsSigning): AwsIamSignature {
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  const date = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d{3}/g, "");
  const { url, headers, body } = unsignedAwsIamRequest({ region, date, sessionToken }, { endpoint, trustDomain, csrDer });
  const names = Object.keys(headers).sort();
  const canonical = ["POST", new URL(url).pathname, "", ...names.map((name) => `${name}:${headers[name]}`), "", names.join(";"), hex(body)].join("\n");
  const scope = [date.slice(0, 8), region, "sts", "aws4_request"];
  const key = scope.reduce<string | Buffer>((previous, part) => hmac(previous, part), `AWS4${secretAccessKey}`);
  const signature = hmac(key, ["AWS4-HMAC-SHA256", date, scope.join("/"), hex(canonical)].join("\n")).toString("hex");
  const authorization = `AWS4-HMAC-SHA256 Credential=${[accessKeyId, ...scope].join("/")}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  return { region, date, authorization, ...(sessionToken !== undefined && { sessionToken }) };
}

function hmac(key: string | Buffer, data: string): Buffer {
  return createHmac("sha256", key).update(data).digest();
}

function hex(data: string): string {
  return sha256(data).toString("hex");
}
