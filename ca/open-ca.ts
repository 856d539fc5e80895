import { AuthorityError } from "./authority/errors.ts";
import type { CaConfig } from "./config/config.ts";
import { firstStart, logKeyName, logOrigin, type FirstStart } from "./first-start.ts";
import { SignerError } from "./signer/errors.ts";
import type { Kms } from "./signer/kms.ts";
import { unwrapSealingKey, wrapNewSealingKey } from "./signer/kms-sealing.ts";
import { loadSealing, type Sealing } from "./signer/sealing.ts";
import { storeSealedAs } from "./sealed-store.ts";
import type { CaState } from "./store/rows/ca-state.ts";
import type { Store } from "./store/store.ts";

export interface OpenDeps {
  readonly config: CaConfig;
  /** Open and not yet unlocked. */
  readonly store: Store;
  readonly kms: Kms;
  readonly now: () => Date;
  /** First start only: called with the admin token before it is committed. */
  readonly saveAdminToken?: (token: string) => void | Promise<void>;
}

export interface OpenedCa {
  readonly sealing: Sealing;
  readonly state: CaState;
  /** The one that was given, but that it takes no key under a seal that was replaced since. */
  readonly store: Store;
  readonly first: FirstStart | undefined;
}

/**
 * Fills an empty store or opens what is in it; either way the log can be written afterwards. A root whose key is outside is not
 * there yet after the first time.
 * @throws {SignerError} sealing_key_* | sealed_* | key_file_*, and what KMS says where it wraps the sealing key
 * @throws {AuthorityError} root_* | trust_domain_changed
 */
export async function openCa({ config, store, kms, now, saveAdminToken }: OpenDeps): Promise<OpenedCa> {
  const existing = await store.state();
  const made = existing === undefined ? await newSealing(config, kms) : undefined;
  const first = made && (await firstStart({ config, store, ...made, nowMs: now().getTime(), ...(saveAdminToken && { saveAdminToken }) }));
  const state = existing ?? (await store.state());
  if (state === undefined) throw new AuthorityError("authority_missing", "the store was filled and is empty again; look at the database");
  if (state.trustDomain !== config.trustDomain) {
    throw new AuthorityError(
      "trust_domain_changed",
      `this store belongs to the trust domain ${state.trustDomain} and cannot serve ${config.trustDomain}: every certificate carries it; ` +
        `set trustDomain back${(await store.authorities()).some(({ key }) => key.kind === "upstream") ? ", or rather upstreamFile, which names it: this CA runs under another one" : ""}, or start a new CA with a store of its own`,
    );
  }
  if (made !== undefined && first !== undefined) return { sealing: made.sealing, state, store: storeSealedAs(store, state), first };
  // Also after losing the race for the first start: the log is the winner's, and so are its keys.
  const sealing = await openSealing(config, state, kms);
  await store.unlock({ origin: logOrigin(state.trustDomain), privateKeyPkcs8: sealing.unseal(logKeyName, state.sealedLogKey) });
  return { sealing, state, store: storeSealedAs(store, state), first };
}

/**
 * What opens the keys in a store that is in use; the store knows whether KMS is needed for it.
 * @throws {SignerError} as openCa
 */
export async function openSealing(config: CaConfig, { wrappedSealingKey, trustDomain }: CaState, kms: Kms): Promise<Sealing> {
  if (wrappedSealingKey === undefined) return loadSealing(config, { create: false });
  try {
    return await unwrapSealingKey(kms, wrappedSealingKey, trustDomain);
  } catch (cause) {
    if (!(cause instanceof SignerError) || cause.code !== "signer_unavailable") throw cause;
    throw new SignerError("sealing_key_unavailable", `KMS does not unwrap the sealing key: ${cause.message}`, { cause });
  }
}

async function newSealing(config: CaConfig, kms: Kms): Promise<{ readonly sealing: Sealing; readonly wrappedSealingKey?: string }> {
  if (config.sealingKmsKey === undefined) return { sealing: loadSealing(config, { create: true }) };
  const { sealing, wrapped } = await wrapNewSealingKey(kms, config.sealingKmsKey, config.trustDomain);
  return { sealing, wrappedSealingKey: wrapped };
}
