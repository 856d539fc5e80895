import type { IdentityHolder } from "../../proxy/identity/source.ts";

/** Resolves at the first change of a proxy's identity after which `condition` holds, at once if it does. */
export function changed(holder: IdentityHolder, condition: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (!condition()) return;
      leave();
      resolve();
    };
    const leave = holder.onChange(look);
    queueMicrotask(look);
  });
}
