import type { KMSClient } from "@aws-sdk/client-kms";
import { SignerError } from "./errors.ts";
import { kmsLimits, retryKms, type KmsLimits } from "./kms-retry.ts";
import { describeSpki } from "../pki/key.ts";
import { fitKeys, outsideSigner, type OutsideAlgorithm, type OutsideSigner } from "./outside.ts";

/** What of AWS KMS is used. Every call is bounded in time, retried where that can help, and throws SignerError alone. */
export interface Kms {
  /** @throws {SignerError} key_unfit for a key that cannot sign, and what retryKms throws */
  publicKey(keyId: string): Promise<KmsPublicKey>;
  sign(keyId: string, algorithm: OutsideAlgorithm, digest: Uint8Array): Promise<Uint8Array>;
  /** A new 256-bit key, and the same wrapped by the KMS key, bound to the context. */
  generateDataKey(keyId: string, context: EncryptionContext): Promise<DataKey>;
  /** @throws {SignerError} sealed_data_altered, and what retryKms throws */
  decrypt(keyId: string, wrapped: Uint8Array, context: EncryptionContext): Promise<Uint8Array>;
  /** What it is asked for and has not answered, e.g. `Sign with the KMS key alias/root`; the oldest of several. */
  asking(): string | undefined;
  /** Ends what is under way; later calls fail. */
  close(): void;
}

/** What a data key is bound to; KMS logs it in clear. */
export type EncryptionContext = Readonly<Record<string, string>>;

export interface DataKey {
  readonly key: Uint8Array;
  readonly wrapped: Uint8Array;
  /** Of the KMS key that wrapped it. */
  readonly arn: string;
}

export interface KmsPublicKey {
  /** Names the key for good, unlike an alias. */
  readonly arn: string;
  readonly spki: Uint8Array;
}

export interface KmsOptions {
  /** Default: the one of the region. */
  readonly endpoint?: string | undefined;
  /** Default: what the AWS SDK finds (AWS_REGION, the profile). */
  readonly region?: string | undefined;
  readonly limits?: Partial<KmsLimits>;
  /** Told of every call, retries included. */
  readonly onCall?: (operation: KmsOperation, ok: boolean, durationMs: number) => void;
}

export type KmsOperation = "GetPublicKey" | "Sign" | "GenerateDataKey" | "Decrypt";

/** KMS through the AWS SDK, which is loaded at the first call: who does not use it does not pay for it. */
export function openKms({ endpoint, region, limits: given, onCall }: KmsOptions): Kms {
  if (endpoint !== undefined) refusePlainEndpoint(endpoint);
  const limits = { ...kmsLimits, ...given };
  const closing = new AbortController();
  const asked = new Set<{ readonly what: string }>();
  let loaded: Promise<Sdk> | undefined;

  async function load(): Promise<Sdk> {
    const sdk = await import("./kms-sdk.ts");
    const client = new sdk.KMSClient({
      ...(endpoint !== undefined && { endpoint }),
      ...(region !== undefined && { region }),
      // Retried here, where it is known which failures pass by themselves.
      maxAttempts: 1,
      requestHandler: { connectionTimeout: connectTimeoutMs, requestTimeout: limits.callTimeoutMs, throwOnRequestTimeout: true },
    });
    return { sdk, client };
  }

  function loading(): Promise<Sdk> {
    return (loaded ??= load().catch((error: unknown) => {
      // Such as for want of descriptors: the next call tries again.
      loaded = undefined;
      throw error;
    }));
  }

  async function call<T>(
    operation: KmsOperation, keyId: string, run: (loaded: Sdk, options: { readonly abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const question = { what: `${operation} with the KMS key ${keyId}` };
    asked.add(question);
    return retryKms(question.what, limits, closing.signal, async (abortSignal) => {
      const startedAtMs = performance.now();
      let ok = false;
      try {
        const answer = await run(await loading(), { abortSignal });
        ok = true;
        return answer;
      } finally {
        onCall?.(operation, ok, performance.now() - startedAtMs);
      }
    }).finally(() => asked.delete(question));
  }

  return {
    async publicKey(keyId) {
      const { PublicKey, KeyId: arn = keyId, KeyUsage, KeySpec } = await call("GetPublicKey", keyId, ({ sdk, client }, options) =>
        client.send(new sdk.GetPublicKeyCommand({ KeyId: keyId }), options));
      const spki = present(PublicKey, keyId);
      if (KeyUsage !== "SIGN_VERIFY" || !isFit(spki)) {
        throw new SignerError("key_unfit", `the KMS key ${keyId} is for ${KeyUsage}, of spec ${KeySpec}; make one for SIGN_VERIFY: ${fitKeys}`);
      }
      return { arn, spki };
    },
    async sign(keyId, algorithm, digest) {
      // RAW, the default, stops at 4096 bytes.
      const request = { KeyId: keyId, Message: digest, MessageType: "DIGEST", SigningAlgorithm: signingAlgorithms[algorithm] } as const;
      const { Signature } = await call("Sign", keyId, ({ sdk, client }, options) => client.send(new sdk.SignCommand(request), options));
      return present(Signature, keyId);
    },
    async generateDataKey(keyId, context) {
      const request = { KeyId: keyId, KeySpec: "AES_256", EncryptionContext: { ...context } } as const;
      const { Plaintext, CiphertextBlob, KeyId: arn = keyId } = await call("GenerateDataKey", keyId, ({ sdk, client }, options) =>
        client.send(new sdk.GenerateDataKeyCommand(request), options));
      return { key: present(Plaintext, keyId), wrapped: present(CiphertextBlob, keyId), arn };
    },
    async decrypt(keyId, wrapped, context) {
      const request = { KeyId: keyId, CiphertextBlob: wrapped, EncryptionContext: { ...context } };
      const { Plaintext } = await call("Decrypt", keyId, ({ sdk, client }, options) =>
        client.send(new sdk.DecryptCommand(request), options));
      return present(Plaintext, keyId);
    },
    asking: () => asked.values().next().value?.what,
    close() {
      closing.abort();
      void loaded?.then(({ client }) => client.destroy(), () => undefined);
    },
  };
}

/**
 * Signs with a KMS key. Making it calls nobody, so a CA starts while KMS is away.
 * @param keyId  an ARN or ID, not an alias, which may come to name another key
 * @param spki   pinned when the authority was made
 * @throws {SignerError} key_unfit
 */
export function kmsSigner(kms: Kms, keyId: string, spki: Uint8Array): OutsideSigner {
  return outsideSigner(`the KMS key ${keyId}`, spki, (algorithm, digest) => kms.sign(keyId, algorithm, digest));
}

/**
 * Asks KMS whether the key under that name still is the pinned one.
 * @throws {SignerError} key_changed, and what publicKey throws
 */
export async function checkKmsKey(kms: Kms, keyId: string, spki: Uint8Array): Promise<void> {
  const { spki: found } = await kms.publicKey(keyId);
  if (Buffer.compare(found, spki) === 0) return;
  throw new SignerError(
    "key_changed",
    `the KMS key ${keyId} is not the key of the authority's certificate: its public part is another one; nothing is signed with ` +
      "it. Was the store restored beside another AWS account, or the key ID edited?",
  );
}

interface Sdk {
  readonly sdk: typeof import("./kms-sdk.ts");
  readonly client: KMSClient;
}

/** The answer to GenerateDataKey and Decrypt is a key in clear. */
function refusePlainEndpoint(endpoint: string): void {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url?.protocol === "https:" || (url?.protocol === "http:" && loopbackHosts.includes(url.hostname))) return;
  throw new SignerError("key_location_malformed", `the KMS endpoint ${endpoint} is refused: write an https URL (http is for loopback only)`);
}

function isFit(spki: Uint8Array): boolean {
  try {
    return describeSpki(spki).keyAlgorithm !== "ed25519";
  } catch {
    return false;
  }
}

function present(bytes: Uint8Array | undefined, keyId: string): Uint8Array {
  if (bytes !== undefined) return bytes;
  throw new SignerError("signer_unavailable", `KMS answered without what it was asked for (key ${keyId}); is the endpoint really KMS?`);
}

/** X.509 has PKCS #1 v1.5 with RSA everywhere; PSS is refused by too many readers. */
const signingAlgorithms = {
  "ecdsa-sha256": "ECDSA_SHA_256",
  "ecdsa-sha384": "ECDSA_SHA_384",
  "ecdsa-sha512": "ECDSA_SHA_512",
  "rsa-sha256": "RSASSA_PKCS1_V1_5_SHA_256",
  "rsa-sha384": "RSASSA_PKCS1_V1_5_SHA_384",
  "rsa-sha512": "RSASSA_PKCS1_V1_5_SHA_512",
} as const satisfies Record<OutsideAlgorithm, string>;
const loopbackHosts = ["127.0.0.1", "[::1]", "localhost"];
const connectTimeoutMs = 5000;
