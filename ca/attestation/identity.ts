import type { Actor } from "../audit/event.ts";
import type { AttestationMethod } from "../contract/attestation.ts";
import type { SpiffeId } from "../pki/spiffe-id.ts";

/** Who is asking, once proven: the names a certificate may carry, and what the commit has to swap for it. */
export interface AttestedIdentity {
  readonly spiffeId: SpiffeId;
  readonly dnsNames: readonly string[];
  /** 4 or 16 octets each; the CA's own API certificate only. */
  readonly ipAddresses?: readonly Uint8Array[];
  readonly method: AttestationMethod;
  readonly actor: Actor;
  /** Token the certificate is paid with, as it was when it was looked at. */
  readonly redeem?: { readonly tokenId: string; readonly version: number };
  /** Join token the identity descends from. */
  readonly tokenId?: string;
  /** Name of the configured attestor that it descends from. */
  readonly attestor?: string;
  /** What the attestor's evidence said of who asks, for the audit log; no secret, and bounded. */
  readonly evidence?: Readonly<Record<string, string>>;
  /** Serial number of the certificate whose key proved it: the commit looks again whether that one is revoked. */
  readonly renewedFrom?: string;
  /** Asked for in another protocol, whose clients need certificates of another shape. */
  readonly shape?: "linkerd" | "acme";
}

/**
 * A requester that has authenticated but not yet been granted anything. Split from `attest` because a retry must find the
 * certificate it already got even when its token is spent by now.
 */
export interface Claim {
  /** Whose Idempotency-Keys these are. */
  readonly scope: string;
  readonly actor: Actor;
  /** The identity that is asked for, for the audit log. */
  readonly spiffeId: SpiffeId;
  /** The rest of the request that counts for "the same request again", apart from CSR and lifetime. */
  readonly asked: string;
  /** @throws {Refusal} why the identity is not granted */
  attest(): AttestedIdentity | Promise<AttestedIdentity>;
}
