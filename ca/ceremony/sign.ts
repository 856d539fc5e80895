import { hash } from "node:crypto";
import { encodePem } from "../pki/pem.ts";
import type { Signer } from "../signer/signer.ts";
import { answerFormat, type CeremonyAnswer } from "./answer.ts";
import { CeremonyError } from "./errors.ts";
import { inspectRequest } from "./inspect.ts";
import { isFingerprint, readRequest } from "./request.ts";

export interface SigningCeremony {
  /** The request, as it came. */
  readonly text: string;
  readonly nowMs: number;
  /** For the transcript. */
  readonly operator: string;
  readonly host: string;
  /** Shows what will be done; resolves with the fingerprint as the person typed it. */
  confirm(shown: readonly string[]): Promise<string>;
  /** Opens the key, once all is confirmed. */
  openKey(): Promise<{ readonly signer: Signer; readonly location: string }>;
}

/**
 * The ceremony on the machine with the key: needs no network but the key's own, and no database.
 * @throws {CeremonyError} request_malformed | request_refused | fingerprint_wrong | key_mismatch
 * @throws {SignerError}
 */
export async function holdCeremony({ text, nowMs, operator, host, confirm, openKey }: SigningCeremony): Promise<CeremonyAnswer> {
  const written = readRequest(text);
  const inspected = await inspectRequest(written.request, nowMs);
  // Not shown here: whoever altered the request could show another one. The person brings it from the CA.
  if (!isFingerprint(await confirm(inspected.shown), written)) {
    throw new CeremonyError(
      "fingerprint_wrong",
      "that is not the fingerprint of this request, and nothing was signed; compare it with what the CA printed when the request was made: if " +
        "you typed that, this is not the request the CA wrote",
    );
  }
  const { signer, location } = await openKey();
  const { label, der } = await inspected.sign(signer);
  return {
    format: answerFormat,
    result: encodePem(label, der),
    transcript: {
      request: written.id, kind: written.request.kind, shown: inspected.shown, key: location, keyFingerprint: hash("sha256", signer.spki, "hex"),
      operator, host, signedAt: new Date(nowMs).toISOString(), result: hash("sha256", der, "hex"),
    },
  };
}
