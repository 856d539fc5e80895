import type { Linted } from "../lint/rule.ts";
import { encodeCertificate } from "../pki/tbs.ts";
import type { SignatureAlgorithm } from "../pki/key.ts";
import type { Signer } from "../signer/signer.ts";

/**
 * Signs what the lint let through and puts the signature beside those same bytes.
 * @returns the certificate, DER; synchronously when the signer is
 */
export function signCertificate(signer: Signer, tbs: Linted<"certificate">, algorithm: SignatureAlgorithm): Uint8Array | Promise<Uint8Array> {
  const signature = signer.sign(tbs);
  if (signature instanceof Promise) return signature.then((octets) => encodeCertificate(tbs, algorithm, octets));
  return encodeCertificate(tbs, algorithm, signature);
}
