import type { TLSSocket } from "node:tls";
import { PkiError } from "../ca/pki/errors.ts";
import { contextConstructed, tag } from "../ca/pki/der-tag.ts";
import { DerReader, encodedOf, readDer } from "../ca/pki/der.ts";

/** The chain a peer presented, leaf first, in its order. `getPeerCertificate(true)` would sort it and leave out what it does not understand. */
export function presentedChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < maxReadCertificates) {
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

/**
 * The leaf a peer presented, read from the TLS session: 3 us, where `getPeerX509Certificate` parses the whole chain twice
 * (30 us, a twentieth of a handshake). OpenSSL puts into the session the certificate whose key signed this handshake.
 * @returns undefined where the session is in no form we know; then ask `presentedChain`
 * @source  OpenSSL ssl/ssl_asn1.c, SSL_SESSION_ASN1: the peer's certificate is [3] EXPLICIT
 */
export function leafInSession(socket: TLSSocket): Uint8Array | undefined {
  // `TLSSocket.getSession` of a client makes a second copy of the secret, behind a head of its own (Node 26, lib/internal/tls/wrap.js).
  const session = (socket as unknown as WithSession)._handle?.getSession?.();
  if (session === undefined || session.length > maxSessionBytes) return undefined;
  try {
    const fields = new DerReader(readDer(session, tag.sequence));
    while (!fields.finished) {
      const field = fields.next();
      if (field.tag === contextConstructed(3)) return Uint8Array.from(encodedOf(new DerReader(field).next(tag.sequence)));
    }
    return undefined;
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  } finally {
    // It also holds the master secret.
    session.fill(0);
  }
}

interface WithSession {
  readonly _handle: { getSession?(): Buffer | undefined } | null;
}

/** One more than `verifySvid` takes, so that it is the one to refuse. */
const maxReadCertificates = 9;
/** A certificate of the largest size we read, and what stands around it. */
const maxSessionBytes = 32 * 1024;
