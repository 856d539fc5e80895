import { hash } from "node:crypto";
import { encodeEntry } from "../audit/event.ts";
import { signCertificate } from "../issuance/sign.ts";
import { lintCertificate } from "../lint/certificate.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { signatureAlgorithmFor, subjectKeyIdentifier } from "../pki/key.ts";
import { encodeName, encodeTbs, type TbsFields } from "../pki/tbs.ts";
import { Refusal } from "../refusal.ts";
import type { Signer } from "../signer/signer.ts";
import { generatePrivateKey, softwareSigner, type SoftwareSigner } from "../signer/software.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { Store } from "../store/store.ts";

/** Who signs OCSP responses for an issuer: a key of this process, certified by the issuer for this alone. */
export interface OcspSigner {
  readonly certificate: Certificate;
  readonly signer: SoftwareSigner;
}

export interface OcspSignersDeps {
  readonly store: Pick<Store, "commit">;
  /** Undefined where the key of the authority is elsewhere. */
  readonly signerOf: (row: AuthorityRow) => Signer | undefined;
  readonly trustDomain: string;
  readonly clockSkewMs: number;
  readonly ocspLifetimeMs: number;
  readonly nextSerial: (nowMs: number) => Uint8Array;
  readonly now: () => Date;
}

/**
 * The OCSP signer of each issuer: made when first needed and at half of its life, never stored. Its key signs nothing but OCSP
 * responses, so what answers strangers all day is not the issuer's key.
 * @source RFC 6960 section 4.2.2.2
 */
export function ocspSigners(deps: OcspSignersDeps) {
  const held = new Map<string, OcspSigner>();
  const making = new Map<string, Promise<OcspSigner>>();

  /** @throws {Refusal} issuer_unavailable */
  return async function ocspSignerOf(issuer: AuthorityRow): Promise<OcspSigner> {
    const known = held.get(issuer.id);
    const nowMs = deps.now().getTime();
    if (known !== undefined && nowMs < (known.certificate.notBeforeMs + known.certificate.notAfterMs) / 2 && nowMs >= known.certificate.notBeforeMs) return known;
    let running = making.get(issuer.id);
    if (running === undefined) {
      running = makeOcspSigner(deps, issuer).finally(() => making.delete(issuer.id));
      making.set(issuer.id, running);
    }
    try {
      const made = await running;
      for (const [id, { certificate }] of held) if (certificate.notAfterMs < nowMs) held.delete(id);
      held.set(issuer.id, made);
      return made;
    } catch (error) {
      // The last one is good for as long as it lasts.
      if (known !== undefined && nowMs < known.certificate.notAfterMs) return known;
      throw error;
    }
  };
}

async function makeOcspSigner(deps: OcspSignersDeps, issuerRow: AuthorityRow): Promise<OcspSigner> {
  const { store, signerOf, trustDomain, clockSkewMs, ocspLifetimeMs, nextSerial, now } = deps;
  const issuerSigner = signerOf(issuerRow);
  if (issuerSigner === undefined) throw new Refusal("issuer_unavailable", `The key of issuer ${issuerRow.id} is not here, so nothing can be certified by it.`);
  const issuer = parseCertificate(issuerRow.certificate);
  const signer = softwareSigner(generatePrivateKey("ec-p256"));
  const nowMs = now().getTime();
  const secondMs = Math.floor(nowMs / 1000) * 1000;
  const signatureAlgorithm = signatureAlgorithmFor(issuerSigner.keyAlgorithm);
  const serial = nextSerial(nowMs);
  const name = `${trustDomain} OCSP`;
  const fields = {
    serialNumber: serial, signatureAlgorithm, issuer: issuer.subject,
    subject: encodeName({ organization: "Countersign", commonName: name.length <= maxNameChars ? name : "OCSP", serialNumber: Buffer.from(serial).toString("hex") }),
    notBeforeMs: Math.max(secondMs - clockSkewMs, issuer.notBeforeMs),
    // It ends with its issuer, whose certificates nobody asks about afterwards.
    notAfterMs: Math.min(secondMs + Math.max(lifetimeMs, 4 * ocspLifetimeMs), issuer.notAfterMs),
    spki: signer.spki,
    extensions: {
      basicConstraints: { certificateAuthority: false },
      keyUsage: ["digitalSignature"],
      extKeyUsage: ["ocspSigning"],
      authorityKeyIdentifier: Buffer.from(issuerRow.id, "hex"),
      ocspNoCheck: true,
      subjectKeyIdentifier: subjectKeyIdentifier(signer.spki),
    },
  } as const satisfies TbsFields;
  const tbs = lintCertificate(encodeTbs(fields), {
    kind: "ocsp-signer", signatureAlgorithm, issuer, trustDomain: undefined,
    limits: {
      lifetimeMaxMs: Math.max(lifetimeMs, 4 * ocspLifetimeMs) + 1000, clockSkewMs, keyAlgorithms: ["ec-p256"], names: { dnsNames: [], ipRanges: [] },
    },
    meant: { ...fields, uris: [], dnsNames: [], ipAddresses: [], keyUsage: fields.extensions.keyUsage, extKeyUsage: fields.extensions.extKeyUsage, revocationInfo: {} },
  });
  const certificate = parseCertificate(await signCertificate(issuerSigner, tbs, signatureAlgorithm));
  const event = {
    type: "ocsp-signer.issued", authorityId: issuerRow.id, serialNumber: certificate.serialNumber, fingerprint: certificate.fingerprint,
    keyFingerprint: hash("sha256", signer.spki), notBefore: new Date(certificate.notBeforeMs).toISOString(), notAfter: new Date(certificate.notAfterMs).toISOString(),
  } as const;
  // If we die before this lands, key and certificate were in our memory only.
  await store.commit({ kind: "record", entries: [encodeEntry(event, "system", nowMs)] });
  return { certificate, signer };
}

/** ub-common-name of RFC 5280 appendix A.1. */
const maxNameChars = 64;
const lifetimeMs = 12 * 3_600_000;
