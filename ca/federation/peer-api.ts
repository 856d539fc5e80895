import { paths } from "../contract/paths.ts";
import type { HeldRelationship } from "./documents.ts";
import { endpointId } from "./fetch-pinned.ts";

/**
 * Where the API of the Countersign CA behind a relationship is: named by an invitation, or found by an operator's `federation add`, which
 * says where its endpoint is and by which SPIFFE ID it is known; that it is Countersign it tells with its bundle. Whoever answers there
 * proves that ID before anything is sent.
 * @returns undefined where there is none
 */
export function peerApiUrl({ apiUrl, profile, endpointUrl, endpointSpiffeId, trustDomain, held }: HeldRelationship): string | undefined {
  if (apiUrl !== undefined) return apiUrl;
  if (profile !== "https_spiffe" || endpointSpiffeId !== endpointId(trustDomain) || held?.feedEpoch === undefined) return undefined;
  const { origin, pathname, search } = new URL(endpointUrl);
  return pathname === paths.bundle && search === "" ? origin : undefined;
}
