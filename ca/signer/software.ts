import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { describeSpki, signatureAlgorithmFor, signData, signDataThreaded } from "../pki/key.ts";
import type { Signer } from "./signer.ts";

/** A signer whose key is in this process; it answers synchronously. */
export interface SoftwareSigner extends Signer {
  sign(message: Uint8Array): Uint8Array;
}

/**
 * Signs with a private key in memory.
 * @throws {PkiError} public_key_unsupported | public_key_weak, for a key we would not accept from others
 */
export function softwareSigner(privateKey: KeyObject): SoftwareSigner {
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const { keyAlgorithm } = describeSpki(spki);
  const signatureAlgorithm = signatureAlgorithmFor(keyAlgorithm);
  return { keyAlgorithm, spki, sign: (message) => signData(signatureAlgorithm, privateKey, message) };
}

/** The same for messages of megabytes, as CRLs may be: hashed in another thread. */
export function threadedSigner(privateKey: KeyObject): Signer {
  const { keyAlgorithm, spki } = softwareSigner(privateKey);
  const signatureAlgorithm = signatureAlgorithmFor(keyAlgorithm);
  return { keyAlgorithm, spki, sign: (message) => signDataThreaded(signatureAlgorithm, privateKey, message) };
}

/** Makes a key for a root, an issuer or the API certificate. */
export function generatePrivateKey(keyAlgorithm: "ec-p256" | "ec-p384"): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: keyAlgorithm === "ec-p256" ? "P-256" : "P-384" }).privateKey;
}
