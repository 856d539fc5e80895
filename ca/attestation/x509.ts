import type { X509Attestor } from "../config/attestors.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { relativeNamesOf } from "../pki/name.ts";
import { extKeyUsageOid, nameOid } from "../pki/oid.ts";
import { validatePath } from "../pki/path.ts";
import { parseRenewalProof, verifyRenewalProof } from "../pki/renewal-proof.ts";
import { Refusal } from "../refusal.ts";
import { factsOf, recordOf, type Evidence } from "./evidence.ts";

export interface X509Deps {
  /** What the other PKI is known by. */
  readonly anchors: readonly Certificate[];
  readonly trustDomain: string;
  readonly now: () => Date;
}

/**
 * Verifies that who asks has the key of a client certificate of another PKI: its chain against that PKI's anchors, its signature over this CSR.
 * Whether that PKI has revoked it is not looked at.
 */
export function x509Verifier({ name }: X509Attestor, { anchors, trustDomain, now }: X509Deps): (proof: string, csrDer: Uint8Array) => Evidence {
  return (jws, csrDer) => {
    const nowMs = now().getTime();
    try {
      const proof = parseRenewalProof(jws, "attestation");
      if (Math.abs(nowMs - proof.issuedAtMs) > proofWindowMs) throw refused(name, `it was made more than ${proofWindowMs / 60_000} min from this CA's clock (${new Date(nowMs).toISOString()}); make a new one, and check the clocks`);
      const [leaf, ...intermediates] = proof.chain.map(parseCertificate);
      if (leaf === undefined) throw refused(name, "it has no certificate");
      const { basicConstraints, keyUsage } = leaf;
      if (basicConstraints?.certificateAuthority === true || keyUsage?.keyCertSign === true) throw refused(name, "its certificate is a CA's");
      if (keyUsage?.digitalSignature === false) throw refused(name, "its certificate's key is not for signatures");
      // Before the path: one signature by the leaf's key is less work than the search that a chain of nobody's could ask for.
      verifyRenewalProof(proof, leaf.publicKey, csrDer, trustDomain);
      const { certificates } = validatePath({ leaf, intermediates, anchors, nowMs, extendedKeyUsage: extKeyUsageOid.clientAuth, budget });
      return evidenceOf(leaf, certificates.at(-1));
    } catch (cause) {
      if (cause instanceof PkiError) throw refused(name, cause.message, cause);
      throw cause;
    }
  };
}

function evidenceOf(leaf: Certificate, anchor: Certificate | undefined): Evidence {
  const attributes = relativeNamesOf(leaf.subject).flat();
  const valuesOf = (type: string): readonly string[] => attributes.filter((one) => one.type === type).map(({ text }) => text ?? "");
  const { dnsNames = [], uris = [], emails = [] } = leaf.subjectAltName ?? {};
  return {
    facts: factsOf({
      commonName: valuesOf(nameOid.commonName), organization: valuesOf(nameOid.organization), organizationalUnit: valuesOf(nameOid.organizationalUnit),
      dnsName: dnsNames, uri: uris, email: emails, serialNumber: leaf.serialNumber, fingerprint: leaf.fingerprint,
    }),
    record: recordOf({ serialNumber: leaf.serialNumber, fingerprint: leaf.fingerprint, anchor: anchor?.fingerprint }),
  };
}

function refused(name: string, why: string, cause?: unknown): Refusal {
  return new Refusal("attestation_refused", `The attestor "${name}" refuses the proof: ${why}.`, { cause });
}

/** As for renewal proofs; a replay within it only asks for the same key again. */
const proofWindowMs = 5 * 60_000;
/** As of a chain that a peer presents: anybody may send one. */
const budget = { signatureChecks: 12, candidates: 500, nameComparisons: 10_000 };
