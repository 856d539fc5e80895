import { createHmac } from "node:crypto";
import { sha256 } from "./sha256.ts";

/** Of a role or a user. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary ones. */
  readonly sessionToken?: string | undefined;
}

export interface AwsRequest {
  readonly method: string;
  /** As it goes over the wire, encoded once. */
  readonly path: string;
  /** Names and values, encoded, `name=` where there is no value; in any order. */
  readonly query?: readonly string[];
  /** In lower case; all of them are signed: `host` and `x-amz-date` have to be there. */
  readonly headers: Readonly<Record<string, string>>;
  /** SHA-256 of the body, hex. */
  readonly bodyHash: string;
}

export interface AwsScope {
  readonly region: string;
  /** `sts`, `s3`. */
  readonly service: string;
  /** As in `x-amz-date`. */
  readonly date: string;
}

/**
 * The Authorization header of a request, AWS Signature Version 4. Pure.
 * @source AWS IAM User Guide, "Create a signed AWS API request"
 */
export function awsAuthorization({ method, path, query = [], headers, bodyHash }: AwsRequest, { region, service, date }: AwsScope, { accessKeyId, secretAccessKey }: AwsCredentials): string {
  const names = Object.keys(headers).sort();
  const canonical = [method, path, [...query].sort().join("&"), ...names.map((name) => `${name}:${headers[name]}`), "", names.join(";"), bodyHash].join("\n");
  const scope = [date.slice(0, 8), region, service, "aws4_request"];
  const key = scope.reduce<string | Buffer>((previous, part) => hmac(previous, part), `AWS4${secretAccessKey}`);
  const signature = hmac(key, ["AWS4-HMAC-SHA256", date, scope.join("/"), sha256(canonical).toString("hex")].join("\n")).toString("hex");
  return `AWS4-HMAC-SHA256 Credential=${[accessKeyId, ...scope].join("/")}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
}

/** `x-amz-date`, e.g. 20261121T120000Z. */
export function awsDate(nowMs: number): string {
  return new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d{3}/g, "");
}

function hmac(key: string | Buffer, data: string): Buffer {
  return createHmac("sha256", key).update(data).digest();
}
