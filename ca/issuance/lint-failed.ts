import type { DenialRecorder } from "../audit/denials.ts";
import type { Actor, AuditEvent } from "../audit/event.ts";
import { LintRefusal } from "../lint/rule.ts";

/** Audit entry of bytes that were not signed: what they were, and the rules they would have broken; never the bytes. */
export function lintFailed({ artefact, kind, failures }: LintRefusal, spiffeId?: string): AuditEvent {
  return { type: "lint.failed", artefact, kind, rules: failures, ...(spiffeId !== undefined && { spiffeId }) };
}

/** Does what may be refused by the lint, and writes such a refusal down before it passes it on. */
export type LintRecorder = <T>(work: () => T | Promise<T>, actor?: Actor) => Promise<T>;

/**
 * For what the CA signs by itself, authorities, CRLs and OCSP: it is tried again and again, or whenever a stranger asks, so the same
 * refusal is written once a minute.
 */
export function lintRecorder({ denials, now }: { readonly denials: Pick<DenialRecorder, "record">; readonly now: () => Date }): LintRecorder {
  const recordedAtMs = new Map<string, number>();

  function record(refusal: LintRefusal, actor: Actor): void {
    const key = JSON.stringify([actor, refusal.artefact, refusal.kind, refusal.failures.map(({ id }) => id)]);
    const nowMs = now().getTime();
    if (Math.abs(nowMs - (recordedAtMs.get(key) ?? -Infinity)) < againAfterMs) return;
    if (recordedAtMs.size >= maxKinds) recordedAtMs.clear();
    recordedAtMs.set(key, nowMs);
    denials.record(lintFailed(refusal), actor);
  }

  return async (work, actor = "system") => {
    try {
      return await work();
    } catch (error) {
      if (error instanceof LintRefusal) record(error, actor);
      throw error;
    }
  };
}

const againAfterMs = 60_000;
/** Of artefacts and rules that one of them breaks: a CA with so many faults is beyond counting. */
const maxKinds = 1000;
