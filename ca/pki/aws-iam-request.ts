import { PkiError } from "./errors.ts";
import { sha256 } from "./sha256.ts";

/** A signature over a `GetCallerIdentity` request, and what of that request its reader cannot know. */
export interface AwsIamClaim {
  readonly region: string;
  /** `x-amz-date`, e.g. 20261121T120000Z. */
  readonly date: string;
  /** The Authorization header, AWS Signature Version 4. */
  readonly authorization: string;
  /** `x-amz-security-token`, of temporary credentials. */
  readonly sessionToken?: string;
}

export interface AwsIamContext {
  /** https URL in place of the region's own. */
  readonly endpoint: string | undefined;
  /** Of the CA that it is for. */
  readonly trustDomain: string;
  readonly csrDer: Uint8Array;
}

export interface AwsIamRequest {
  readonly url: string;
  /** All but the length of the body. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * The request that a claim's signature is over. Its maker signs `unsignedAwsIamRequest` of the same context.
 * @throws {PkiError} aws_iam_claim_malformed, also when a header that has to be signed is not
 * @source AWS IAM User Guide, "Create a signed AWS API request"
 */
export function awsIamRequest(claim: AwsIamClaim, context: AwsIamContext): AwsIamRequest {
  const { region, date, authorization, sessionToken } = claim;
  if (!/^\d{8}T\d{6}Z$/.test(date)) throw malformed("its date is not of the form 20261121T120000Z");
  if (sessionToken !== undefined && !/^[\x21-\x7e]{1,8192}$/.test(sessionToken)) throw malformed("its session token is not one line of text");
  const [, scopeDate, scopeRegion, signedHeaders = ""] =
    /^AWS4-HMAC-SHA256 Credential=[A-Z0-9]{16,128}\/(\d{8})\/([a-z0-9-]{1,32})\/sts\/aws4_request, ?SignedHeaders=([a-z0-9;-]{1,256}), ?Signature=[0-9a-f]{64}$/.exec(authorization) ?? [];
  if (scopeRegion === undefined) throw malformed("its Authorization is no AWS Signature Version 4 for sts");
  if (scopeRegion !== region || scopeDate !== date.slice(0, 8)) throw malformed("its credential is scoped to another day or region than it says");
  const { url, headers, body } = unsignedAwsIamRequest({ region, date, sessionToken }, context);
  const unsigned = Object.keys(headers).find((name) => !signedHeaders.split(";").includes(name));
  if (unsigned !== undefined) throw malformed(`the header ${unsigned} is not signed`);
  return { url, headers: { ...headers, authorization, accept: "application/json" }, body };
}

/** What is to be signed, every header of it. */
export function unsignedAwsIamRequest({ region, date, sessionToken }: { readonly region: string; readonly date: string; readonly sessionToken?: string | undefined }, { endpoint, trustDomain, csrDer }: AwsIamContext): AwsIamRequest {
  const url = endpoint ?? stsUrl(region);
  return {
    url: new URL("/", url).href,
    headers: {
      "content-type": "application/x-www-form-urlencoded", [awsIamHeaders.csr]: sha256(csrDer).toString("hex"), [awsIamHeaders.trustDomain]: trustDomain,
      host: new URL(url).host, "x-amz-date": date, ...(sessionToken !== undefined && { "x-amz-security-token": sessionToken }),
    },
    body: stsBody,
  };
}

/** AWS's Security Token Service in a region. */
export function stsUrl(region: string): string {
  return `https://sts.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}/`;
}

/** Asks who asks. */
export const stsBody = "Action=GetCallerIdentity&Version=2011-06-15";

/** AWS signs what it is given to sign, and ignores these. */
const awsIamHeaders = { trustDomain: "countersign-trust-domain", csr: "countersign-csr" } as const;

function malformed(detail: string): PkiError {
  return new PkiError("aws_iam_claim_malformed", `not a signed GetCallerIdentity request: ${detail}`);
}
