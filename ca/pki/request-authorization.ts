import type { KeyObject } from "node:crypto";
import { encodeRenewalProof } from "./renewal-proof.ts";

/**
 * A request signed by the key of an X509-SVID, as its Authorization header: `SVID proof="<JWS>", nonce="<nonce>"`. The proof is of the
 * purpose `request` and bound to method, target, nonce and body, so it is good for this request alone and needs no client
 * certificate: it passes any TLS terminator that leaves the target as it is.
 */
export interface RequestAuthorization {
  readonly proof: string;
  /** 22 to 64 characters of base64url, of the client's choosing: the same one twice is a replay. */
  readonly nonce: string;
}

export interface SignedRequest {
  /** Upper case. */
  readonly method: string;
  /** Path and query, as sent. */
  readonly target: string;
  /** "" for none. */
  readonly body: string;
}

export interface RequestAuthorizationInput extends SignedRequest {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  readonly privateKey: KeyObject;
  /** Trust domain of the CA that is asked. */
  readonly audience: string;
  readonly nowMs: number;
  /** 128 random bits or more, base64url. */
  readonly nonce: string;
}

/** Makes the header with the key of the chain's leaf. */
export function encodeRequestAuthorization({ nonce, method, target, body, ...input }: RequestAuthorizationInput): string {
  const proof = encodeRenewalProof({ ...input, purpose: "request", csr: signedBytes({ method, target, body }, nonce) });
  return `SVID proof="${proof}", nonce="${nonce}"`;
}

/** Takes the header apart without believing it; undefined for one that is not of the form. */
export function parseRequestAuthorization(header: string): RequestAuthorization | undefined {
  const [, proof, nonce] = header.length > maxHeaderLength ? [] : (form.exec(header) ?? []);
  return proof === undefined || nonce === undefined ? undefined : { proof, nonce };
}

/** What the proof is bound to: no method, target or nonce holds a line break, so two requests never have the same bytes. */
export function signedBytes({ method, target, body }: SignedRequest, nonce: string): Uint8Array {
  return Buffer.from(`${method}\n${target}\n${nonce}\n${body}`);
}

const form = /^SVID +proof="([A-Za-z0-9_.-]+)", *nonce="([A-Za-z0-9_-]{22,64})"$/i;
/** Node refuses requests whose headers have more than 16 KiB together. */
const maxHeaderLength = 16 * 1024;
