import { parseSpiffeId, type SpiffeId } from "../pki/spiffe-id.ts";

/** What an attestor's evidence says, by name: all values of each. */
export type Facts = ReadonlyMap<string, readonly string[]>;

/** A name with gaps, checked; made by `parseIdTemplate` or `parseDnsTemplate`. */
export interface NameTemplate {
  readonly text: string;
  readonly parts: readonly (string | Gap)[];
}

interface Gap {
  readonly fact: string;
  /** `{+fact}`: may be several segments (of a DNS name, labels). */
  readonly several: boolean;
}

/** A template that could mislead, or a fact that does not fit into one. The message never repeats a fact's value. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
}

/**
 * Reads the template of a SPIFFE ID, e.g. `spiffe://{trustDomain}/ns/{namespace}/sa/{serviceAccount}`. One ID comes of one set of facts
 * only: a gap is within one segment, a segment has one gap, and a gap for several segments (`{+repository}`) is the end.
 * @throws {TemplateError}
 * @source RFC 6570 section 1.2, for how `{x}` and `{+x}` differ
 */
export function parseIdTemplate(text: string, trustDomain: string, known?: readonly string[]): NameTemplate {
  const parts = splitTemplate(text, trustDomain, known);
  const [head] = parts;
  if (typeof head !== "string" || !head.startsWith(`spiffe://${trustDomain}/`)) throw new TemplateError(`it must begin with spiffe://{trustDomain}/, which is spiffe://${trustDomain}/`);
  checkGaps(parts, "/", "segment");
  const at = parts.findIndex((part) => typeof part !== "string" && part.several);
  if (at !== -1 && (at !== parts.length - 1 || !String(parts[at - 1]).endsWith("/"))) throw new TemplateError("a gap for several segments is the whole end of it, behind a slash");
  // Whatever is between the gaps stands in an ID as it is.
  parsedId(parts.map((part) => (typeof part === "string" ? part : "x")).join(""));
  return { text, parts };
}

/**
 * Reads the template of a DNS name, e.g. `{serviceAccount}.{namespace}.svc`; `{+name}`, of several labels, only at its beginning.
 * @throws {TemplateError}
 */
export function parseDnsTemplate(text: string, trustDomain: string, known?: readonly string[]): NameTemplate {
  const parts = splitTemplate(text, trustDomain, known);
  checkGaps(parts, ".", "label");
  const at = parts.findIndex((part) => typeof part !== "string" && part.several);
  if (at > 0 || (at === 0 && parts.length > 1 && !String(parts[1]).startsWith("."))) throw new TemplateError("a gap for several labels is the whole beginning of it");
  if (!dnsName.test(parts.map((part) => (typeof part === "string" ? part : "x")).join(""))) throw new TemplateError("what is between its gaps does not make a DNS name in lower case");
  return { text, parts };
}

/** @throws {TemplateError} when a fact is missing, has several values, or would say more than its place */
export function renderId({ text, parts }: NameTemplate, facts: Facts): SpiffeId {
  return parsedId(render(text, parts, facts, { form: segment, separator: "/", what: "segment of a SPIFFE ID (letters, digits, dot, dash, underscore)" }));
}

/** @throws {TemplateError} as `renderId` */
export function renderDnsName({ text, parts }: NameTemplate, facts: Facts): string {
  const name = render(text, parts, facts, { form: label, separator: ".", what: "label of a DNS name (lower-case letters, digits, dash)" });
  if (!dnsName.test(name)) throw new TemplateError(`"${text}" gives a DNS name that is too long`);
  return name;
}

interface Place {
  readonly form: RegExp;
  readonly separator: string;
  readonly what: string;
}

function render(text: string, parts: NameTemplate["parts"], facts: Facts, { form, separator, what }: Place): string {
  return parts.map((part) => {
    if (typeof part === "string") return part;
    const [value, ...more] = facts.get(part.fact) ?? [];
    if (value === undefined) throw new TemplateError(`"${text}" needs "${part.fact}", which the evidence does not have`);
    if (more.length > 0) throw new TemplateError(`"${text}" needs one "${part.fact}", and the evidence has ${more.length + 1}`);
    const pieces = part.several ? value.split(separator) : [value];
    if (pieces.length > maxPieces || !pieces.every((piece) => form.test(piece))) throw new TemplateError(`"${text}" takes "${part.fact}" as a ${what}, and its value is none`);
    return value;
  }).join("");
}

function splitTemplate(text: string, trustDomain: string, known: readonly string[] | undefined): NameTemplate["parts"] {
  const whole = text.replaceAll("{trustDomain}", trustDomain);
  if (whole.length > maxTemplateLength) throw new TemplateError(`it is longer than ${maxTemplateLength} characters`);
  const parts: (string | Gap)[] = [];
  let end = 0;
  for (const match of whole.matchAll(/\{(\+?)([A-Za-z0-9_.:/-]{1,128})\}/g)) {
    const [gap, plus, fact = ""] = match;
    if (known !== undefined && !known.includes(fact)) throw new TemplateError(`it has {${fact}}; there are ${known.join(", ")} and trustDomain`);
    if (match.index > end) parts.push(whole.slice(end, match.index));
    parts.push({ fact, several: plus === "+" });
    end = match.index + gap.length;
  }
  if (end < whole.length) parts.push(whole.slice(end));
  if (parts.some((part) => typeof part === "string" && /[{}]/.test(part))) throw new TemplateError("it has a brace that is not part of {name}");
  return parts;
}

/** With two gaps in one segment, `a-b` and `c` would make the same name as `a` and `b-c`. */
function checkGaps(parts: NameTemplate["parts"], separator: string, what: string): void {
  let open = false;
  for (const part of parts) {
    if (typeof part === "string") {
      if (part.includes(separator)) open = false;
    } else {
      if (open) throw new TemplateError(`a ${what} of it has two gaps: different values would make the same name`);
      open = true;
    }
  }
}

function parsedId(text: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (cause) {
    throw new TemplateError((cause as Error).message, { cause });
  }
}

const segment = /^(?!\.{1,2}$)[a-zA-Z0-9._-]+$/;
const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const dnsName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const maxTemplateLength = 1024;
/** Of a value for several segments; repositories and paths have two or three. */
const maxPieces = 16;
