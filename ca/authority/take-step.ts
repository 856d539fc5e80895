import type { Act } from "../store/acts.ts";
import type { Authorities } from "./authorities.ts";
import { authorityDraft, type AuthorityDraft, type ChangeOptions } from "./change.ts";
import type { AuthorityCraft } from "./craft.ts";
import { AuthorityError } from "./errors.ts";
import type { RotationStep } from "./plan-rotation.ts";

/**
 * Turns a step into the act that takes it, with whatever keys and certificates it needs.
 * @throws {AuthorityError | SignerError} when something cannot be made; nothing was stored
 */
export async function actOfStep(step: RotationStep, known: Authorities, craft: AuthorityCraft, options: Omit<ChangeOptions, "bundleSequence">): Promise<Act> {
  const draft = authorityDraft({ ...options, bundleSequence: Number(known.published.sequence) });
  await draftStep(draft, step, known, craft, options.nowMs);
  return draft.act();
}

async function draftStep(draft: AuthorityDraft, step: RotationStep, known: Authorities, craft: AuthorityCraft, nowMs: number): Promise<void> {
  const { rows } = known;
  const rowOf = (id: string) => {
    const row = rows.find((one) => one.id === id);
    if (row === undefined) throw new AuthorityError("authority_missing", `there is no authority ${id}; restore the store from a backup`);
    return row;
  };
  switch (step.kind) {
    case "prepare-root":
      return draft.create(await craft.root(rowOf(step.after), rows, nowMs));
    case "activate":
      draft.move(rowOf(step.authorityId), "active");
      if (step.replaces !== undefined) draft.move(rowOf(step.replaces), "retiring");
      return;
    case "replace-issuer":
      await craft.addIssuer(draft, rowOf(step.parentId), rows, nowMs);
      if (step.replaces !== undefined) draft.move(rowOf(step.replaces), "retiring");
      return;
    case "create-jwt-key":
      draft.create(craft.jwtKey(step.state, nowMs));
      if (step.state === "active" && step.replaces !== undefined) draft.move(rowOf(step.replaces), "retiring");
      return;
    case "retire":
      for (const id of step.authorityIds) draft.move(rowOf(id), "retired", { unusedOnly: true });
      return;
  }
}
