import { createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID } from "node:crypto";
import type { HeldBundle } from "../contract/acknowledgements.ts";
import type { Attestation } from "../contract/attestation.ts";
import type { IssuedCertificate } from "../contract/certificates.ts";
import type { Log } from "../log.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { encodeCsr } from "../pki/csr.ts";
import { PkiError } from "../pki/errors.ts";
import { decodePem } from "../pki/pem.ts";
import { encodeRenewalProof } from "../pki/renewal-proof.ts";
import { verifySvid } from "../pki/svid.ts";
import { isDeclined, UpstreamError } from "./errors.ts";
import type { HeldMembership, Membership, MembershipKeeper } from "./membership.ts";
import type { Parent, UpstreamIdentity } from "./parent.ts";

export interface IdentityDeps {
  readonly memberships: MembershipKeeper;
  /** The CA that a membership is with. */
  readonly parent: (membership: Membership) => Parent;
  /** Its roots as they are known by now. */
  readonly anchors: () => readonly Certificate[];
  /** Which of its bundles is known to be held here. */
  readonly holds: () => HeldBundle | undefined;
  readonly log: Log;
  readonly now: () => Date;
}

/** Who this CA is to the one above it. */
export interface IdentityKeeper {
  /**
   * An identity that is valid, renewed at half of its life; attested with the join token first, and again once it has expired.
   * @throws {UpstreamError} what keeps the first one, or one in place of an expired one, from being had
   */
  current(): Promise<UpstreamIdentity>;
}

/**
 * Keeps a workload's certificate of the parent's trust domain as a proxy does: a new key each, proof of possession by the one before. Request
 * and key are in the store before they are sent, so that neither a crash nor a lost answer costs the token, and replicas share one identity.
 */
export function identityKeeper({ memberships, parent, anchors, holds, log, now }: IdentityDeps): IdentityKeeper {
  let running: Promise<UpstreamIdentity> | undefined;

  async function obtain(): Promise<UpstreamIdentity> {
    for (let attempt = 0; ; attempt++) {
      const held = await memberships.open();
      const last = identityOf(held.membership);
      const nowMs = now().getTime();
      if (last !== undefined && nowMs < last.renewAtMs) return last;
      try {
        const renewed = await request(held, last, nowMs);
        if (renewed !== undefined) return renewed;
      } catch (error) {
        if (!(error instanceof UpstreamError) || last === undefined || isOver(last, now().getTime())) throw error;
        log.warn({ err: error, notAfter: new Date(last.notAfterMs).toISOString() }, "the identity that this CA has at the one above it could not be renewed; it stays in use");
        return last;
      }
      if (attempt >= maxAttempts) throw new UpstreamError("upstream_identity", "other replicas keep changing how this CA is known to the one above it; try again");
    }
  }

  /** @returns undefined where another replica was faster */
  async function request(held: HeldMembership, last: Renewable | undefined, nowMs: number): Promise<UpstreamIdentity | undefined> {
    const { membership } = held;
    if (membership.request === undefined) {
      await memberships.swap({ ...membership, request: newRequest() }, held);
      return undefined;
    }
    const { key, csr, idempotencyKey } = membership.request;
    const { request: _asked, ...rest } = membership;
    const above = parent(membership);
    try {
      const issued = await above.certify({ csr, attestation: attestation(membership, last, Buffer.from(csr, "base64"), nowMs), ...holds() }, idempotencyKey);
      check(issued, key, above.trustDomain, nowMs);
      const next = await memberships.swap({ ...rest, identity: { chain: issued.chain, key } }, held);
      log.info({ spiffeId: issued.spiffeId, notAfter: issued.notAfter }, "this CA has an identity at the one above it");
      return identityOf(next.membership);
    } catch (error) {
      // The same would be declined again: the next attempt has a key of its own.
      if (isDeclined(error)) await memberships.swap(rest, held);
      throw error;
    }
  }

  /** What is taken for our identity must be one of that trust domain, for our key. */
  function check({ chain: pem }: IssuedCertificate, keyPem: string, trustDomain: string, nowMs: number): void {
    try {
      const chain = decodePem(pem, "CERTIFICATE");
      const { leaf } = verifySvid({ chain, bundles: new Map([[trustDomain, { trustDomain, x509Authorities: anchors(), jwtAuthorities: [] }]]), nowMs, purpose: "client" });
      if (createPublicKey(createPrivateKey(keyPem)).equals(leaf.publicKey)) return;
      throw new UpstreamError("upstream_answer", "the CA above this one certified another key than the one that was sent");
    } catch (cause) {
      if (!(cause instanceof PkiError)) throw cause;
      throw new UpstreamError("upstream_answer", `the identity that the CA above this one gave does not hold (${cause.code}): ${cause.message}; compare the clocks`, { cause });
    }
  }

  return { current: () => (running ??= obtain().finally(() => (running = undefined))) };
}

type Renewable = UpstreamIdentity & { readonly renewAtMs: number };

/** While it is valid by its key alone; from then on by the token, with the key's word that it is still us. */
function attestation({ token, parentTrustDomain }: Membership, last: Renewable | undefined, csr: Uint8Array, nowMs: number): Attestation {
  if (last === undefined) return { type: "join-token", token };
  const proof = encodeRenewalProof({ chain: last.chain, privateKey: last.privateKey, csr, audience: parentTrustDomain, nowMs });
  return isOver(last, nowMs) ? { type: "join-token", token, proof } : { type: "svid", proof };
}

function identityOf({ identity }: Membership): Renewable | undefined {
  if (identity === undefined) return undefined;
  const chain = decodePem(identity.chain, "CERTIFICATE");
  const { serialNumber, notBeforeMs, notAfterMs } = parseCertificate(chain[0] ?? new Uint8Array());
  return { chain, privateKey: createPrivateKey(identity.key), serialNumber, notAfterMs, renewAtMs: notBeforeMs + renewPart * (notAfterMs - notBeforeMs) };
}

function newRequest(): NonNullable<Membership["request"]> {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    key: privateKey.export({ format: "pem", type: "pkcs8" }).toString(), csr: Buffer.from(encodeCsr({ privateKey })).toString("base64"), idempotencyKey: randomUUID(),
  };
}

/** A certificate is valid to the end of the second that it names. (RFC 5280 4.1.2.5) */
function isOver({ notAfterMs }: UpstreamIdentity, nowMs: number): boolean {
  return nowMs >= notAfterMs + 1000;
}

const renewPart = 0.5;
/** A request is kept, then sent; of several replicas each may be late once. */
const maxAttempts = 8;
