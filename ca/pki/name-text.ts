import { relativeNamesOf } from "./name.ts";
import { nameOid } from "./oid.ts";

/** A name for people, in the order it is written in; not RFC 4514, since nothing may parse it. */
export function describeName(name: Uint8Array): string {
  return relativeNamesOf(name)
    .map((attributes) => attributes.map(({ type, text }) => `${attributeNames[type] ?? type}=${text ?? "?"}`).join("+"))
    .join(", ");
}

const attributeNames: Readonly<Record<string, string>> = {
  [nameOid.commonName]: "CN",
  [nameOid.serialNumber]: "serialNumber",
  [nameOid.country]: "C",
  [nameOid.locality]: "L",
  [nameOid.stateOrProvince]: "ST",
  [nameOid.organization]: "O",
  [nameOid.organizationalUnit]: "OU",
  [nameOid.domainComponent]: "DC",
  [nameOid.emailAddress]: "emailAddress",
};
