import { openCryptoki } from "./cryptoki.ts";
import { SignerError, type SignerErrorCode } from "./errors.ts";
import type { OutsideAlgorithm } from "./outside.ts";
import { readPublicKey, signOnToken, type TokenKey } from "./pkcs11-token.ts";

/** What this process is asked, as JSON on its standard input. */
export interface Pkcs11Request {
  readonly key: TokenKey;
  readonly pin: string;
  /** Undefined to read the public key. */
  readonly sign?: { readonly algorithm: OutsideAlgorithm; readonly digest: string };
}

/** What it answers, as JSON on its standard output; octets in base64. */
export type Pkcs11Reply = { readonly result: string } | { readonly code: SignerErrorCode; readonly message: string };

// The whole life of a process that makes one signature: a module that crashes or hangs takes nothing along.
const chunks: Buffer[] = [];
for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
process.stdout.write(JSON.stringify(answer(JSON.parse(Buffer.concat(chunks).toString()) as Pkcs11Request)));

function answer({ key, pin, sign }: Pkcs11Request): Pkcs11Reply {
  try {
    const cryptoki = openCryptoki(key.modulePath);
    try {
      const result = sign === undefined
        ? readPublicKey(cryptoki, key, pin)
        : signOnToken(cryptoki, key, pin, sign.algorithm, Buffer.from(sign.digest, "base64"));
      return { result: Buffer.from(result).toString("base64") };
    } finally {
      cryptoki.close();
    }
  } catch (error) {
    if (error instanceof SignerError) return { code: error.code, message: error.message };
    return { code: "signer_unavailable", message: `the PKCS#11 module could not be used: ${(error as Error).message}` };
  }
}
