import type { Log } from "../log.ts";
import type { HeldBundles } from "./bundles.ts";
import type { FollowedList } from "./follow.ts";
import type { Keystore, StoredIdentity, StoredRequest } from "./keystore.ts";
import type { HeldPolicy } from "./policies.ts";
import type { PreparedRequest } from "./request.ts";
import { toStored } from "./resume.ts";
import type { Identity } from "./source.ts";

/** Where an identity is from. */
export type Origin = Pick<StoredIdentity, "trustDomain" | "caUrl" | "bootstrapHash">;

/** What is kept for a restart. What cannot be written is in memory only, which the log and `error` say, and the proxy goes on. */
export interface Kept {
  identity(identity: Identity, bundles: HeldBundles): void;
  request(request: PreparedRequest): void;
  revocations(list: FollowedList): void;
  policy(policy: HeldPolicy): void;
  /** A first request of this origin whose answer never came. */
  restoreRequest(): StoredRequest | undefined;
  /** A list that cannot be read is none: then the CA has to tell first. */
  restoreRevocations(): FollowedList | undefined;
  /** A policy that cannot be read is none: then the CA has to tell first. */
  restorePolicy(): HeldPolicy | undefined;
  /** Why the last that was to be written is not. */
  error(): string | undefined;
}

/** @param keystore  undefined: nothing is kept */
export function keptIn(keystore: Keystore | undefined, origin: Origin, log: Log): Kept {
  const { bootstrapHash } = origin;
  let error: string | undefined;

  function write(to: (store: Keystore) => void, effect: string): void {
    if (keystore === undefined) return;
    try {
      to(keystore);
      error = undefined;
    } catch (cause) {
      error = (cause as Error).message;
      log.error({ error }, effect);
    }
  }

  function read<T extends { readonly bootstrapHash: string | undefined }>(from: (store: Keystore) => T | undefined, effect: string): T | undefined {
    try {
      const stored = keystore && from(keystore);
      return stored?.bootstrapHash === bootstrapHash ? stored : undefined;
    } catch (cause) {
      log.error({ error: (cause as Error).message }, effect);
      return undefined;
    }
  }

  return {
    identity: (identity, bundles) => write((store) => store.save(toStored(identity, bundles, origin)), "identity not stored; a restart would need a new token"),
    request({ privateKey, request: { csr }, idempotencyKey }) {
      if (bootstrapHash === undefined) return;
      const privateKeyPem = privateKey.export({ format: "pem", type: "pkcs8" });
      write((store) => store.saveRequest({ privateKeyPem, csr, idempotencyKey, bootstrapHash }), "request not stored; dying before its answer would cost the token");
    },
    revocations({ entries, lastEventId, ...list }) {
      // A stream that is resumed leaves the bundle out that it told before: so only where that one is stored.
      const resumable = error === undefined ? lastEventId : undefined;
      write(
        (store) => store.saveRevocations({ entries: [...entries], ...list, lastEventId: resumable, bootstrapHash }),
        "list of revocations not stored; after a restart every peer would be refused until the CA has told",
      );
    },
    policy: (policy) => write((store) => store.savePolicy({ ...policy, bootstrapHash }), "policy not stored; after a restart everybody would be refused until the CA has told"),
    restoreRequest() {
      const stored = keystore?.loadRequest();
      return stored?.bootstrapHash === bootstrapHash ? stored : undefined;
    },
    restoreRevocations() {
      const stored = read((store) => store.loadRevocations(), "stored list of revocations not read; every peer is refused until the CA has told");
      return stored && { ...stored, entries: new Map(stored.entries) };
    },
    restorePolicy: () => read((store) => store.loadPolicy(), "stored policy not read; everybody is refused until the CA has told"),
    error: () => error,
  };
}
