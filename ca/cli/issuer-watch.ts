import { createPrivateKey, createPublicKey } from "node:crypto";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { validatePath } from "../pki/path.ts";
import { decodePem } from "../pki/pem.ts";
import { ApiError } from "./api.ts";
import type { IssuerMaterial } from "./issuer-secret.ts";
import type { IssuerTarget } from "./issuer-target.ts";

export interface WatchDeps {
  readonly target: IssuerTarget;
  /** Has an issuer signed for a new key. @throws {ApiError} */
  readonly issue: () => Promise<IssuerMaterial>;
  /** The roots of the CA, now. @throws {ApiError} */
  readonly anchors: () => Promise<readonly Certificate[]>;
  /** Whether the CA has revoked this serial number. @throws {ApiError} */
  readonly isRevoked: (serialNumber: string) => Promise<boolean>;
  readonly say: (text: string) => void;
  readonly now: () => number;
  readonly random: () => number;
  /** Resolves after so many ms, or when we are to stop: then with true. */
  readonly pause: (ms: number) => Promise<boolean>;
}

/**
 * Keeps an issuer renewed in its target until it is told to stop. A failure is said and tried again after 1 s, 2 s, 4 s and so on up to
 * 5 min, each cut by up to half at random: how often does not depend on how much life is left.
 * @param options.once  look once, and renew if it is due
 * @returns the exit code: 0 stopped, or with `once` nothing left to do; 1 with `once` when it failed
 */
export async function keepRenewed(deps: WatchDeps, { renewBeforeMs, once }: { readonly renewBeforeMs: number; readonly once: boolean }): Promise<number> {
  const { target, say, random, pause } = deps;
  // Watchers that were started together do not all renew in the same minute.
  const earlyMs = renewBeforeMs * earlyPart * random();
  let signed: IssuerMaterial | undefined;
  for (let failures = 0; ;) {
    try {
      const reason = signed === undefined ? await renewalReason(deps, renewBeforeMs + (once ? 0 : earlyMs)) : "it was signed and is not written yet";
      if (reason !== undefined) {
        // One that is signed is written, however often it takes: else each try would leave a valid issuer behind.
        signed ??= await deps.issue();
        await target.write(signed);
        signed = undefined;
        say(`${target.name}: renewed, because ${reason}.\n`);
      } else if (once) say(`${target.name}: nothing to do.\n`);
      failures = 0;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      failures += 1;
      say(`${target.name}: ${error.message}\n`);
      if (once) return 1;
    }
    if (once) return 0;
    const waitMs = failures === 0 ? checkIntervalMs : Math.min(firstRetryMs * 2 ** (failures - 1), maxRetryMs);
    if (await pause(waitMs * (1 - random() / 2))) return 0;
  }
}

/** Why what is in the target has to be replaced; undefined while it is good. */
async function renewalReason({ target, anchors, isRevoked, now }: WatchDeps, renewBeforeMs: number): Promise<string | undefined> {
  const held = await target.read();
  if (held === undefined) return "there was none";
  const nowMs = now();
  let issuer: Certificate;
  let intermediates: Certificate[];
  try {
    const [first, ...rest] = decodePem(held.chain, "CERTIFICATE").map(parseCertificate);
    if (first === undefined) return "it could not be read";
    [issuer, intermediates] = [first, rest];
    if (!createPublicKey(createPrivateKey(held.key)).equals(issuer.publicKey)) return "its key was another one's";
  } catch {
    return "it could not be read";
  }
  if (issuer.notAfterMs - nowMs < renewBeforeMs) return `it ends at ${new Date(issuer.notAfterMs).toISOString()}`;
  try {
    validatePath({ leaf: issuer, intermediates, anchors: await anchors(), nowMs });
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return "it does not chain to the CA's roots";
  }
  return await isRevoked(issuer.serialNumber) ? "it was revoked" : undefined;
}

const earlyPart = 0.1;
/** Somebody may delete or revoke what we keep. */
const checkIntervalMs = 60_000;
const firstRetryMs = 1000;
const maxRetryMs = 5 * 60_000;
