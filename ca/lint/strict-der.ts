import { tag } from "../pki/der-tag.ts";
import {
  contentOf, DerReader, encodedOf, readBitString, readBoolean, readDer, readIntegerBytes, readNull, readOctetString, readOid, type DerElement,
} from "../pki/der.ts";

/**
 * What of an encoding is not DER, looking into every element and into the values of extensions.
 * @returns undefined when all of it is
 * @source X.690 sections 8, 10 and 11
 */
export function strictDerFault(bytes: Uint8Array): string | undefined {
  try {
    walk(readDer(bytes), 0);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return undefined;
}

function walk(element: DerElement, depth: number): void {
  if (depth > maxDepth) throw new Error(`elements nested more than ${maxDepth} deep`);
  switch (element.tag) {
    case tag.boolean: readBoolean(element); return;
    case tag.integer: case tag.enumerated: readIntegerBytes(element, element.tag); return;
    case tag.bitString: readBitString(element); return;
    case tag.null: readNull(element); return;
    case tag.oid: readOid(element); return;
  }
  if ((element.tag & constructed) === 0) return;
  const reader = new DerReader(element);
  let previous: DerElement | undefined;
  const children: DerElement[] = [];
  while (!reader.finished) {
    const child = reader.next();
    walk(child, depth + 1);
    if (element.tag === tag.set && previous !== undefined && Buffer.compare(encodedOf(previous), encodedOf(child)) > 0) {
      throw new Error("a SET OF is not sorted");
    }
    previous = child;
    children.push(child);
  }
  if (element.tag === tag.sequence) walkExtension(children, depth);
}

/** OID, perhaps a BOOLEAN, OCTET STRING: an Extension, whose value is DER too and whose critical FALSE is not written. */
function walkExtension([oid, ...rest]: readonly DerElement[], depth: number): void {
  const value = rest.at(-1);
  if (oid?.tag !== tag.oid || value?.tag !== tag.octetString || rest.length > 2) return;
  const [critical] = rest;
  if (critical?.tag === tag.boolean && !readBoolean(critical)) throw new Error("critical FALSE, the default, is written");
  const inner = readDer(readOctetString(value));
  walk(inner, depth + 1);
  if (inner.tag === tag.sequence && readOid(oid) === basicConstraints && contentOf(inner)[0] === tag.boolean && contentOf(inner)[2] === 0) {
    throw new Error("cA FALSE, the default, is written");
  }
}

const constructed = 0x20;
const basicConstraints = "2.5.29.19";
/** A certificate is about ten deep. */
const maxDepth = 32;
