import { afterAll, beforeAll, expect, test } from "vitest";
import { documentKeeper, type Documents } from "../../ca/documents.ts";
import { startTestCa, type TestCa } from "../support/running-ca.ts";

let host: TestCa;
let documents: Documents;
beforeAll(async () => {
  host = await startTestCa();
  documents = documentKeeper({ store: host.store, now: () => new Date(host.clock.nowMs) });
});
afterAll(() => host.close());

test("changes that one process makes at once do not compete: all of them land", async () => {
  const names = Array.from({ length: 30 }, (_, index) => `service-${index}`);
  await Promise.all(names.map((name) => documents.change(() => [{ kind: "service", name, document: { name } }], "system")));
  expect([...(await documents.refresh()).byKind.service.keys()].sort()).toEqual([...names].sort());
});

test("each is judged by what the one before it made, and one that throws keeps nobody from it", async () => {
  const seen = (name: string) => documents.change((set) => {
    if (set.byKind.service.has(name)) throw new Error(`${name} is there`);
    return [{ kind: "service", name, document: {} }];
  }, "system").then(() => "made", (error: Error) => error.message);
  expect(await Promise.all([seen("twice"), seen("twice"), seen("once")])).toEqual(["made", "twice is there", "made"]);
});
