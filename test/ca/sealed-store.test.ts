import { expect, test } from "vitest";
import { storeSealedAs } from "../../ca/sealed-store.ts";
import type { Act } from "../../ca/store/acts.ts";
import type { Store } from "../../ca/store/store.ts";
import { newAuthority, record } from "./store/acts.ts";

const sealedLogKey = Buffer.from("the seal that was opened");
const key = (kind: "sealed" | "kms") => newAuthority({ key: kind === "sealed" ? { kind, sealed: Buffer.from("sealed") } : { kind, arn: "arn" } as never });
const ceremony = (sealedPrivateKey?: Uint8Array) => ({ ...record("asked"), kind: "request-ceremony", ceremony: { sealedPrivateKey } }) as unknown as Act;

test.for<[string, Act, boolean]>([
  ["an authority whose key is sealed", { ...record("made"), kind: "change-authorities", add: [key("kms"), key("sealed")] } as Act, true],
  ["a request to an offline key that keeps a sealed key until its answer", ceremony(Buffer.from("sealed")), true],
  ["an authority whose key is in KMS", { ...record("made"), kind: "change-authorities", add: [key("kms")] } as Act, false],
  ["a change of states alone", { ...record("moved"), kind: "change-authorities" } as Act, false],
  ["a request that keeps no key", ceremony(), false],
  ["any other act", record("done"), false],
])("%s is held to the seal that this process opened, if it brings a key under it", async ([, act, held]) => {
  const committed: Act[] = [];
  const store = { commit: async (given: Act) => (committed.push(given), { logIndex: 0 }) } as unknown as Store;
  await storeSealedAs(store, { sealedLogKey }).commit(act);
  expect(committed.map(({ sealing }) => sealing)).toEqual([held ? sealedLogKey : undefined]);
});
