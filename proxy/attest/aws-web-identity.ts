import { stsUrl } from "../../ca/pki/aws-iam-request.ts";
import type { AwsCredentials } from "../../ca/pki/aws-signature.ts";
import type { AwsEnvironment } from "../config/platform.ts";
import { agentUrl, askAws } from "./aws-ask.ts";
import { EvidenceError } from "./error.ts";
import { readToken } from "./token-file.ts";

/** Whose STS the CA asks. */
export interface StsPlace {
  readonly region: string;
  /** In place of the region's own. */
  readonly endpoint: string | undefined;
}

/**
 * Credentials of a role for a pod's own token: IAM roles for service accounts (EKS), or anything else that AWS takes for an OIDC provider.
 * @returns undefined: the environment names no role and token
 * @throws {EvidenceError}
 * @source AWS STS API Reference, AssumeRoleWithWebIdentity; AWS SDKs and Tools Reference Guide, "Assume role with web identity"
 */
export async function webIdentityCredentials(env: AwsEnvironment, { region, endpoint }: StsPlace): Promise<AwsCredentials | undefined> {
  const { AWS_WEB_IDENTITY_TOKEN_FILE: tokenFile, AWS_ROLE_ARN: role, AWS_ROLE_SESSION_NAME: session = "" } = env;
  if (!tokenFile || !role) return undefined;
  const url = stsOf(env, { region, endpoint });
  const body = new URLSearchParams({
    Action: "AssumeRoleWithWebIdentity", Version: "2011-06-15", RoleArn: role, RoleSessionName: session === "" ? defaultSession : session, WebIdentityToken: await readToken(tokenFile),
  });
  const { status, text } = await askAws(url, { method: "POST", headers: { "content-type": "application/x-www-form-urlencoded" }, body: body.toString() });
  // AWS's code alone: its sentence may quote what was sent.
  if (status !== 200) throw new EvidenceError(`${url.host} does not give this pod the role ${role}: it answered ${status} (${element(text, "Code") ?? "without a reason"}); does the role trust the cluster's tokens for this service account?`);
  const [accessKeyId, secretAccessKey, sessionToken] = ["AccessKeyId", "SecretAccessKey", "SessionToken"].map((name) => element(text, name));
  if (accessKeyId === undefined || secretAccessKey === undefined || sessionToken === undefined) throw new EvidenceError(`what ${url.host} answered are no credentials`);
  return { accessKeyId, secretAccessKey, sessionToken };
}

/** Where the environment says, as for any SDK, or else where the CA asks. */
function stsOf({ AWS_ENDPOINT_URL_STS: own }: AwsEnvironment, { region, endpoint }: StsPlace): URL {
  if (own) return agentUrl("AWS_ENDPOINT_URL_STS", own);
  return endpoint === undefined ? agentUrl("awsRegion", stsUrl(region)) : agentUrl("awsEndpoint", endpoint);
}

/** Of an answer in XML, whose values here have no character that XML would escape. */
function element(xml: string, name: string): string | undefined {
  return new RegExp(`<${name}>([\\w+/=.-]{1,8192})</${name}>`).exec(xml)?.[1];
}

/** It is part of the ARN by which the CA knows the workload: the fact `session`. */
const defaultSession = "countersign-proxy";
