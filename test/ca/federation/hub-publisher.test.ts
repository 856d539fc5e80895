import { generateKeyPairSync } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { noteSigner } from "../../../ca/audit/note-signer.ts";
import type { HeldBundle } from "../../../ca/contract/acknowledgements.ts";
import { readHubHoldings, type HubHoldings } from "../../../ca/federation/hub-holdings.ts";
import { readHubLog, type HubLog } from "../../../ca/federation/hub-log.ts";
import { memberKeyName, readHubBundle } from "../../../ca/federation/hub-notes.ts";
import { hubPublisher, type HubPublisher } from "../../../ca/federation/hub-publisher.ts";
import { ObjectStoreError } from "../../../ca/publishing/object-store.ts";
import type { ReportRow } from "../../../ca/store/rows/reports.ts";

const signer = noteSigner(memberKeyName("east"), generateKeyPairSync("ed25519").privateKey);
let nowMs: number;
let jwks: string;
let holdings: ReadonlyMap<string, HeldBundle>;
let shown: HubLog | undefined;
let held: boolean;
let trouble: Error | undefined;
let put: Map<string, string>;
let puts: number;
let rows: ReportRow[];
let logged: string[];
beforeEach(() => {
  [holdings, shown] = [new Map(), undefined];
  [nowMs, jwks, held, trouble, put, puts, rows, logged] = [Date.UTC(2026, 10, 21), `{"keys":[]}`, true, undefined, new Map(), 0, [], []];
});

function publisher(): HubPublisher {
  const log = (_: object, message: string): void => void logged.push(message);
  return hubPublisher({
    trustDomain: "east", signer, feedEpoch: "one", bundle: () => ({ jwks }), holdings: async () => holdings, hold: async () => (held ? ({} as never) : undefined), now: () => new Date(nowMs), random: () => 0,
    place: {
      where: "s3://fleet/hub",
      async put(name, body) {
        puts += 1;
        if (trouble !== undefined) throw trouble;
        put.set(name, body);
      },
    },
    store: { report: async (row) => void (rows = [row]), reports: async () => rows }, metrics: { hubPublished: () => undefined }, log: { info: log, warn: log, error: log }, shownLog: async () => shown,
  });
}
const published = () => readHubBundle(put.get("east.bundle.note")!, "east", signer.verifierKey);

describe("a CA's bundle", () => {
  test("is published signed, and plain, at once and when it changes", async () => {
    const { tick } = publisher();
    expect(await tick()).toBe(false);
    expect(published()).toMatchObject({ feedEpoch: "one", signedAtMs: nowMs, bundle: jwks });
    expect(put.get("east.bundle.json")).toBe(jwks);
    await tick();
    expect(puts).toBe(3);
    jwks = `{"keys":[],"spiffe_sequence":2}`;
    await tick();
    expect(published().bundle).toBe(jwks);
  });

  test("is signed anew once an hour, so that it is known to be the newest", async () => {
    const { tick } = publisher();
    await tick();
    nowMs += 3_599_000;
    await tick();
    expect(puts).toBe(3);
    nowMs += 1_000;
    await tick();
    expect(published().signedAtMs).toBe(nowMs);
  });

  test("that cannot be published is tried again later and later, says so, and is published once it can be", async () => {
    const { tick, publication } = publisher();
    trouble = new ObjectStoreError("bucket_unreachable", "cannot reach the bucket");
    const tried: number[] = [];
    for (let second = 0; second < 80; second++, nowMs += 1000) {
      const before = puts;
      await tick();
      if (puts > before) tried.push(second);
    }
    expect(tried).toEqual([0, 5, 15, 35, 75]);
    expect(await publication()).toMatchObject({ where: "s3://fleet/hub", refresh: { failures: 5, error: "cannot reach the bucket" } });
    expect(logged).toHaveLength(1);
    trouble = undefined;
    nowMs += 80_000;
    await tick();
    expect(await publication()).toMatchObject({ refresh: { failures: 0, succeededAt: new Date(nowMs).toISOString() } });
    expect(logged.at(-1)).toContain("published again");
  });

  test("has beside it which bundles of others this CA has, signed: at once, when that changes, and never much more often", async () => {
    const said = (): HubHoldings => readHubHoldings(put.get("east.holds.note")!, "east", signer.verifierKey);
    const { tick } = publisher();
    await tick();
    expect(said()).toEqual({ trustDomain: "east", signedAtMs: nowMs, held: new Map() });
    holdings = new Map([["west", { feedEpoch: "two", bundleSequence: "3" }]]);
    nowMs += 4_000;
    await tick();
    expect(said().held.size).toBe(0);
    nowMs += 1_000;
    await tick();
    expect([said().held, puts]).toEqual([holdings, 4]);
    await tick();
    expect(puts).toBe(4);
  });

  test("has beside it what this CA shows of its log, once there is something, at least every ten minutes", async () => {
    const { tick } = publisher();
    await tick();
    expect(put.has("east.log.note")).toBe(false);
    shown = { trustDomain: "east", signedAtMs: nowMs, logKey: "", witnessKey: "", checkpoints: ["one"], cosigned: {} };
    await tick();
    expect(readHubLog(put.get("east.log.note")!, "east", signer.verifierKey)).toEqual(shown);
    const before = puts;
    nowMs += 599_000;
    await tick();
    expect(puts).toBe(before);
    nowMs += 1_000;
    await tick();
    expect(puts).toBe(before + 1);
  });

  test("is published by one replica at a time", async () => {
    held = false;
    const { tick } = publisher();
    expect(await tick()).toBe(true);
    expect(puts).toBe(0);
  });
});
