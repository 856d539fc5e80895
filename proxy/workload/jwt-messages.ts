import { encodeJwtBundle, type Bundle } from "../../ca/pki/bundle.ts";
import type { Trust } from "../identity/source.ts";
import { decodeFields, decodeText, encodeDouble, encodeField, encodeMap, encodeVarint } from "../../ca/pki/protobuf.ts";

/** JWTSVIDRequest. @throws {ProtobufError} */
export function decodeJwtSvidRequest(message: Uint8Array): { readonly audience: readonly string[]; readonly spiffeId: string } {
  const fields = decodeFields(message);
  return { audience: (fields.get(1) ?? []).map(decodeText), spiffeId: decodeText(fields.get(2)?.at(-1)) };
}

/** ValidateJWTSVIDRequest. @throws {ProtobufError} */
export function decodeValidateRequest(message: Uint8Array): { readonly audience: string; readonly token: string } {
  const fields = decodeFields(message);
  return { audience: decodeText(fields.get(1)?.at(-1)), token: decodeText(fields.get(2)?.at(-1)) };
}

/** JWTSVIDResponse with our one identity's token. */
export function encodeJwtSvids(spiffeId: string, token: string): Uint8Array {
  return encodeField(1, Buffer.concat([encodeField(1, spiffeId), encodeField(2, token)]));
}

/** JWTBundlesResponse: a JWK Set for each trust domain, with keys for JWT-SVIDs alone. @source SPIFFE Workload API section 6.2.2 */
export function encodeJwtBundles({ bundles }: Pick<Trust, "bundles">): Uint8Array {
  const sets = [...bundles.keys()].sort().map((name) => [`spiffe://${name}`, Buffer.from(encodeJwtBundle(bundles.get(name) as Bundle))] as const);
  return encodeMap(1, sets);
}

/** ValidateJWTSVIDResponse with every claim. */
export function encodeValidated(spiffeId: string, claims: Readonly<Record<string, unknown>>): Uint8Array {
  return Buffer.concat([encodeField(1, spiffeId), encodeField(2, encodeStruct(claims))]);
}

/** @source google/protobuf/struct.proto; as deep as the claims, which `parseStrictObject` bounds */
function encodeStruct(value: object): Uint8Array {
  return encodeMap(1, Object.entries(value).map(([name, member]) => [name, encodeValue(member)] as const));
}

function encodeValue(value: unknown): Uint8Array {
  if (typeof value === "number") return encodeDouble(2, value);
  if (typeof value === "string") return encodeField(3, value);
  if (typeof value === "boolean") return encodeVarint(4, value ? 1 : 0);
  if (Array.isArray(value)) return encodeField(6, Buffer.concat(value.map((one) => encodeField(1, encodeValue(one)))));
  return typeof value === "object" && value !== null ? encodeField(5, encodeStruct(value)) : encodeVarint(1, 0);
}
