import type { AttestorConfig, AttestationRule } from "../config/attestors.ts";
import type { SpiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import { renderDnsName, renderId, TemplateError, type Facts } from "./name-template.ts";

/** What a platform has shown to be true of who asks. */
export interface Evidence {
  readonly facts: Facts;
  /** The part that the audit log keeps. */
  readonly record: Readonly<Record<string, string>>;
  /** Evidence that is good once: by what it is known again, and how long that has to be remembered. */
  readonly once?: { readonly nonce: string; readonly untilMs: number };
}

export interface MappedNames {
  readonly spiffeId: SpiffeId;
  readonly dnsNames: readonly string[];
}

/**
 * Names the workload by the first rule that fits.
 * @throws {Refusal} attestation_refused
 */
export function mapNames({ name, rules }: Pick<AttestorConfig, "name" | "rules">, facts: Facts): MappedNames {
  const rule = rules.find(({ when }) => when.every((condition) => holds(condition, facts)));
  if (rule === undefined) {
    const wanted = [...new Set(rules.flatMap(({ when }) => when.filter((one) => !holds(one, facts)).map(({ fact }) => fact)))];
    throw new Refusal("attestation_refused", `The evidence holds, but no rule of the attestor "${name}" is for it: it would need another ${wanted.join(", ")}. Ask the CA's operator for a rule.`);
  }
  try {
    return { spiffeId: renderId(rule.spiffeId, facts), dnsNames: [...new Set(rule.dnsNames.map((template) => renderDnsName(template, facts)))] };
  } catch (cause) {
    if (cause instanceof TemplateError) throw new Refusal("attestation_refused", `The evidence holds, but the attestor "${name}" makes no name of it: ${cause.message}.`, { cause });
    throw cause;
  }
}

/** Facts of what there is of these; what is undefined or empty is none. */
export function factsOf(values: Readonly<Record<string, string | readonly string[] | undefined>>): Facts {
  return new Map(Object.entries(values).flatMap(([name, value]) => {
    const list = value === undefined || value === "" ? [] : typeof value === "string" ? [value] : value;
    return list.length === 0 ? [] : [[name, list] as const];
  }));
}

/** For the audit log: what there is of these, each within bounds. */
export function recordOf(values: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [[name, value.slice(0, maxRecordedLength)]])));
}

function holds({ fact, values }: AttestationRule["when"][number], facts: Facts): boolean {
  const found = facts.get(fact) ?? [];
  return found.some((one) => values.some((value) => (value.endsWith("*") ? one.startsWith(value.slice(0, -1)) : one === value)));
}

const maxRecordedLength = 256;
