import { createPrivateKey } from "node:crypto";
import { acknowledgedText, type HeldBundle } from "../contract/acknowledgements.ts";
import { paths } from "../contract/paths.ts";
import { decodePem } from "../pki/pem.ts";
import { encodeRenewalProof } from "../pki/renewal-proof.ts";
import type { HeldRelationship } from "./documents.ts";
import { askEndpoint, type EndpointProof } from "./endpoint.ts";
import { FederationError } from "./errors.ts";
import { peerApiUrl } from "./peer-api.ts";

/** What speaks for this CA to others, PEM. */
export interface Credentials {
  readonly key: string;
  readonly chain: string;
}

export interface PeerAcknowledgerDeps {
  readonly credentials: () => Credentials | Promise<Credentials>;
  readonly proofOf: (relationship: HeldRelationship) => Promise<EndpointProof>;
  readonly now: () => Date;
}

/**
 * Makes what tells peers which of their bundles is held here: the API of the CA that published it, known as its endpoint is.
 * @returns what throws {FederationError} when an invited peer does not take it; one that an operator added here may not know us yet
 */
export function peerAcknowledger({ credentials, proofOf, now }: PeerAcknowledgerDeps): (relationship: HeldRelationship) => Promise<void> {
  /** Of those that an operator added here: until when none is told again what it did not take. */
  const deaf = new Map<string, number>();
  return async (relationship) => {
    const { held, trustDomain } = relationship;
    const [apiUrl, sequence] = [peerApiUrl(relationship), held?.parsed.sequence];
    if (apiUrl === undefined || held?.feedEpoch === undefined || sequence === undefined || (deaf.get(trustDomain) ?? 0) > now().getTime()) return;
    const { key, chain } = await credentials();
    const bundleHeld: HeldBundle = { feedEpoch: held.feedEpoch, bundleSequence: String(sequence) };
    const proof = encodeRenewalProof({
      chain: decodePem(chain, "CERTIFICATE"), privateKey: createPrivateKey(key), csr: Buffer.from(acknowledgedText(bundleHeld)), audience: trustDomain,
      nowMs: now().getTime(), purpose: "acknowledgement",
    });
    const { status } = await askEndpoint({
      method: "POST", url: new URL(paths.federationAcknowledgements, apiUrl), body: JSON.stringify({ ...bundleHeld, proof }), proof: await proofOf(relationship),
    });
    deaf.delete(trustDomain);
    if (status !== 204 && relationship.apiUrl === undefined) deaf.set(trustDomain, now().getTime() + deafMs);
    else if (status !== 204) throw new FederationError("endpoint_answer", `${trustDomain} did not take the acknowledgement (status ${status})`, { status });
  };
}

/** Whoever added one side is soon to add the other. */
const deafMs = 5 * 60_000;
