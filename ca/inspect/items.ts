import { createPrivateKey, createPublicKey } from "node:crypto";
import { parseBootstrap, type Bootstrap } from "../pki/bootstrap.ts";
import { parseBundle, type Bundle } from "../pki/bundle.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { parseCrl, type Crl } from "../pki/crl.ts";
import { parseCsr, type Csr } from "../pki/csr.ts";
import { PkiError } from "../pki/errors.ts";
import { decodePem, type PemLabel } from "../pki/pem.ts";

/** One thing found in a file or shown by a server: read, or the reason why the CA and the proxies do not read it. */
export type Item =
  | { readonly kind: "certificate"; readonly der: Uint8Array; readonly read: Certificate | PkiError }
  | { readonly kind: "request"; readonly read: Csr | PkiError }
  | { readonly kind: "crl"; readonly read: Crl | PkiError }
  | { readonly kind: "private key"; readonly spki: Uint8Array | undefined }
  | { readonly kind: "public key"; readonly spki: Uint8Array | undefined }
  | { readonly kind: "bundle"; readonly read: Bundle | PkiError }
  | { readonly kind: "join string"; readonly read: Bootstrap | PkiError }
  | { readonly kind: "unknown"; readonly what: string };

/** What is in a file, and whether it is written as our own readers want it. */
export interface Contents {
  readonly items: readonly Item[];
  /** What our readers of PEM refuse in it, although it can be guessed. */
  readonly pemFault?: PkiError;
}

/** Finds out what a file holds: PEM blocks of any label and form, DER, a SPIFFE bundle or a join string. Secrets are not kept. */
export function readContents(bytes: Uint8Array): Contents {
  const text = Buffer.from(bytes).toString("latin1");
  const blocks = [...text.matchAll(pemBlock)].slice(0, maxItems);
  if (blocks.length > 0) {
    const pemFault = blocks.map(([block, label]) => strictFault(block, label ?? "")).find((fault) => fault !== undefined);
    return { items: blocks.map(([block, label = "", body = ""]) => itemOf(label, Buffer.from(body, "base64"), block)), ...(pemFault && { pemFault }) };
  }
  const trimmed = text.trim();
  if (trimmed.startsWith("{")) return { items: [{ kind: "bundle", read: attempt(() => parseBundle(unnamedDomain, trimmed)) }] };
  if (trimmed.startsWith(joinPrefix)) return { items: [{ kind: "join string", read: attempt(() => parseBootstrap(trimmed)) }] };
  return { items: [bytes[0] === sequenceTag ? derItem(bytes) : { kind: "unknown", what: bytes.length === 0 ? "nothing at all" : "neither PEM, DER, a SPIFFE bundle nor a join string" }] };
}

/** Certificates as a server presents them, leaf first. */
export function certificateItems(chain: readonly Uint8Array[]): readonly Item[] {
  return chain.map((der) => ({ kind: "certificate", der, read: attempt(() => parseCertificate(der)) }));
}

function itemOf(label: string, der: Uint8Array, block: string): Item {
  switch (label.replace(/^(?:NEW|TRUSTED) /, "")) {
    case "CERTIFICATE":
    case "X509 CERTIFICATE": return certificateItems([der])[0]!;
    case "CERTIFICATE REQUEST": return { kind: "request", read: attempt(() => parseCsr(der)) };
    case "X509 CRL": return { kind: "crl", read: attempt(() => parseCrl(der)) };
    case "PUBLIC KEY": return { kind: "public key", spki: der };
    case "EC PARAMETERS": return { kind: "unknown", what: "parameters of an EC key, which openssl writes before the key: they can be left out" };
    case "PKCS7":
    case "CMS": return { kind: "unknown", what: `${label}: certificates in a wrapping; take them out with: openssl pkcs7 -print_certs` };
  }
  if (label.endsWith("PRIVATE KEY")) return { kind: "private key", spki: spkiOf(block) };
  return { kind: "unknown", what: `a block "${label}", which is nothing that the CA or a proxy reads` };
}

/** The public half; undefined for a key with a passphrase, or of a kind that Node.js does not know. */
function spkiOf(block: string): Uint8Array | undefined {
  try {
    return createPublicKey(createPrivateKey(block)).export({ format: "der", type: "spki" });
  } catch {
    return undefined;
  }
}

function derItem(bytes: Uint8Array): Item {
  const certificate = attempt(() => parseCertificate(bytes));
  if (!(certificate instanceof PkiError)) return { kind: "certificate", der: bytes, read: certificate };
  const request = attempt(() => parseCsr(bytes));
  // A request whose signature is wrong was read as far as that: it is one.
  if (!(request instanceof PkiError) || request.code === "csr_signature_invalid") return { kind: "request", read: request };
  const crl = attempt(() => parseCrl(bytes));
  return crl instanceof PkiError ? { kind: "certificate", der: bytes, read: certificate } : { kind: "crl", read: crl };
}

function strictFault(block: string, label: string): PkiError | undefined {
  if (!strictLabels.has(label)) return undefined;
  const read = attempt(() => decodePem(block, label as PemLabel));
  return read instanceof PkiError ? read : undefined;
}

function attempt<T>(read: () => T): T | PkiError {
  try {
    return read();
  } catch (error) {
    if (error instanceof PkiError) return error;
    throw error;
  }
}

const pemBlock = /-----BEGIN ([A-Z0-9 ]{1,40})-----([^]*?)-----END \1-----/g;
const strictLabels: ReadonlySet<string> = new Set(["CERTIFICATE", "CERTIFICATE REQUEST", "X509 CRL"] satisfies PemLabel[]);
const joinPrefix = "countersign_join_";
const sequenceTag = 0x30;
/** A bundle does not say whose it is; only its contents are looked at. */
const unnamedDomain = "unnamed";
/** More than that is a list of the world's roots, and not what somebody asks about. */
const maxItems = 64;
