import { sign, type KeyObject } from "node:crypto";
import type { Linted } from "../lint/rule.ts";
import { lintCertificate } from "../lint/certificate.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { signatureAlgorithmFor, subjectKeyIdentifier } from "../pki/key.ts";
import { encodeCertificate, encodeTbs } from "../pki/tbs.ts";
import type { Sealing } from "../signer/sealing.ts";
import { generatePrivateKey, softwareSigner } from "../signer/software.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import { unsealAuthority } from "./active-issuer.ts";
import { nameOf, serialOfAuthority, type AuthorityRequest, type NewAuthority } from "./create.ts";

/** The key that signs JWT-SVIDs now. */
export interface JwtSigner {
  /** `kid` of its tokens: the authority's ID. */
  readonly keyId: string;
  readonly notAfterMs: number;
  /** Signs what a lint let through. @returns the token */
  sign(input: Linted<"jwt-svid">): string;
}

/**
 * Makes a P-256 key that signs JWT-SVIDs, as ES256 is what every verifier takes. Its certificate is signed by itself and by nobody
 * trusted: it holds key, dates and an ID without a path, so that the row of the key is one like every authority's. It is no CA and no SVID.
 */
export function createJwtKey({ trustDomain, lifetimeMs, clockSkewMs, nowMs }: Omit<AuthorityRequest, "keyAlgorithm" | "statusUrl">): NewAuthority {
  const privateKey = generatePrivateKey("ec-p256");
  const signer = softwareSigner(privateKey);
  const { spki } = signer;
  const signatureAlgorithm = signatureAlgorithmFor("ec-p256");
  const secondMs = Math.floor(nowMs / 1000) * 1000;
  const name = nameOf(trustDomain, "jwt");
  const keyIdentifier = subjectKeyIdentifier(spki);
  const tbs = encodeTbs({
    serialNumber: serialOfAuthority(), signatureAlgorithm, issuer: name, subject: name, notBeforeMs: secondMs - clockSkewMs, notAfterMs: secondMs + lifetimeMs - 1000, spki,
    extensions: {
      basicConstraints: { certificateAuthority: false },
      keyUsage: ["digitalSignature"],
      authorityKeyIdentifier: keyIdentifier,
      subjectKeyIdentifier: keyIdentifier,
      subjectAltName: { uris: [`spiffe://${trustDomain}`] },
    },
  });
  const limits = { lifetimeMaxMs: lifetimeMs, clockSkewMs, keyAlgorithms: ["ec-p256"], names: { dnsNames: [], ipRanges: [] } } as const;
  const linted = lintCertificate(tbs, { kind: "jwt-key", signatureAlgorithm, issuer: undefined, trustDomain, limits });
  return { certificate: parseCertificate(encodeCertificate(linted, signatureAlgorithm, signer.sign(linted))), privateKey };
}

/** Opens a stored key. @throws {SignerError} sealing_key_wrong | sealed_data_altered | sealed_format_unknown */
export function openJwtSigner(row: AuthorityRow, sealing: Sealing): JwtSigner {
  const { privateKey } = unsealAuthority(row, sealing);
  return { keyId: row.id, notAfterMs: row.notAfterMs, sign: (input) => `${Buffer.from(input).toString("latin1")}.${signatureOf(input, privateKey)}` };
}

/** RFC 7518 3.4: the two numbers side by side, not DER. */
function signatureOf(input: Uint8Array, key: KeyObject): string {
  return sign("sha256", input, { key, dsaEncoding: "ieee-p1363" }).toString("base64url");
}
