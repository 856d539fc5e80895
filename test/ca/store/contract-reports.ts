import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openStore } from "../../../ca/store/open.ts";
import type { ReportRow } from "../../../ca/store/rows/reports.ts";
import type { Store } from "../../../ca/store/store.ts";
import { verifyStore } from "../../support/store-oracle.ts";
import { newSealer, startMs } from "./acts.ts";
import type { TestDatabase } from "./contract.ts";

/** What proxies tell, as every store keeps it. */
export function describeStoreReports(kind: Store["kind"], newDatabase: () => Promise<TestDatabase>): void {
  describe(`the reports of a store on ${kind}`, () => {
    const { sealer, verifierKey } = newSealer();
    let database: TestDatabase;
    let store: Store;

    beforeEach(async () => {
      database = await newDatabase();
      store = await openStore({ url: database.url, sealer });
    });
    afterEach(async () => {
      await store.close();
      await database.dispose();
    });

    const report = (name: string, more: Partial<ReportRow> = {}): ReportRow => ({
      kind: "edges", name, part: "", body: "{}", reportedAtMs: startMs, expiresAtMs: startMs + 1000, ...more,
    });
    const names = async (query: Partial<Parameters<Store["reports"]>[0]> = {}) => (
      (await store.reports({ kind: "edges", nowMs: startMs, limit: 9, ...query })).map(({ name, part }) => name + part)
    );

    test("the vitals say which migrations it has had, that what is committed stays, how large it is on Postgres and how much room the disk has on SQLite", async () => {
      const { schema, disk, sizeBytes = 0, ...rest } = await store.vitals();
      expect(rest).toEqual({ kind, durable: true });
      expect(schema.known).toBeGreaterThan(0);
      expect(schema.applied).toBe(schema.known);
      if (kind === "postgres") expect([disk, sizeBytes > 0]).toEqual([undefined, true]);
      else expect(disk?.totalBytes).toBeGreaterThan(disk?.freeBytes ?? Infinity);
    });

    test("a report stands in place of the one before it, and one that was made earlier changes nothing", async () => {
      await store.report(report("a", { body: "1" }));
      await store.report(report("a", { body: "2", reportedAtMs: startMs + 5 }));
      await store.report(report("a", { body: "old", reportedAtMs: startMs + 4 }));
      expect(await store.reports({ kind: "edges", nowMs: startMs, limit: 9 })).toEqual([report("a", { body: "2", reportedAtMs: startMs + 5 })]);
      expect(await verifyStore(store, verifierKey)).toHaveLength(0);
    });

    test("another replica reads it, by pages, by name and by kind", async () => {
      await Promise.all([report("b", { part: "2" }), report("a"), report("b", { part: "1" }), report("a", { kind: "tap" })].map(store.report));
      const other = await openStore({ url: database.url, readOnly: true });
      expect((await other.reports({ kind: "edges", nowMs: startMs, limit: 2 })).map(({ name, part }) => name + part)).toEqual(["a", "b1"]);
      await other.close();
      expect(await names({ after: { name: "b", part: "1" } })).toEqual(["b2"]);
      expect(await names({ name: "b" })).toEqual(["b1", "b2"]);
      expect(await names({ kind: "tap" })).toEqual(["a"]);
    });

    test("what has expired is not told, and goes with the next write; what is dropped goes at once", async () => {
      await store.report(report("a"));
      expect(await names({ nowMs: startMs + 1000 })).toEqual([]);
      await store.report(report("b", { reportedAtMs: startMs + 1000, expiresAtMs: startMs + 2000 }));
      expect(await names()).toEqual(["b"]);
      await store.dropReports([report("b"), report("c")]);
      expect(await names()).toEqual([]);
    });

    test("of those that swap a row at once, on any replica, one does; who expects another is told, and nothing changes", async () => {
      const row = (body: string): ReportRow => report("origin", { kind: "witnessed", body });
      const body = async () => (await store.reports({ kind: "witnessed", nowMs: startMs, limit: 1 }))[0]?.body;
      const other = await openStore({ url: database.url, sealer });
      expect(await store.swapReport(row("2"), "1")).toBe(false);
      expect(await body()).toBeUndefined();
      expect((await Promise.all([store.swapReport(row("1"), undefined), other.swapReport(row("1"), undefined)])).sort()).toEqual([false, true]);
      expect((await Promise.all([store.swapReport(row("2"), "1"), other.swapReport(row("3"), "1")])).sort()).toEqual([false, true]);
      const now = await body();
      expect(await store.swapReport(row("4"), "1")).toBe(false);
      expect(await body()).toBe(now);
      await other.close();
      expect(await verifyStore(store, verifierKey)).toHaveLength(0);
    });

    test("a thousand at once land", async () => {
      await Promise.all(Array.from({ length: 1000 }, (_, index) => store.report(report(`p${index}`))));
      expect(await names({ limit: 2000 })).toHaveLength(1000);
    });
  });
}
