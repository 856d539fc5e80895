import type { Identity, Trust } from "../identity/source.ts";
import { encodeField, encodeMap } from "../../ca/pki/protobuf.ts";

/**
 * The X509SVIDResponse: our one SVID with the bundle of its trust domain, and the bundles of other domains apart.
 * @source SPIFFE Workload API sections 5.1 and 5.2.1: DER, concatenated, leaf first, the key as unencrypted PKCS#8
 */
export function encodeX509Svids(
  { id, chain, privateKey }: Pick<Identity, "id" | "chain" | "privateKey">, { trustDomain, bundles }: Pick<Trust, "trustDomain" | "bundles">,
): Uint8Array {
  const svid = Buffer.concat([
    encodeField(1, id.uri),
    encodeField(2, Buffer.concat(chain)),
    encodeField(3, privateKey.export({ format: "der", type: "pkcs8" })),
    encodeField(4, anchors(bundles, trustDomain)),
  ]);
  return Buffer.concat([encodeField(1, svid), encodeMap(3, byId(bundles).filter(([id]) => id !== idOf(trustDomain)))]);
}

/** The X509BundlesResponse: every bundle under the ID of its trust domain, the own one among them. @source SPIFFE Workload API section 5.2.2 */
export function encodeX509Bundles({ bundles }: Pick<Trust, "bundles">): Uint8Array {
  return encodeMap(2, byId(bundles));
}

function byId(bundles: Trust["bundles"]): (readonly [id: string, anchors: Uint8Array])[] {
  return [...bundles.keys()].sort().map((trustDomain) => [idOf(trustDomain), anchors(bundles, trustDomain)]);
}

const idOf = (trustDomain: string): string => `spiffe://${trustDomain}`;

function anchors(bundles: Trust["bundles"], trustDomain: string): Uint8Array {
  return Buffer.concat((bundles.get(trustDomain)?.x509Authorities ?? []).map(({ der }) => der));
}
