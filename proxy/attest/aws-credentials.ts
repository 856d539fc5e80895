import type { AwsCredentials } from "../../ca/pki/aws-signature.ts";
import type { AwsEnvironment } from "../config/platform.ts";
import { agentUrl, askAws, instanceHosts } from "./aws-ask.ts";
import { webIdentityCredentials, type StsPlace } from "./aws-web-identity.ts";
import { EvidenceError } from "./error.ts";
import { readEvidence } from "./token-file.ts";

/**
 * The credentials that AWS gives this workload, in the order of its SDKs: of the environment (Lambda), for a web identity (EKS, by the service
 * account's role), of the container (ECS, EKS Pod Identity), or of the instance (EC2, IMDSv2 only).
 * @param containerHost  where ECS's agent is, for a relative URI
 * @throws {EvidenceError}
 * @source AWS SDKs and Tools Reference Guide, "Standardized credential providers"
 */
export async function awsCredentials(env: AwsEnvironment, sts: StsPlace, containerHost: string = ecsAgent): Promise<AwsCredentials> {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = env;
  if (accessKeyId && secretAccessKey) return { accessKeyId, secretAccessKey, sessionToken: sessionToken || undefined };
  const ofRole = await webIdentityCredentials(env, sts);
  if (ofRole !== undefined) return ofRole;
  const container = containerUrl(env, containerHost);
  if (container !== undefined) return containerCredentials(container, env);
  return instanceCredentials(agentUrl("AWS_EC2_METADATA_SERVICE_ENDPOINT", env.AWS_EC2_METADATA_SERVICE_ENDPOINT || "http://169.254.169.254", instanceHosts));
}

function containerUrl({ AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: relative, AWS_CONTAINER_CREDENTIALS_FULL_URI: full }: AwsEnvironment, host: string): URL | undefined {
  if (!relative) return full ? agentUrl("AWS_CONTAINER_CREDENTIALS_FULL_URI", full) : undefined;
  // As a path behind the host: "//evil.example", resolved against it, would be another one.
  if (!/^\/[\x21-\x7e]*$/.test(relative) || !URL.canParse(`${host}${relative}`)) throw new EvidenceError("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path");
  return new URL(`${host}${relative}`);
}

async function containerCredentials(url: URL, { AWS_CONTAINER_AUTHORIZATION_TOKEN: token, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: tokenFile }: AwsEnvironment): Promise<AwsCredentials> {
  const authorization = (tokenFile ? await readEvidence(tokenFile) : token)?.trim();
  if (authorization && !/^[\x21-\x7e ]+$/.test(authorization)) throw new EvidenceError("the container's authorization token is not one line of text");
  return readCredentials(await ask(url, "GET", authorization ? { authorization } : {}), url);
}

async function instanceCredentials(endpoint: URL): Promise<AwsCredentials> {
  const session = await ask(new URL("/latest/api/token", endpoint), "PUT", { "x-aws-ec2-metadata-token-ttl-seconds": "60" });
  if (!/^[\x21-\x7e]+$/.test(session)) throw new EvidenceError(`${endpoint.host} gives no credentials: no session, but something else`);
  const headers = { "x-aws-ec2-metadata-token": session };
  const folder = new URL("/latest/meta-data/iam/security-credentials/", endpoint);
  const [role = ""] = (await ask(folder, "GET", headers)).split("\n");
  if (!/^[\w+=,.@-]{1,64}$/.test(role)) throw new EvidenceError("the instance has no role");
  const url = new URL(role, folder);
  return readCredentials(await ask(url, "GET", headers), url);
}

function readCredentials(text: string, { host }: URL): AwsCredentials {
  try {
    const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: sessionToken } = JSON.parse(text) as Record<string, unknown>;
    if (typeof accessKeyId === "string" && typeof secretAccessKey === "string" && typeof sessionToken === "string") return { accessKeyId, secretAccessKey, sessionToken };
  } catch {
    // Without the cause: V8 quotes what it could not parse, and that may be a key.
  }
  throw new EvidenceError(`what ${host} answered are no credentials`);
}

async function ask(url: URL, method: "GET" | "PUT", headers: Readonly<Record<string, string>>): Promise<string> {
  const { status, text } = await askAws(url, { method, headers });
  if (status !== 200) throw new EvidenceError(`${url.host} gives no credentials: it answered ${status}`);
  return text;
}

/** @source Amazon ECS Developer Guide, "IAM roles for tasks" */
const ecsAgent = "http://169.254.170.2";
