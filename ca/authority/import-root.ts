import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { verifySignature } from "../pki/key.ts";
import { decodePem } from "../pki/pem.ts";
import { checkRootLasts, type NewAuthority } from "./create.ts";
import { AuthorityError } from "./errors.ts";

export interface RootImport {
  readonly certificatePem: string;
  /** PKCS#8 (encrypted or not), SEC1 or PKCS#1. */
  readonly privateKeyPem: string;
  readonly passphrase: string | undefined;
  readonly nowMs: number;
  /** How long an issuer lives: the root must last longer. */
  readonly issuerLifetimeMs: number;
}

/**
 * Takes a root made elsewhere, as `openssl req -x509` or `step certificate create --profile root-ca` make them. Whether chains
 * below it verify is tried out when the first issuer is made.
 * @throws {AuthorityError} root_*, with the rule that is not met and how to meet it
 */
export function importRoot({ certificatePem, privateKeyPem, passphrase, nowMs, issuerLifetimeMs }: RootImport): NewAuthority {
  const certificate = readRoot(certificatePem);
  checkRoot(certificate, nowMs);
  checkRootLasts(certificate, { nowMs, lifetimeMs: issuerLifetimeMs });
  const privateKey = readPrivateKey(privateKeyPem, passphrase);
  if (!createPublicKey(privateKey).equals(certificate.publicKey)) {
    throw new AuthorityError(
      "root_key_mismatch",
      "the root key is not the key of the root certificate; give the pair that was made together",
    );
  }
  return { certificate, privateKey };
}

/**
 * Reads a root certificate.
 * @throws {AuthorityError} root_certificate_unreadable | root_certificate_refused
 */
export function readRoot(pem: string): Certificate {
  let ders: Uint8Array[];
  try {
    ders = decodePem(pem, "CERTIFICATE", { allowText: true });
  } catch (cause) {
    throw new AuthorityError(
      "root_certificate_unreadable",
      `the root certificate cannot be read: ${(cause as Error).message}`,
      { cause },
    );
  }
  const [der] = ders;
  if (der === undefined || ders.length > 1) {
    throw new AuthorityError(
      "root_certificate_unreadable",
      `the root certificate file holds ${ders.length} certificates; give the self-signed root alone`,
    );
  }
  try {
    return parseCertificate(der);
  } catch (cause) {
    if (!(cause instanceof PkiError)) throw cause;
    throw new AuthorityError(
      "root_certificate_refused",
      `the root certificate is refused (${cause.code}): ${cause.message}`,
      { cause },
    );
  }
}

/**
 * Refuses what cannot be a root of ours.
 * @throws {AuthorityError} root_*
 */
export function checkRoot(root: Certificate, nowMs: number): void {
  const { basicConstraints, keyUsage, subjectKeyIdentifier } = root;
  if (Buffer.compare(root.issuer, root.subject) !== 0 || !isSelfSigned(root)) {
    throw new AuthorityError(
      "root_not_self_signed",
      "the root certificate was signed by another key than its own; give the root at the top of its chain",
    );
  }
  if (basicConstraints?.certificateAuthority !== true || !basicConstraints.critical) {
    throw new AuthorityError(
      "root_not_ca",
      `the root certificate is not a CA: it needs basicConstraints=critical,CA:TRUE; ${recipe}`,
    );
  }
  if (keyUsage?.keyCertSign !== true || !keyUsage.critical) {
    throw new AuthorityError(
      "root_key_usage",
      "the root certificate may not sign certificates: it needs keyUsage=critical,keyCertSign,cRLSign (openssl leaves " +
        `it out by default); ${recipe}`,
    );
  }
  if (basicConstraints.pathLength === 0) {
    throw new AuthorityError(
      "root_path_length",
      `the root certificate has pathlen:0, which allows no issuer below it; ${recipe}`,
    );
  }
  if (subjectKeyIdentifier === undefined) {
    throw new AuthorityError(
      "root_key_identifier",
      `the root certificate has no subject key identifier, which every certificate below must point to; ${recipe}`,
    );
  }
  if (root.notBeforeMs > nowMs) {
    throw new AuthorityError(
      "root_not_yet_valid",
      `the root certificate is not valid before ${new Date(root.notBeforeMs).toISOString()}; is this machine's clock ` +
        "right?",
    );
  }
}

function isSelfSigned(root: Certificate): boolean {
  return verifySignature(root.signatureAlgorithm, root.publicKey, root.tbs, root.signature);
}

function readPrivateKey(pem: string, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey({ key: pem, format: "pem", ...(passphrase === undefined ? {} : { passphrase }) });
  } catch (cause) {
    // Node tells a missing passphrase by a code of its own; a wrong one shows as whatever the garbage fails to parse as.
    if ((cause as NodeJS.ErrnoException).code === "ERR_MISSING_PASSPHRASE") {
      throw new AuthorityError("root_key_passphrase", "the root key is encrypted; set COUNTERSIGN_ROOT_KEY_PASSPHRASE");
    }
    if (/ENCRYPTED/.test(pem)) {
      throw new AuthorityError(
        "root_key_passphrase",
        "the root key cannot be decrypted; is COUNTERSIGN_ROOT_KEY_PASSPHRASE its passphrase?",
      );
    }
    throw new AuthorityError(
      "root_key_unreadable",
      "the root key cannot be read; give a PEM private key: PKCS#8, SEC1 (EC PRIVATE KEY) or PKCS#1 (RSA PRIVATE KEY)",
    );
  }
}

const recipe =
  "e.g. openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 3650 -subj '/CN=my root' " +
  "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign";
