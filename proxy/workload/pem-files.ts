import { encodePem } from "../../ca/pki/pem.ts";
import type { Identity, Trust } from "../identity/source.ts";

/** One file of the set, by its path in the folder. */
export interface PemFile {
  /** A name, or one in the folder `federatedFolder`. */
  readonly path: string;
  readonly text: string;
  readonly mode: number;
}

/** What an identity and a trust are as files. */
export interface PemFiles {
  readonly files: readonly PemFile[];
  /** Trust domains without a file, as no file can have their name. */
  readonly leftOut: readonly string[];
}

export const federatedFolder = "federated";
/** Names in the folder; servers are configured with them, so they never change. */
export const topLevelNames = ["cert.pem", "key.pem", "bundle.pem", federatedFolder] as const;

/**
 * Writes an identity and what it trusts as PEM: `cert.pem` (leaf first), `key.pem` (PKCS#8), `bundle.pem` (the own trust domain's
 * anchors alone) and `federated/<trust domain>.pem`. Domains are never pooled: whoever verifies by a file names one domain.
 */
export function pemFiles({ chainPem, privateKey }: Pick<Identity, "chainPem" | "privateKey">, { trustDomain, bundles }: Pick<Trust, "trustDomain" | "bundles">): PemFiles {
  const anchors = (name: string): string => (bundles.get(name)?.x509Authorities ?? []).map(({ der }) => encodePem("CERTIFICATE", der)).join("");
  const foreign = [...bundles.keys()].filter((name) => name !== trustDomain).sort();
  return {
    files: [
      { path: "cert.pem", text: chainPem, mode: 0o644 },
      { path: "key.pem", text: privateKey.export({ format: "pem", type: "pkcs8" }) as string, mode: 0o600 },
      { path: "bundle.pem", text: anchors(trustDomain), mode: 0o644 },
      ...foreign.filter(hasFileName).map((name) => ({ path: `${federatedFolder}/${name}.pem`, text: anchors(name), mode: 0o644 })),
    ],
    leftOut: foreign.filter((name) => !hasFileName(name)),
  };
}

function hasFileName(trustDomain: string): boolean {
  return trustDomain.length + ".pem".length <= maxFileNameBytes;
}

/** NAME_MAX of Linux; a trust domain has up to 255 octets (SPIFFE-ID section 2.1). */
const maxFileNameBytes = 255;
