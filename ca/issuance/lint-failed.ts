import type { AuditEvent } from "../audit/event.ts";
import type { LintRefusal } from "../lint/rule.ts";

/** Audit entry of bytes that were not signed: what they were, and the rules they would have broken; never the bytes. */
export function lintFailed({ artefact, kind, failures }: LintRefusal, spiffeId?: string): AuditEvent {
  return { type: "lint.failed", artefact, kind, rules: failures, ...(spiffeId !== undefined && { spiffeId }) };
}
