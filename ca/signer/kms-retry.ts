import { setTimeout as sleep } from "node:timers/promises";
import { SignerError, type SignerErrorCode } from "./errors.ts";

/** How long and how often KMS is asked. */
export interface KmsLimits {
  /** Of one call, from its first byte to its last. KMS answers in 50-300 ms; some days it takes seconds. */
  readonly callTimeoutMs: number;
  /** Calls for one operation that fails as it does when KMS is overloaded or away. */
  readonly attempts: number;
  /** Calls for one that fails as it does right after a key was made: KMS is consistent within seconds, at times minutes. */
  readonly attemptsWhenUnknown: number;
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
}

export const kmsLimits: KmsLimits = { callTimeoutMs: 15_000, attempts: 6, attemptsWhenUnknown: 6, firstDelayMs: 200, maxDelayMs: 5000 };

/**
 * Calls until it succeeds, the failure is final, or the attempts are used up; waits between with full jitter.
 * @param what  names operation and key in errors, e.g. `Sign with the KMS key alias/root`
 * @throws {SignerError} signer_unavailable | key_unknown | key_disabled | key_unfit | key_refused | sealed_data_altered
 */
export async function retryKms<T>(
  what: string, limits: KmsLimits, closed: AbortSignal, call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      closed.throwIfAborted();
      return await call(AbortSignal.any([closed, AbortSignal.timeout(limits.callTimeoutMs)]));
    } catch (cause) {
      const { code, attempts, advice } = judge(cause, limits);
      if (attempt >= attempts || closed.aborted) {
        const tried = attempt === 1 ? "" : ` after ${attempt} attempts`;
        throw new SignerError(code, `${what} failed${tried}: ${describe(cause)}; ${advice}`, { cause });
      }
      const delayMs = Math.min(limits.maxDelayMs, limits.firstDelayMs * 2 ** (attempt - 1)) * Math.random();
      await sleep(delayMs, undefined, { signal: closed }).catch(() => undefined);
    }
  }
}

interface Judgement {
  readonly code: SignerErrorCode;
  /** How many calls it may cost before it is final. */
  readonly attempts: number;
  readonly advice: string;
}

/** By the error's name, which is KMS's own code. What we do not know may pass: throttling has a dozen names. */
function judge(cause: unknown, { attempts, attemptsWhenUnknown }: KmsLimits): Judgement {
  const name = cause instanceof Error ? cause.name : "";
  const known = finalErrors[name];
  if (known !== undefined) return { ...known, attempts: settlesByItself.has(name) ? attemptsWhenUnknown : 1 };
  const status = (cause as { readonly $metadata?: { readonly httpStatusCode?: number } }).$metadata?.httpStatusCode;
  const final = status !== undefined && status >= 400 && status < 500 && status !== 429 && !/throttl|limit|slow|toomany/i.test(name);
  if (final) return { code: "key_refused", attempts: 1, advice: "look the error up in the documentation of AWS KMS" };
  return { code: "signer_unavailable", attempts, advice: "look whether KMS can be reached from here; it is tried again" };
}

function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if (cause.name === "AbortError" || cause.name === "TimeoutError") return "no answer in time";
  // A refused connection to a name with several addresses has its reasons inside.
  const text = cause instanceof AggregateError ? cause.errors.map(String).join(", ") : cause.message;
  return text === "" || text === "UnknownError" ? cause.name : `${text} (${cause.name})`;
}

const unknown = {
  code: "key_unknown",
  advice: "is the key ID right, and in this region and account? A key made moments ago may take a minute to appear",
} as const;
const unfit = { code: "key_unfit", advice: "the key's usage or spec does not allow this; look at it with: aws kms describe-key" } as const;
const denied = {
  code: "key_refused",
  advice: "the credentials that the AWS SDK found may not do this; look at the key's policy and at: aws sts get-caller-identity",
} as const;
const altered = {
  code: "sealed_data_altered",
  advice: "the wrapped key was altered, is of another CA, or was made by another KMS key; restore it from a backup",
} as const;

const finalErrors: Readonly<Record<string, Omit<Judgement, "attempts">>> = {
  NotFoundException: unknown,
  DisabledException: { code: "key_disabled", advice: "enable it with: aws kms enable-key" },
  KMSInvalidStateException: {
    code: "key_disabled",
    advice: "if it is pending deletion, keep it with: aws kms cancel-key-deletion, then: aws kms enable-key",
  },
  InvalidKeyUsageException: unfit,
  UnsupportedOperationException: unfit,
  ValidationException: unfit,
  InvalidCiphertextException: altered,
  IncorrectKeyException: altered,
  AccessDeniedException: denied,
  UnrecognizedClientException: denied,
  InvalidSignatureException: denied,
  IncompleteSignatureException: denied,
  MissingAuthenticationTokenException: denied,
  ExpiredTokenException: denied,
  OptInRequired: denied,
  CredentialsProviderError: {
    code: "key_refused",
    advice: "give the CA AWS credentials, by role, profile or environment (AWS_ACCESS_KEY_ID)",
  },
};
/** KMS documentation, "Eventual consistency": right after CreateKey, or a change of it, both are seen. */
const settlesByItself: ReadonlySet<string> = new Set(["NotFoundException", "KMSInvalidStateException"]);
