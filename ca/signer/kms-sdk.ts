import { DecryptCommand, GenerateDataKeyCommand, GetPublicKeyCommand, KMSClient, SignCommand } from "@aws-sdk/client-kms";
import type { KmsApi, KmsOptions } from "./kms.ts";

/** Asks KMS by the AWS SDK, which finds credentials, region and endpoint in every place that AWS has for them. */
export function kmsBySdk({ endpoint, region }: Pick<KmsOptions, "endpoint" | "region">, requestTimeoutMs: number): KmsApi {
  const client = new KMSClient({
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
    // Retried by who asks, who knows which failures pass by themselves.
    maxAttempts: 1,
    requestHandler: { connectionTimeout: connectTimeoutMs, requestTimeout: requestTimeoutMs, throwOnRequestTimeout: true },
  });
  return {
    async call(operation, input, abortSignal) {
      return client.send(new (commands[operation] as typeof DecryptCommand)(input as never), { abortSignal });
    },
    close: () => client.destroy(),
  };
}

/** The SDK's chain of providers belongs to each of its clients; this one calls nobody. */
export { KMSClient };

/** By name, so that a bundle has no more of it. */
const commands = { Decrypt: DecryptCommand, GenerateDataKey: GenerateDataKeyCommand, GetPublicKey: GetPublicKeyCommand, Sign: SignCommand } as const;
const connectTimeoutMs = 5000;
