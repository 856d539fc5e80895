import { encodeEntry } from "./audit/event.ts";
import { resealAuthorityKey } from "./authority/active-issuer.ts";
import { logKeyName, logOrigin } from "./first-start.ts";
import { SignerError } from "./signer/errors.ts";
import { resealMembership } from "./upstream/membership.ts";
import { kmsKeyOf } from "./signer/kms-sealing.ts";
import type { Sealing } from "./signer/sealing.ts";
import { StoreError } from "./store/errors.ts";
import type { Store } from "./store/store.ts";

export interface ResealRequest {
  /** Open and not yet unlocked. No CA should run on it: one that does can seal nothing any more until it is started again. */
  readonly store: Store;
  readonly from: Sealing;
  readonly to: Sealing;
  /** The new sealing key, where KMS wraps it. */
  readonly wrapped?: string;
  readonly nowMs: number;
}

/**
 * Seals every private key of the store under another sealing key, in one commit with its audit entry: if we die before, all is as it was,
 * and afterwards only the new key opens it. Each key is tried under the new one before anything is written.
 * @returns how many keys were sealed anew
 * @throws {SignerError} sealing_key_wrong | sealed_data_altered | sealed_format_unknown
 * @throws {StoreError} sealing_superseded where a CA wrote meanwhile; store_unavailable where there is no CA, or a ceremony waits for a key that is sealed
 */
export async function reseal({ store, from, to, wrapped, nowMs }: ResealRequest): Promise<number> {
  // Before all that is read: whatever is written from here on has the commit refused.
  const logSize = (await store.checkpoint())?.size ?? 0;
  const state = await store.state();
  if (state === undefined) throw new StoreError("store_unavailable", "There is no CA in the store. Is --data-dir or COUNTERSIGN_STORE right?");
  const waiting = (await store.ceremonies({ limit: maxCeremonies })).find(({ closedAtMs, sealedPrivateKey }) => closedAtMs === undefined && sealedPrivateKey !== undefined);
  if (waiting !== undefined) {
    throw new StoreError("store_unavailable", `The request ${waiting.id.slice(0, 20)} to an offline key waits for its answer with a sealed key: import the answer, or withdraw it, first.`);
  }
  const privateKeyPkcs8 = from.unseal(logKeyName, state.sealedLogKey);
  const sealedLogKey = to.seal(logKeyName, privateKeyPkcs8);
  if (Buffer.compare(to.unseal(logKeyName, sealedLogKey), privateKeyPkcs8) !== 0) throw new SignerError("sealed_data_altered", "the new sealing key does not open what it sealed; nothing was changed");
  const authorities = (await store.authorities()).flatMap((row) => (row.key.kind === "sealed" ? [{ id: row.id, sealed: resealAuthorityKey(row.id, row.key.sealed, from, to) }] : []));
  const keys = authorities.length + 1;
  const place = wrapped === undefined ? ({ sealing: "key" } as const) : ({ sealing: "kms", kmsKey: kmsKeyOf(wrapped) } as const);
  await store.unlock({ origin: logOrigin(state.trustDomain), privateKeyPkcs8 });
  await store.commit({
    kind: "reseal", logSize, sealedLogKey, wrappedSealingKey: wrapped ?? "", authorities,
    entries: [encodeEntry({ type: "sealing.changed", ...place, keys }, "system", nowMs)],
  });
  // If we die before this, how this CA is known to the one above it is lost, and a new string of that one's is needed.
  return (await resealMembership(store, from, to, nowMs)) ? keys + 1 : keys;
}

/** Open ones are the newest. */
const maxCeremonies = 1000;
