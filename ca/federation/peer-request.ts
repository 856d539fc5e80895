import type { Documents } from "../documents.ts";
import type { Bundle } from "../pki/bundle.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { PkiError } from "../pki/errors.ts";
import { parseRenewalProof, verifyRenewalProof } from "../pki/renewal-proof.ts";
import { signedBytes, type RequestAuthorization, type SignedRequest } from "../pki/request-authorization.ts";
import { readSpiffeId, verifySvid } from "../pki/svid.ts";
import { Refusal } from "../refusal.ts";
import { relationshipsOf } from "./documents.ts";

export interface PeerRequestDeps {
  readonly documents: Pick<Documents, "current">;
  /** Ours: whom the request has to be for. */
  readonly trustDomain: string;
  readonly now: () => Date;
}

/**
 * The CA of another trust domain that signed a request, by its API's key. It is for the feed alone, where whoever has an identity has a place
 * before strangers: nothing else is let in by it.
 * @returns its SPIFFE ID
 * @throws {Refusal} proof_refused
 */
export function peerAuthenticator({ documents, trustDomain, now }: PeerRequestDeps): (authorization: RequestAuthorization, request: SignedRequest) => Promise<string> {
  return async ({ proof: jws, nonce }, request) => {
    const relationships = relationshipsOf(await documents.current());
    try {
      const nowMs = now().getTime();
      const proof = parseRenewalProof(jws, "request");
      if (Math.abs(nowMs - proof.issuedAtMs) > windowMs) throw refused("it was made more than a minute from this CA's clock");
      // Anybody may send one: what is of nobody we know costs no look at its signatures.
      const claimed = readSpiffeId(parseCertificate(proof.chain[0] ?? new Uint8Array()));
      const peer = relationships.get(claimed.trustDomain);
      if (peer?.held === undefined || peer.endpointSpiffeId !== claimed.uri) throw refused(`${claimed.uri} is the endpoint of no trust domain that this one is federated with`);
      const bundles = new Map<string, Bundle>([[peer.trustDomain, peer.held.parsed]]);
      const { id, leaf } = verifySvid({ chain: proof.chain, bundles, nowMs, purpose: "client" });
      verifyRenewalProof(proof, leaf.publicKey, signedBytes(request, nonce), trustDomain);
      return id.uri;
    } catch (cause) {
      if (cause instanceof PkiError) throw refused(cause.message, cause);
      throw cause;
    }
  };
}

function refused(why: string, cause?: unknown): Refusal {
  return new Refusal("proof_refused", `The request's proof does not hold: ${why}.`, { cause });
}

const windowMs = 60_000;
