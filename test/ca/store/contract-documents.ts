import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openStore } from "../../../ca/store/open.ts";
import type { Act } from "../../../ca/store/acts.ts";
import type { DocumentRow } from "../../../ca/store/rows/documents.ts";
import type { Store } from "../../../ca/store/store.ts";
import { verifyStore } from "../../support/store-oracle.ts";
import { newSealer, record, startMs } from "./acts.ts";
import type { TestDatabase } from "./contract.ts";

/** What operators, policies and services rest on, each as a test. */
export function describeStoreDocuments(kind: Store["kind"], newDatabase: () => Promise<TestDatabase>): void {
  describe(`the documents of a store on ${kind}`, () => {
    const { sealer, verifierKey } = newSealer();
    let database: TestDatabase;
    let store: Store;

    beforeEach(async () => {
      database = await newDatabase();
      store = await openStore({ url: database.url, sealer });
    });
    afterEach(async () => {
      await verifyStore(store, verifierKey);
      await store.close();
      await database.dispose();
    });

    function change(expects: number, ...names: readonly string[]): Act {
      const changes = names.map((name) => ({ kind: "policy" as const, name, body: `{"name":"${name}"}`, changedAtMs: startMs, changedBy: "token:x" }));
      return { kind: "change-documents", expects, changes, entries: ['{"type":"a"}', '{"type":"b"}'] };
    }

    test("are read back whole, in the order of their changes, at the index of their act's entry + 1", async () => {
      await store.commit(record("first"));
      const { logIndex } = await store.commit(change(0, "b", "a"));
      const [a, b]: DocumentRow[] = ["a", "b"].map((name) => (
        { kind: "policy", name, body: `{"name":"${name}"}`, sequence: logIndex + 1, changedAtMs: startMs, changedBy: "token:x" }
      ));
      expect(await store.documents({ after: 0 })).toEqual([a, b]);
      const second = await store.commit(change(logIndex + 1, "a"));
      expect(await store.documents({ after: 0 })).toEqual([b, { ...a, sequence: second.logIndex + 1 }]);
      expect((await store.documents({ after: logIndex + 1 })).map(({ name }) => name)).toEqual(["a"]);
      expect((await store.feedPosition()).documentSequence).toBe(0);
    });

    test("leave a row without body when they are removed, so that readers notice", async () => {
      const { logIndex } = await store.commit(change(0, "a"));
      const removal = { kind: "policy", name: "a", changedAtMs: startMs + 1, changedBy: "token:y" } as const;
      const removed = await store.commit({ kind: "change-documents", expects: logIndex + 1, changes: [removal], entries: ["{}"] });
      expect(await store.documents({ after: 0 })).toEqual([{ ...removal, sequence: removed.logIndex + 1 }]);
    });

    test("of the same name and another kind are another document", async () => {
      const { logIndex } = await store.commit(change(0, "a"));
      const service = { kind: "service", name: "a", body: "{}", changedAtMs: startMs, changedBy: "token:y" } as const;
      await store.commit({ kind: "change-documents", expects: logIndex + 1, changes: [service], entries: ["{}"] });
      expect(await store.documents({ after: 0 })).toHaveLength(2);
    });

    test("of two changes that were judged by the same documents one lands, together or one after the other", async () => {
      const together = await Promise.allSettled([store.commit(change(0, "a")), store.commit(change(0, "b"))]);
      expect(together.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
      await expect(store.commit(change(0, "c"))).rejects.toMatchObject({ code: "documents_changed" });
      expect(await store.documents({ after: 0 })).toHaveLength(1);
    });
  });
}
