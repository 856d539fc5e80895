import type { TLSSocket } from "node:tls";
import type { Bundle } from "../ca/pki/bundle.ts";
import { PkiError, type PkiErrorCode } from "../ca/pki/errors.ts";
import type { SpiffeId } from "../ca/pki/spiffe-id.ts";
import { verifySvid, type VerifiedSvid } from "../ca/pki/svid.ts";
import type { IdentitySource, Trust } from "./identity/source.ts";
import { leafInSession, presentedChain } from "./presented.ts";

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
  /** As presented when the leaf was first seen; kept to be judged again when trust changes. */
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
  /** Judges only whether an established peer is revoked by now: cheap, whatever else changed. @throws {PeerError} */
  recheckRevoked(peer: Peer): void;
}

export interface PeerVerifierDeps {
  readonly source: IdentitySource;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/**
 * Makes the one judge of peers. That a leaf chains to an anchor of its trust domain is worked out once per leaf and bundle
 * (150 us): it stays true whatever chain the peer presents with that leaf the next time, and the handshake proves each time that
 * the peer holds its key. Expiry, revocation and the expected ID are looked at every time.
 */
export function peerVerifier({ source, now }: PeerVerifierDeps): PeerVerifier {
  const known = new Map<string, Known>();

  /** What is known of this leaf, if it holds by the bundle and the clock of now. */
  function recall(leaf: Uint8Array, purpose: PeerPurpose, trust: Trust): Known | undefined {
    const before = known.get(keyOf(leaf, purpose));
    return before !== undefined && before.bundle === trust.bundles.get(before.peer.svid.id.trustDomain) && holdsAt(before, now()) ? before : undefined;
  }

  function establish(chain: readonly Uint8Array[], purpose: PeerPurpose, trust: Trust): Peer {
    const [leaf] = chain;
    if (leaf === undefined) throw new PeerError("certificate_missing", "the peer presented no certificate; it must connect through its own proxy");
    const before = recall(leaf, purpose, trust);
    if (before !== undefined) return before.peer;
    const nowMs = now();
    const peer: Peer = { svid: svidOf(chain, purpose, trust, nowMs), chain, purpose };
    const bundle = trust.bundles.get(peer.svid.id.trustDomain);
    const key = keyOf(leaf, purpose);
    known.delete(key);
    if (bundle !== undefined) known.set(key, { peer, bundle, verifiedAtMs: nowMs });
    const [oldest] = known.size > maxKnownPeers ? known.keys() : [];
    if (oldest !== undefined) known.delete(oldest);
    return peer;
  }

  function currentTrust(): Trust {
    const trust = source.trust();
    if (trust === undefined) throw new PeerError("trust_unavailable", "there is no trust bundle yet, or no list of what is revoked, to judge a peer by; see /readyz");
    return trust;
  }

  return {
    verify(socket, purpose, expected) {
      // We neither give tickets that work nor send any, so this is a bug or an attack: its chain was not proven in this handshake.
      if (socket.isSessionReused()) throw new PeerError("session_resumed", "the peer resumed a TLS session; every handshake has to be a full one");
      const trust = currentTrust();
      const leaf = leafInSession(socket);
      const peer = (leaf && recall(leaf, purpose, trust)?.peer) ?? establish(presentedChain(socket), purpose, trust);
      refuseRevoked(peer.svid, trust);
      const { uri } = peer.svid.id;
      if (expected !== undefined && uri !== expected.uri) {
        throw new PeerError("svid_id_unexpected", `${uri} answered where ${expected.uri} must; correct the route, or find out who listens there`);
      }
      return peer;
    },
    recheck(peer) {
      const trust = currentTrust();
      refuseRevoked(establish(peer.chain, peer.purpose, trust).svid, trust);
    },
    recheckRevoked: ({ svid }) => refuseRevoked(svid, currentTrust()),
  };
}

interface Known {
  readonly peer: Peer;
  /** The very bundle that vouched: a new one of that trust domain is another object. */
  readonly bundle: Bundle;
  readonly verifiedAtMs: number;
}

function svidOf(chain: readonly Uint8Array[], purpose: PeerPurpose, { bundles }: Trust, nowMs: number): VerifiedSvid {
  try {
    return verifySvid({ chain, bundles, nowMs, purpose });
  } catch (cause) {
    if (cause instanceof PkiError) throw new PeerError(cause.code, cause.message, { cause });
    throw cause;
  }
}

/** Issuers too: the path is what vouches. */
function refuseRevoked({ id, path }: VerifiedSvid, { revoked }: Trust): void {
  const hit = path.certificates.find(({ serialNumber }) => revoked.has(serialNumber));
  if (hit === undefined) return;
  throw new PeerError("certificate_revoked", `certificate ${hit.serialNumber} of ${id.uri} is revoked; the workload must get a new one`);
}

/** False when it has expired, or the clock was set back to a time that was never looked at. */
function holdsAt({ peer: { svid }, verifiedAtMs }: Known, nowMs: number): boolean {
  return nowMs >= verifiedAtMs && nowMs <= svid.validUntilMs;
}

/** The leaf itself, not its name: another certificate of the same workload is another key. */
function keyOf(leaf: Uint8Array, purpose: PeerPurpose): string {
  return purpose + Buffer.from(leaf.buffer, leaf.byteOffset, leaf.length).toString("latin1");
}

/** A workload talks to tens of others; beyond this the oldest is worked out again. About 8 KiB each. */
const maxKnownPeers = 1024;
