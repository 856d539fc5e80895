import { hash } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { Bundle } from "../ca/pki/bundle.ts";
import { PkiError, type PkiErrorCode } from "../ca/pki/errors.ts";
import type { SpiffeId } from "../ca/pki/spiffe-id.ts";
import { verifySvid, type VerifiedSvid } from "../ca/pki/svid.ts";
import type { IdentitySource, Trust } from "./identity/source.ts";

/** Why a peer is not who it has to be. What `verifySvid` refuses keeps its code. */
export type PeerErrorCode =
  | PkiErrorCode
  | "trust_unavailable"
  | "certificate_missing"
  | "certificate_revoked"
  | "session_resumed";

/** A peer that is refused after its handshake: `code` for metrics, `message` for the operator. */
export class PeerError extends Error {
  override readonly name = "PeerError";
  readonly code: PeerErrorCode;

  constructor(code: PeerErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export type PeerPurpose = "client" | "server";

/** Who is at the other end of a connection; only a `PeerVerifier` makes one. */
export interface Peer {
  readonly svid: VerifiedSvid;
  /** As presented, leaf first; kept to be judged again when trust changes. */
  readonly chain: readonly Uint8Array[];
  readonly purpose: PeerPurpose;
}

export interface PeerVerifier {
  /**
   * Establishes who completed this handshake, before one byte is forwarded.
   * @param expected outbound: the only identity that may answer
   * @throws {PeerError}
   */
  verify(socket: TLSSocket, purpose: PeerPurpose, expected?: SpiffeId): Peer;
  /** Judges an established peer again, by the trust and the clock of now. @throws {PeerError} */
  recheck(peer: Peer): void;
}

export interface PeerVerifierDeps {
  readonly source: IdentitySource;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/**
 * Makes the one judge of peers. Signatures and path of a chain are worked out once per exact chain and bundle (150 us); expiry,
 * revocation and the expected ID are looked at every time.
 */
export function peerVerifier({ source, now }: PeerVerifierDeps): PeerVerifier {
  const known = new Map<string, Known>();

  function establish(chain: readonly Uint8Array[], purpose: PeerPurpose, trust: Trust): VerifiedSvid {
    const nowMs = now();
    // DER says its own length, so different chains cannot be the same bytes in a row.
    const key = purpose + hash("sha256", Buffer.concat(chain), "base64");
    const before = known.get(key);
    if (before !== undefined && before.bundle === trust.bundles.get(before.svid.id.trustDomain) && !isOutside(before, nowMs)) return before.svid;
    known.delete(key);
    const svid = verifySvid({ chain, bundles: trust.bundles, nowMs, purpose });
    const bundle = trust.bundles.get(svid.id.trustDomain);
    if (bundle !== undefined) known.set(key, { svid, bundle, verifiedAtMs: nowMs });
    const [oldest] = known.size > maxKnownPeers ? known.keys() : [];
    if (oldest !== undefined) known.delete(oldest);
    return svid;
  }

  function judge(chain: readonly Uint8Array[], purpose: PeerPurpose): VerifiedSvid {
    const trust = source.trust();
    if (trust === undefined) throw new PeerError("trust_unavailable", "there is no trust bundle yet to judge a peer by");
    let svid: VerifiedSvid;
    try {
      svid = establish(chain, purpose, trust);
    } catch (cause) {
      if (cause instanceof PkiError) throw new PeerError(cause.code, cause.message, { cause });
      throw cause;
    }
    const revoked = svid.path.certificates.find(({ serialNumber }) => trust.revoked.has(serialNumber));
    if (revoked !== undefined) {
      throw new PeerError("certificate_revoked", `certificate ${revoked.serialNumber} of ${svid.id.uri} is revoked; the workload must get a new one`);
    }
    return svid;
  }

  return {
    verify(socket, purpose, expected) {
      // We neither give tickets that work nor send any, so this is a bug or an attack: its chain was not proven in this handshake.
      if (socket.isSessionReused()) throw new PeerError("session_resumed", "the peer resumed a TLS session; every handshake has to be a full one");
      const chain = presentedChain(socket);
      if (chain.length === 0) throw new PeerError("certificate_missing", "the peer presented no certificate; it must connect through its own proxy");
      const svid = judge(chain, purpose);
      if (expected !== undefined && svid.id.uri !== expected.uri) {
        throw new PeerError("svid_id_unexpected", `${svid.id.uri} answered where ${expected.uri} must; correct the route, or find out who listens there`);
      }
      return { svid, chain, purpose };
    },
    recheck(peer) {
      judge(peer.chain, peer.purpose);
    },
  };
}

interface Known {
  readonly svid: VerifiedSvid;
  /** The very bundle that vouched: a new one of that trust domain is another object. */
  readonly bundle: Bundle;
  readonly verifiedAtMs: number;
}

/** Outside the time the outcome is known to hold: expired, or the clock was set back and the past was never looked at. */
function isOutside({ svid, verifiedAtMs }: Known, nowMs: number): boolean {
  return nowMs > svid.validUntilMs || nowMs < verifiedAtMs;
}

/** The chain in the peer's order. `getPeerCertificate(true)` would sort it and leave out what it does not understand. */
export function presentedChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < maxReadCertificates) {
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

/** A workload talks to tens of others; beyond this the oldest is worked out again. About 8 KiB each. */
const maxKnownPeers = 1024;
/** One more than `verifySvid` takes, so that it is the one to refuse. */
const maxReadCertificates = 9;
