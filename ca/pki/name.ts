import { tag } from "./der-tag.ts";
import { contentOf, DerReader, readDer, readOid, type DerElement } from "./der.ts";
import { PkiError } from "./errors.ts";
import { nameOid } from "./oid.ts";

/** One attribute of a distinguished name. */
export interface NameAttribute {
  /** Attribute type, dotted. */
  readonly type: string;
  /** The value; undefined if it is of a string type we do not read (only UTF8String, PrintableString, IA5String are). */
  readonly text: string | undefined;
}

/**
 * Checks that an element has the structure of a Name; values are not looked at.
 * @returns true if the name has no part at all
 * @throws {PkiError} der_malformed
 * @source RFC 5280 section 4.1.2.4
 */
export function parseName(element: DerElement): { readonly empty: boolean } {
  const name = new DerReader(element);
  const empty = name.finished;
  while (!name.finished) {
    const relativeName = new DerReader(name.next(tag.set));
    if (relativeName.finished) throw new PkiError("der_malformed", "a relative distinguished name is empty");
    while (!relativeName.finished) {
      const attribute = new DerReader(relativeName.next(tag.sequence));
      attribute.next(tag.oid);
      attribute.next();
      attribute.done();
    }
  }
  return { empty };
}

/** Splits a Name (DER, already checked) into its relative distinguished names, outermost first. */
export function relativeNamesOf(nameDer: Uint8Array): NameAttribute[][] {
  const relativeNames: NameAttribute[][] = [];
  const name = new DerReader(readDer(nameDer, tag.sequence));
  while (!name.finished) {
    const attributes: NameAttribute[] = [];
    const relativeName = new DerReader(name.next(tag.set));
    while (!relativeName.finished) {
      const parts = new DerReader(relativeName.next(tag.sequence));
      const type = readOid(parts.next(tag.oid));
      attributes.push({ type, text: textOf(parts.next()) });
    }
    relativeNames.push(attributes);
  }
  return relativeNames;
}

/** The e-mail addresses inside a Name (DER), an old custom that name constraints still have to see. @source RFC 5280 4.2.1.6 */
export function emailsOfName(nameDer: Uint8Array): (string | undefined)[] {
  return relativeNamesOf(nameDer).flat().filter(({ type }) => type === nameOid.emailAddress).map(({ text }) => text);
}

function textOf(value: DerElement): string | undefined {
  if (value.tag !== tag.utf8String && value.tag !== tag.printableString && value.tag !== tag.ia5String) return undefined;
  try {
    return strictUtf8.decode(contentOf(value));
  } catch {
    return undefined;
  }
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
