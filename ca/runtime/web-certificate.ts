import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createSecureContext, type SecureContext } from "node:tls";
import type { WebCertificateVitals } from "../contract/vitals.ts";
import type { Log } from "../log.ts";
import { SignerError } from "../signer/errors.ts";
import { readSecretFile } from "../signer/key-file.ts";
import { RuntimeError } from "./errors.ts";

/** Files that somebody else keeps up to date, certbot for one. */
export interface WebCertificateFiles {
  /** PEM: certificate, then what is above it without the root. */
  readonly certPath: string;
  readonly keyPath: string;
}

export interface WebCertificateDeps {
  /** Names of the API's own certificate, which proxies and commands know it by: they are never shown this one. */
  readonly ownNames: readonly string[];
  readonly log: Log;
  /** Told when the one that is shown ends. */
  readonly onRead: (notAfterMs: number) => void;
}

/** A certificate of the Web PKI, for whoever knows the bundle endpoint by its host name (SPIFFE Federation 5.2.1, https_web). */
export interface WebCertificate {
  /** What is shown to a client that asks for this name; undefined: it is none of the certificate's, and the API's own is. */
  contextOf(serverName: string): SecureContext | undefined;
  vitals(): WebCertificateVitals;
  /** Reads the files again if they changed. The timer calls it; tests may. */
  tick(): void;
  close(): void;
}

/**
 * Reads the files, and again whenever they change; when what is there is of no use, the last good one stays.
 * @throws {RuntimeError} web_certificate_unusable
 */
export function openWebCertificate(files: WebCertificateFiles, { ownNames, log, onRead }: WebCertificateDeps): WebCertificate {
  let version = versionOf(files);
  let held = read();
  let trouble: string | undefined;
  const timer = setInterval(tick, checkIntervalMs).unref();

  function read(): ReadWebCertificate {
    const found = readWebCertificate(files, ownNames);
    onRead(found.leaf.validToDate.getTime());
    return found;
  }

  function tick(): void {
    const newest = versionOf(files);
    if (newest === version && trouble === undefined) return;
    try {
      // Looked at before it is read: what is replaced meanwhile is read once more.
      held = read();
      version = newest;
      trouble = undefined;
      log.info({ names: held.names, notAfter: held.leaf.validTo }, "the web certificate was read anew");
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      if (error.message !== trouble) log.error({ err: error }, "the web certificate could not be read anew; the one before stays in use");
      trouble = error.message;
    }
  }

  return {
    contextOf: (serverName) => (held.isFor(serverName) ? held.context : undefined),
    vitals: () => ({
      names: held.names, notBefore: held.leaf.validFromDate.toISOString(), notAfter: held.leaf.validToDate.toISOString(), ...(trouble !== undefined && { trouble }),
    }),
    tick,
    close: () => clearInterval(timer),
  };
}

interface ReadWebCertificate {
  readonly leaf: X509Certificate;
  /** DNS names that it is shown for. */
  readonly names: readonly string[];
  readonly isFor: (serverName: string) => boolean;
  readonly context: SecureContext;
}

/**
 * Reads a certificate and its key, and whether they can be shown.
 * @throws {RuntimeError} web_certificate_unusable
 */
export function readWebCertificate({ certPath, keyPath }: WebCertificateFiles, ownNames: readonly string[]): ReadWebCertificate {
  const [cert, key] = [readCertificate(certPath), readKey(keyPath)];
  let leaf: X509Certificate;
  let privateKey: KeyObject;
  try {
    leaf = new X509Certificate(cert);
  } catch {
    throw unusable(`${certPath} has no certificate in PEM; name certbot's fullchain.pem, or what is like it, as webCert`);
  }
  try {
    privateKey = createPrivateKey(key);
  } catch {
    // Without the cause: OpenSSL's errors may quote what they could not read.
    throw unusable(`${keyPath} has no private key in PEM without a passphrase; name certbot's privkey.pem, or what is like it, as webKey`);
  }
  if (!leaf.checkPrivateKey(privateKey)) throw unusable(`${keyPath} is not the key of ${certPath}; if both are being replaced, the next look finds them whole`);
  const all = dnsNamesOf(leaf);
  if (all.length === 0) throw unusable(`${certPath} has no DNS name, and it is shown to those who ask for one of its names; have it made for the host name of the bundle endpoint`);
  const own = new Set(ownNames.map((name) => name.toLowerCase()));
  const names = all.filter((name) => !own.has(name));
  if (names.length === 0) {
    throw unusable(`${certPath} is for ${all.join(", ")}, by which proxies and commands know the API, and they trust its own certificate alone; have one made for another name of this host, e.g. bundle.${all[0]}`);
  }
  return {
    leaf, names, context: contextWith(key, cert, certPath),
    isFor: (serverName) => !own.has(serverName.toLowerCase()) && leaf.checkHost(serverName, { subject: "never" }) !== undefined,
  };
}

/** What is above the certificate is read here alone. */
function contextWith(key: string, cert: string, certPath: string): SecureContext {
  try {
    return createSecureContext({ key, cert, minVersion: "TLSv1.3" });
  } catch {
    // Without the cause: OpenSSL's errors may quote what they could not read.
    throw unusable(`${certPath} cannot be shown with its key: what is above the certificate in it is half a file or none, or the key is of a kind or size that TLS does not take; if it is being replaced, the next look finds it whole`);
  }
}

function readCertificate(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw unusable(`${path} cannot be read (${(cause as NodeJS.ErrnoException).code}); may this user, and is webCert its path?`, cause);
  }
}

function readKey(path: string): string {
  try {
    return readSecretFile(path) ?? fail(`${path} is not there; is webKey its path?`);
  } catch (cause) {
    if (cause instanceof SignerError) throw unusable(cause.message, cause);
    throw cause;
  }
}

function dnsNamesOf({ subjectAltName = "" }: X509Certificate): readonly string[] {
  return [...subjectAltName.matchAll(/(?:^|, )DNS:([^,"]+)/g)].map(([, name = ""]) => name.toLowerCase());
}

/** Changes with either file, also where a link leads to another one from now on. */
function versionOf({ certPath, keyPath }: WebCertificateFiles): string {
  return [certPath, keyPath].map((path) => {
    try {
      const { dev, ino, mtimeNs, size } = statSync(path, { bigint: true });
      return `${dev} ${ino} ${mtimeNs} ${size}`;
    } catch (error) {
      // A folder that was closed to us, say: reading it says so, and is not what ends the process.
      return String((error as NodeJS.ErrnoException).code);
    }
  }).join(", ");
}

function fail(why: string): never {
  throw unusable(why);
}

function unusable(why: string, cause?: unknown): RuntimeError {
  return new RuntimeError("web_certificate_unusable", `the web certificate is of no use: ${why}`, { cause });
}

const checkIntervalMs = 10_000;
