import type { Log } from "../log.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { AuthorityKeeper } from "./keeper.ts";
import type { AuthoritySigners } from "./signers.ts";

export interface OutsideKeysDeps {
  readonly keeper: Pick<AuthorityKeeper, "current" | "tick">;
  readonly signers: Pick<AuthoritySigners, "check">;
  readonly log: Log;
}

/**
 * What is due at the start. Where the root's key is outside, that may take minutes or fail, and nobody waits for it as long as
 * the issuer in the store can serve.
 */
export async function lookAfterKeys({ keeper, certificateLifetimeMaxMs, now, ...deps }: OutsideKeysDeps & { readonly certificateLifetimeMaxMs: number; readonly now: () => Date }): Promise<void> {
  const { issuer } = keeper.current();
  void checkOutsideKeys({ keeper, ...deps });
  const servesUntilMs = issuer?.certificate.notAfterMs ?? 0;
  const ticked = keeper.tick();
  if (outsideOf(keeper).length === 0 || servesUntilMs < now().getTime() + certificateLifetimeMaxMs) await ticked;
}

/** Asks for all keys outside at once; never rejects. */
export async function checkOutsideKeys({ keeper, signers, log }: OutsideKeysDeps): Promise<void> {
  await Promise.all(outsideOf(keeper).map((row) =>
    signers.check(row).catch((err: unknown) => log.error({ err, authority: row.id }, "the authority's key could not be checked"))));
}

function outsideOf(keeper: Pick<AuthorityKeeper, "current">): readonly AuthorityRow[] {
  return keeper.current().rows.filter(({ key, state }) => state !== "retired" && (key.kind === "kms" || key.kind === "pkcs11"));
}
