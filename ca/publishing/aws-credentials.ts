import { loadOnce } from "../load-once.ts";
import type { AwsCredentials } from "../pki/aws-signature.ts";

/** What of the environment says who this process is to AWS, and where. */
export interface AwsEnvironment {
  readonly AWS_ACCESS_KEY_ID?: string | undefined;
  readonly AWS_SECRET_ACCESS_KEY?: string | undefined;
  readonly AWS_SESSION_TOKEN?: string | undefined;
  readonly AWS_REGION?: string | undefined;
  readonly AWS_DEFAULT_REGION?: string | undefined;
}

/** Gives credentials that are good now. */
export type AwsCredentialSource = () => Promise<AwsCredentials>;

/**
 * Those of the environment, as on Lambda. Without them what the AWS SDK finds: a container's (ECS, EKS Pod Identity), a web identity's
 * (EKS), the instance's or a profile's; it is loaded only then, and renews them before they end.
 */
export function awsCredentialSource({ AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken }: AwsEnvironment): AwsCredentialSource {
  if (accessKeyId && secretAccessKey) return async () => ({ accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) });
  const found = loadOnce(sdkChain);
  return async () => (await found())();
}

/** The SDK's chain of providers belongs to each of its clients; this one calls nobody. */
async function sdkChain(): Promise<AwsCredentialSource> {
  const { KMSClient } = await import("../signer/kms-sdk.ts");
  return new KMSClient({}).config.credentials;
}
