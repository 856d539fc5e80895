import { Refusal } from "../refusal.ts";

declare const linted: unique symbol;
/** Bytes to be signed that passed the lint for what they are; signing takes nothing else (CERT-28). */
export type Linted<Artefact extends LintArtefact> = Uint8Array & { readonly [linted]: Artefact };

/** What is signed here, and so linted. */
export type LintArtefact = "certificate" | "crl" | "ocsp-response" | "jwt-svid";

/** One rule: one statement of one source about the bytes that will be signed. */
export interface LintRule<Subject, Context extends { readonly kind: string }> {
  /** Stable: audit entries and tests name it, e.g. `CERT-05`. */
  readonly id: string;
  /** Where the rule is written down. */
  readonly citation: string;
  readonly appliesTo: "all" | readonly Context["kind"][];
  /** @returns what is wrong, in a few words and without the bytes; undefined when the rule holds */
  readonly check: (subject: Subject, context: Context) => string | undefined;
}

/** A rule that was broken. */
export interface LintFailure {
  readonly id: string;
  readonly citation: string;
  readonly detail: string;
}

/**
 * What would have been signed breaks rules. Nothing was signed: it is a fault of the CA or of its settings, never the
 * requester's alone.
 */
export class LintRefusal extends Refusal {
  readonly artefact: LintArtefact;
  /** For people: which kind of the artefact, e.g. `workload`. */
  readonly kind: string;
  readonly failures: readonly LintFailure[];

  constructor(artefact: LintArtefact, kind: string, failures: readonly LintFailure[], options?: { cause?: unknown }) {
    const rules = failures.map(({ id, citation, detail }) => `${id} (${citation}): ${detail}`).join("; ");
    super("lint_failed", `The ${kind} ${artefact} would break ${rules}. Nothing was signed; this is a fault of the CA, please report it.`, options);
    this.artefact = artefact;
    this.kind = kind;
    this.failures = failures;
  }
}

/** Every rule that applies and is broken, in the order of the rules; a check that cannot read what it needs has failed. */
export function failuresOf<Subject, Context extends { readonly kind: string }>(rules: readonly LintRule<Subject, Context>[], subject: Subject, context: Context): LintFailure[] {
  const failures: LintFailure[] = [];
  for (const { id, citation, appliesTo, check } of rules) {
    if (appliesTo !== "all" && !appliesTo.includes(context.kind)) continue;
    const detail = checked(() => check(subject, context));
    if (detail !== undefined) failures.push({ id, citation, detail });
  }
  return failures;
}

function checked(check: () => string | undefined): string | undefined {
  try {
    return check();
  } catch (error) {
    return `it cannot be judged: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Whether both are there and equal. */
export function same(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one !== undefined && other !== undefined && Buffer.compare(one, other) === 0;
}
