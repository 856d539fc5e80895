import { createHash, createPrivateKey, createPublicKey } from "node:crypto";
import { encodeBootstrap, type Bootstrap } from "../../ca/pki/bootstrap.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { decodePem } from "../../ca/pki/pem.ts";
import { verifySvid } from "../../ca/pki/svid.ts";
import type { PlatformConfig } from "../config/platform.ts";
import { identityOf } from "./accept.ts";
import { bundleTexts, mergeBundles, type HeldBundles } from "./bundles.ts";
import { KeystoreError, type StoredIdentity } from "./keystore.ts";
import type { Identity } from "./source.ts";

/** What a restart goes on with. */
export interface Resumed {
  /** May have expired: it is then good for a proof, and nothing else. */
  readonly identity: Identity;
  readonly bundles: HeldBundles;
}

/**
 * Takes up a stored identity, verified as if it had just been issued, at the latest at its own last second.
 * @param originHash  of the bootstrap string or the platform that the settings name; undefined: of none
 * @returns undefined when it is another one than the identity descends from: the operator wants a new start
 * @throws {KeystoreError} keystore_unreadable
 */
export function resume(stored: StoredIdentity, originHash: string | undefined, nowMs: number): Resumed | undefined {
  if (originHash !== undefined && originHash !== stored.bootstrapHash) return undefined;
  try {
    const { held } = mergeBundles(stored.trustDomain, new Map(), stored.bundles);
    const chain = decodePem(stored.chainPem, "CERTIFICATE");
    const privateKey = createPrivateKey(stored.privateKeyPem);
    const leaf = parseCertificate(chain[0] ?? new Uint8Array());
    const bundles = new Map([...held].map(([trustDomain, { bundle }]) => [trustDomain, bundle]));
    const svid = verifySvid({ chain, bundles, nowMs: Math.min(nowMs, leaf.notAfterMs), purpose: "client" });
    if (svid.id.trustDomain !== stored.trustDomain) throw new Error("its certificate is of another trust domain");
    if (Buffer.compare(createPublicKey(privateKey).export({ format: "der", type: "spki" }), leaf.spki) !== 0) {
      throw new Error("its key is not that of its certificate");
    }
    return { identity: identityOf(svid, chain, stored.chainPem, privateKey), bundles: held };
  } catch (cause) {
    const { message } = cause as Error;
    throw new KeystoreError(
      "keystore_unreadable",
      `the stored identity does not hold: ${message}; delete it and start with a new bootstrap string`,
      { cause },
    );
  }
}

/** What is to be stored of an identity in use. */
export function toStored(
  identity: Identity, bundles: HeldBundles, origin: Pick<StoredIdentity, "trustDomain" | "caUrl" | "bootstrapHash">,
): StoredIdentity {
  return {
    ...origin, chainPem: identity.chainPem, bundles: bundleTexts(bundles),
    privateKeyPem: identity.privateKey.export({ format: "pem", type: "pkcs8" }),
  };
}

/** Knows the place of a platform's CA again, and by which attestor; roots and files come and go. */
export function hashPlatform({ caUrl, trustDomain, attestor, evidence }: PlatformConfig): string {
  return createHash("sha256").update(JSON.stringify(["platform", caUrl, trustDomain, evidence.type, attestor ?? null])).digest("hex");
}

/** Knows a bootstrap string again without keeping its secret. */
export function hashBootstrap(bootstrap: Bootstrap): string {
  return createHash("sha256").update(encodeBootstrap(bootstrap)).digest("hex");
}
