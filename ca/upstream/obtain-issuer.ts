import { createPublicKey, randomUUID, type KeyObject } from "node:crypto";
import type { IssuedIssuer, IssueIssuerRequest } from "../contract/issuers.ts";
import { parseCertificate, type Certificate } from "../pki/certificate.ts";
import { encodeCsr } from "../pki/csr.ts";
import { PkiError } from "../pki/errors.ts";
import { decodePem } from "../pki/pem.ts";
import { generatePrivateKey } from "../signer/software.ts";
import { isDeclined, UpstreamError } from "./errors.ts";
import type { Parent, UpstreamIdentity } from "./parent.ts";

/** An issuer that the CA above signed. */
export interface ObtainedIssuer {
  readonly certificate: Certificate;
  readonly privateKey: KeyObject;
  /** What stands between it and the root: the parent's intermediate, or nothing. */
  readonly above: readonly Certificate[];
}

export interface ObtainRequest {
  readonly trustDomain: string;
  readonly keyAlgorithm: "ec-p256" | "ec-p384";
  readonly issuerLifetimeMs: number;
}

/**
 * Has an issuer signed for a key that is made here. A request whose answer was lost is repeated as it was, so that no second issuer is signed
 * beside one that nobody holds; once it was answered, or declined, the next one has a new key.
 * @throws {UpstreamError} from the function it returns
 */
export function issuerObtainer({ trustDomain, keyAlgorithm, issuerLifetimeMs }: ObtainRequest) {
  let open: { readonly privateKey: KeyObject; readonly request: IssueIssuerRequest; readonly idempotencyKey: string } | undefined;

  return async function obtain(parent: Parent, identity: UpstreamIdentity, nowMs: number): Promise<ObtainedIssuer> {
    open ??= newRequest();
    const { privateKey, request, idempotencyKey } = open;
    try {
      const issued = await parent.signIssuer(request, identity, idempotencyKey);
      open = undefined;
      return readIssued(issued, trustDomain, privateKey, nowMs);
    } catch (error) {
      if (isDeclined(error)) open = undefined;
      throw error;
    }
  };

  function newRequest(): NonNullable<typeof open> {
    const privateKey = generatePrivateKey(keyAlgorithm);
    const csr = Buffer.from(encodeCsr({ privateKey })).toString("base64");
    return { privateKey, idempotencyKey: randomUUID(), request: { csr, profile: "countersign", trustDomain, lifetimeSeconds: Math.floor(issuerLifetimeMs / 1000) } };
  }
}

/**
 * Decides whether what was answered is the issuer that was asked for. Whether its path holds is tried out where the anchors are. Pure.
 * @throws {UpstreamError} upstream_answer
 */
export function readIssued({ chain }: Pick<IssuedIssuer, "chain">, trustDomain: string, privateKey: KeyObject, nowMs: number): ObtainedIssuer {
  try {
    const [certificate, ...above] = decodePem(chain, "CERTIFICATE").map(parseCertificate);
    if (certificate === undefined || above.length > maxAbove) throw refused(`its chain has ${above.length + 1} certificates`);
    if (!createPublicKey(privateKey).equals(certificate.publicKey)) throw refused("it is for another key than the one that was sent");
    const uris = certificate.subjectAltName?.uris ?? [];
    if (uris.length !== 1 || uris[0] !== `spiffe://${trustDomain}`) throw refused(`it names ${uris.join(", ") || "no trust domain"}, and this is ${trustDomain}`);
    if (certificate.basicConstraints?.certificateAuthority !== true) throw refused("it is no CA certificate");
    if (certificate.notBeforeMs > nowMs) {
      throw refused(`it begins at ${new Date(certificate.notBeforeMs).toISOString()}, and here it is ${new Date(nowMs).toISOString()}: one of the two clocks is wrong`);
    }
    return { certificate, privateKey, above };
  } catch (cause) {
    if (cause instanceof PkiError) throw refused(`it cannot be read: ${cause.message}`, cause);
    throw cause;
  }
}

function refused(why: string, cause?: unknown): UpstreamError {
  return new UpstreamError("upstream_answer", `the issuer that the CA above this one signed is not taken: ${why}`, { cause });
}

/** A root, an intermediate and the issuer is the deepest there is. */
const maxAbove = 1;
