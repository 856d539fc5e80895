import { fieldKind, kindOfName } from "../http/fields.ts";

/** A header or trailer field, looked at once however often a table refers to it. */
export interface Field {
  /** As sent; Latin-1, like the value. */
  readonly name: string;
  readonly value: string;
  /** The sender forbids compressing it. */
  readonly sensitive: boolean;
  /** What it is to a proxy, see `fieldKind`; `ordinary` for pseudo-headers. */
  readonly kind: number;
  readonly isPseudo: boolean;
  /** Name and value are made of what they may be made of. @source RFC 9113 section 8.2.1 */
  readonly isWellFormed: boolean;
  /** As tables and limits count it. @source RFC 7541 section 4.1 */
  readonly sizeBytes: number;
}

/** Makes a field, and looks at it. */
export function fieldOf(name: string, value: string, sensitive = false): Field {
  const isPseudo = name.charCodeAt(0) === colon;
  return {
    name, value, sensitive, isPseudo, sizeBytes: name.length + value.length + fieldOverhead,
    kind: isPseudo ? fieldKind.ordinary : kindOfName(name),
    isWellFormed: namePattern.test(name) && valuePattern.test(value),
  };
}

const colon = 58;
const fieldOverhead = 32;
/** Tokens of RFC 9110 5.6.2 in lower case. */
const namePattern = /^:?[!#$%&'*+.^_`|~0-9a-z-]+$/;
/** Neither controls nor blanks around it: in HTTP/1 they would end a line, or be taken off. */
const valuePattern = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;
