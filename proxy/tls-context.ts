import { constants } from "node:crypto";
import { createSecureContext, type SecureContext, type SecureContextOptions } from "node:tls";
import type { KeyExchange } from "./config/config.ts";
import type { Identity } from "./identity/source.ts";

/**
 * TLS as every handshake of the proxy does it: TLS 1.3 only, our own chain, no tickets, and no CA for OpenSSL.
 *
 * OpenSSL is given no anchor because its verdict would not be used: it knows one flat pool of anchors (DESIGN 2, promise 1), so
 * `verifySvid` decides. With an empty pool it ends at once instead of verifying each chain a second time (60 us of a
 * handshake), and Node skips reading the server's certificate for a host name check (70 us). That the peer holds the key of
 * its leaf is proven all the same: CertificateVerify is checked whatever the chain is worth (RFC 8446 4.4.3).
 */
export function tlsOptionsOf(identity: Identity, keyExchange: KeyExchange): SecureContextOptions {
  return {
    cert: identity.chainPem,
    key: identity.privateKey.export({ type: "pkcs8", format: "pem" }),
    ...anonymousTlsOptions,
    ...(keyExchange === "x25519" && { ecdhCurve: "X25519" }),
  };
}

/** The same without a certificate of our own: what a listener starts with, which refuses until there is an identity. */
export const anonymousTlsOptions: SecureContextOptions = {
  ca: [],
  minVersion: "TLSv1.3",
  maxVersion: "TLSv1.3",
  // Stateless tickets would carry the whole session; without them and without a session store nothing can be resumed.
  secureOptions: constants.SSL_OP_NO_TICKET,
};

/** One context for all outbound handshakes of an identity: making one for each costs 265 us (reference: DESIGN 7). */
export function clientContexts(keyExchange: KeyExchange): (identity: Identity) => SecureContext {
  const contexts = new WeakMap<Identity, SecureContext>();
  return (identity) => {
    const context = contexts.get(identity) ?? createSecureContext(tlsOptionsOf(identity, keyExchange));
    contexts.set(identity, context);
    return context;
  };
}
