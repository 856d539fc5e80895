import type { SpiffeId } from "./pki/spiffe-id.ts";
import { Refusal } from "./refusal.ts";

/** Whether a role is bound to this ID; a promise only when what is known of roles is too old. */
export type HasRole = (id: SpiffeId) => boolean | Promise<boolean>;

/**
 * Whether this API caller may act on an ID that has a role of its own: by vouching for it, it would make itself what the ID is; by
 * revoking its certificates or deleting its join tokens, it would lock out who is to hold it in check.
 * @param hasRole  whether one is bound to the ID
 * @param what     what the caller would do, as in "may not ..."
 * @throws {Refusal} forbidden
 */
export function checkPrivilege(hasRole: boolean, { name, role }: { readonly name: string; readonly role: string }, id: SpiffeId, what: string): undefined {
  if (!hasRole || role === "admin") return;
  throw new Refusal(
    "forbidden",
    `The caller "${name}" may not ${what} ${id.uri}: a role is bound to this ID ("countersign operator list"), so only an admin may.`,
  );
}
