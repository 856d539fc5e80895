import { createPrivateKey, createPublicKey, generateKeyPair, randomUUID, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import type { HeldBundle } from "../../ca/contract/acknowledgements.ts";
import type { Attestation } from "../../ca/contract/attestation.ts";
import type { IssueRequest } from "../../ca/contract/certificates.ts";
import { encodeCsr } from "../../ca/pki/csr.ts";
import type { KeyAlgorithm } from "../../ca/pki/key.ts";
import { encodeRenewalProof } from "../../ca/pki/renewal-proof.ts";
import type { Evidence } from "../attest/evidence.ts";
import type { StoredRequest } from "./keystore.ts";
import { isExpired, type Identity } from "./source.ts";

/** A request for a certificate with the key it is for. Sent again unchanged, it gives the same certificate. */
export interface PreparedRequest {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly request: IssueRequest;
  readonly idempotencyKey: string;
  /** By what; a platform's by its type. */
  readonly attestation: "join-token" | "svid" | "join-token with proof" | "kubernetes" | "oidc" | "x509" | "aws-iam";
  readonly preparedAtMs: number;
}

/** What a request is made from. */
export interface RequestInput {
  readonly keyAlgorithm: KeyAlgorithm;
  readonly lifetimeSeconds: number | undefined;
  readonly trustDomain: string;
  /** The join token, as long as it is known. */
  readonly token: string | undefined;
  /** What the platform says, in place of a join token. */
  readonly evidence?: Evidence | undefined;
  /** The last identity, expired or not; undefined before the first. */
  readonly last: Identity | undefined;
  /** Asks by the platform's evidence although the last identity is valid. */
  readonly afresh?: boolean;
  /** The bundle in force; left out for a CA that has not said which feed it is of. */
  readonly holds?: HeldBundle | undefined;
  readonly nowMs: number;
}

/**
 * Makes a new key and asks for a certificate for it: by the current certificate while it is valid, else by the platform's evidence, or by
 * the join token, together with a proof by the last key if there is one (the CA takes a redeemed token only so).
 * @returns undefined when nothing is left to attest with: the certificate has expired and there is no token
 * @throws {EvidenceError}
 */
export async function prepareRequest(input: RequestInput): Promise<PreparedRequest | undefined> {
  const { keyAlgorithm, lifetimeSeconds, token, evidence, last, afresh = false, nowMs, trustDomain, holds } = input;
  const renewing = last !== undefined && !isExpired(last, nowMs) && !(afresh && evidence !== undefined);
  if (!renewing && evidence === undefined && token === undefined) return undefined;
  const privateKey = await generateKey(keyAlgorithm);
  const csr = encodeCsr({ privateKey });
  const [attestation, name] = renewing || evidence === undefined ? attestationOf(renewing, token ?? "", last && proofBy(last)) : platformAttestation(await evidence.attest(csr));
  return {
    privateKey, publicKey: createPublicKey(privateKey), attestation: name, preparedAtMs: nowMs, idempotencyKey: randomUUID(),
    request: { csr: Buffer.from(csr).toString("base64"), attestation, ...(lifetimeSeconds !== undefined && { lifetimeSeconds }), ...holds },
  };

  function proofBy({ chain, privateKey: by }: Identity): string {
    return encodeRenewalProof({ chain, privateKey: by, csr, audience: trustDomain, nowMs });
  }
}

/** A first request as it was before a restart: unchanged, it gives the certificate that the token has paid for already. */
export function restoreRequest(
  { privateKeyPem, csr, idempotencyKey }: Pick<StoredRequest, "privateKeyPem" | "csr" | "idempotencyKey">,
  { token, lifetimeSeconds, nowMs }: { readonly token: string } & Pick<RequestInput, "lifetimeSeconds" | "nowMs">,
): PreparedRequest {
  const privateKey = createPrivateKey(privateKeyPem);
  return {
    privateKey, publicKey: createPublicKey(privateKey), attestation: "join-token", preparedAtMs: nowMs, idempotencyKey,
    request: { csr, attestation: { type: "join-token", token }, ...(lifetimeSeconds !== undefined && { lifetimeSeconds }) },
  };
}

function platformAttestation(attestation: Attestation): [Attestation, PreparedRequest["attestation"]] {
  if (attestation.type === "operator") throw new TypeError("a platform is no operator");
  return [attestation, attestation.type];
}

function attestationOf(renewing: boolean, token: string, proof: string | undefined): [Attestation, PreparedRequest["attestation"]] {
  if (proof === undefined) return [{ type: "join-token", token }, "join-token"];
  return renewing ? [{ type: "svid", proof }, "svid"] : [{ type: "join-token", token, proof }, "join-token with proof"];
}

async function generateKey(algorithm: KeyAlgorithm): Promise<KeyObject> {
  switch (algorithm) {
    case "ec-p256": return (await generate("ec", { namedCurve: "P-256" })).privateKey;
    case "ec-p384": return (await generate("ec", { namedCurve: "P-384" })).privateKey;
    case "ed25519": return (await generate("ed25519", {})).privateKey;
    case "rsa-2048": return (await generate("rsa", { modulusLength: 2048 })).privateKey;
    case "rsa-3072": return (await generate("rsa", { modulusLength: 3072 })).privateKey;
    case "rsa-4096": return (await generate("rsa", { modulusLength: 4096 })).privateKey;
  }
}

const generate = promisify(generateKeyPair);
