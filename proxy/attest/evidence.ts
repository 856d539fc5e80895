import { createPrivateKey, createPublicKey } from "node:crypto";
import type { Attestation } from "../../ca/contract/attestation.ts";
import { parseCertificate } from "../../ca/pki/certificate.ts";
import { decodePem } from "../../ca/pki/pem.ts";
import { encodeRenewalProof } from "../../ca/pki/renewal-proof.ts";
import type { PlatformConfig } from "../config/platform.ts";
import { awsCredentials } from "./aws-credentials.ts";
import { signCallerIdentity } from "./aws-sign.ts";
import { EvidenceError } from "./error.ts";
import { readEvidence, readToken } from "./token-file.ts";

/** What the platform says of this workload, had anew each time. */
export interface Evidence {
  /** For a certificate that this CSR asks for. @throws {EvidenceError} */
  attest(csrDer: Uint8Array): Promise<Attestation>;
  /**
   * Whether a request with this attestation is as good as a new one: then the same one is sent again, so that an answer which was lost is
   * given again. @throws {EvidenceError}
   */
  isCurrent(attestation: Attestation, ageMs: number): Promise<boolean>;
}

/** Makes the source of what vouches for this workload, as the platform is. */
export function evidenceOf({ attestor, evidence, trustDomain }: PlatformConfig, now: () => number): Evidence {
  const common = attestor === undefined ? {} : { attestor };
  switch (evidence.type) {
    case "kubernetes":
    case "oidc": {
      const { type, tokenFile } = evidence;
      return {
        attest: async () => ({ type, ...common, token: await readToken(tokenFile) }),
        isCurrent: async (attestation) => attestation.type === type && attestation.token === await readToken(tokenFile),
      };
    }
    case "x509": return {
      attest: async (csr) => ({ type: "x509", ...common, proof: encodeRenewalProof({ ...(await readPair(evidence)), csr, audience: trustDomain, nowMs: now(), purpose: "attestation" }) }),
      isCurrent: isFresh,
    };
    case "aws-iam": {
      const { region, endpoint, environment } = evidence;
      return {
        attest: async (csrDer) => ({ type: "aws-iam", ...common, ...signCallerIdentity({ credentials: await awsCredentials(environment, { region, endpoint }), region, endpoint, trustDomain, csrDer, nowMs: now() }) }),
        isCurrent: isFresh,
      };
    }
  }
}

async function isFresh(_attestation: Attestation, ageMs: number): Promise<boolean> {
  return ageMs >= 0 && ageMs < maxProofAgeMs;
}

async function readPair({ certFile, keyFile }: { readonly certFile: string; readonly keyFile: string }) {
  const [certificates, key] = await Promise.all([readEvidence(certFile), readEvidence(keyFile)]);
  try {
    const chain = decodePem(certificates, "CERTIFICATE");
    const privateKey = createPrivateKey(key);
    const leaf = parseCertificate(chain[0] ?? new Uint8Array());
    if (Buffer.compare(createPublicKey(privateKey).export({ format: "der", type: "spki" }), leaf.spki) !== 0) throw new EvidenceError(`${keyFile} is not the key of ${certFile}; if both are being replaced, the next try finds them whole`);
    return { chain, privateKey };
  } catch (cause) {
    if (cause instanceof EvidenceError) throw cause;
    // Without the cause: OpenSSL's errors may quote what they could not read.
    throw new EvidenceError(`${certFile} and ${keyFile} are not a certificate and its key in PEM`);
  }
}

/** The CA takes proofs up to a few minutes old. */
const maxProofAgeMs = 60_000;
