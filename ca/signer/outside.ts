import { createPublicKey, hash } from "node:crypto";
import { describeSpki, signatureAlgorithmFor, verifySignature, type SignatureAlgorithm } from "../pki/key.ts";
import { SignerError } from "./errors.ts";
import type { Signer } from "./signer.ts";

/** A signature that another machine or device makes of a digest. */
export type SignDigest = (algorithm: OutsideAlgorithm, digest: Uint8Array) => Promise<Uint8Array>;

/** What keys outside this process sign with: KMS and most tokens have no Ed25519. */
export type OutsideAlgorithm = Exclude<SignatureAlgorithm, "ed25519">;

/** A signer whose key is outside this process; each signature is verified by the pinned key before anybody sees it. */
export interface OutsideSigner extends Signer {
  sign(message: Uint8Array): Promise<Uint8Array>;
}

/**
 * Makes a signer of a key outside. Only the digest leaves: KMS takes no more than 4096 bytes as a message, and a CRL is longer.
 * @param where  names the key in errors, e.g. `the KMS key arn:...`
 * @param spki   pinned when the authority was made
 * @throws {SignerError} key_unfit for a key of a kind that is not signed with outside
 */
export function outsideSigner(where: string, spki: Uint8Array, signDigest: SignDigest): OutsideSigner {
  const { keyAlgorithm } = describeSpki(spki);
  const algorithm = signatureAlgorithmFor(keyAlgorithm);
  if (algorithm === "ed25519") throw new SignerError("key_unfit", `${where} is an Ed25519 key; use ${fitKeys}`);
  const publicKey = createPublicKey({ key: spki as Buffer, format: "der", type: "spki" });
  return {
    keyAlgorithm, spki,
    async sign(message) {
      const signature = await signDigest(algorithm, hash(digestOf(algorithm), message, "buffer"));
      if (!verifySignature(algorithm, publicKey, message, signature)) {
        throw new SignerError(
          "signature_wrong",
          `${where} answered with a signature that is not by the pinned key, and it was thrown away; the key behind that name was ` +
            "replaced, or something between us and it changes answers: find out which before anything else",
        );
      }
      return signature;
    },
  };
}

/** The hash that goes with an algorithm. */
export function digestOf(algorithm: OutsideAlgorithm): "sha256" | "sha384" | "sha512" {
  return algorithm.slice(algorithm.indexOf("-") + 1) as "sha256" | "sha384" | "sha512";
}

/** What to use instead of a key that does not fit. */
export const fitKeys = "an ECDSA key on P-256 or P-384, or RSA of 2048, 3072 or 4096 bits";
