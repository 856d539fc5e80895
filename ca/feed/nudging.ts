import type { Act } from "../store/acts.ts";
import type { Store } from "../store/store.ts";

/** The store, but that `onChange` is called once something has landed that the feed tells of. */
export function nudgingStore(store: Store, onChange: () => void): Store {
  return {
    ...store,
    commit(act) {
      const committed = store.commit(act);
      if (quiet.has(act.kind) && act.announce === undefined) return committed;
      return committed.then((receipt) => {
        onChange();
        return receipt;
      });
    },
  };
}

/** The feed tells nothing of these, and they are the frequent ones. */
const quiet: ReadonlySet<Act["kind"]> = new Set(["issue", "issue-jwt-svid", "record", "create-token", "delete-token"]);
