import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openStore } from "../../../ca/store/open.ts";
import type { NewCertificate } from "../../../ca/store/rows/certificates.ts";
import type { HoldersQuery } from "../../../ca/store/rows/holders.ts";
import type { Store } from "../../../ca/store/store.ts";
import { verifyStore } from "../../support/store-oracle.ts";
import { hourMs, initialize, issue, newCertificate, newSealer, record, revoke, startMs, stateOf } from "./acts.ts";
import type { TestDatabase } from "./contract.ts";

/** What the feed and its acknowledgements rest on, each as a test. */
export function describeStoreFeed(kind: Store["kind"], newDatabase: () => Promise<TestDatabase>): void {
  describe(`the feed's part of a store on ${kind}`, () => {
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

    async function issued(with_: Partial<NewCertificate> = {}): Promise<NewCertificate> {
      const certificate = newCertificate(with_);
      await store.commit(issue(certificate));
      return certificate;
    }

    async function behind(query: Partial<HoldersQuery> = {}): Promise<readonly string[]> {
      return (await store.holdersBehind({ sequence: 5, nowMs: startMs, limit: 9, ...query })).map(({ serialNumber }) => serialNumber);
    }

    test("what a certificate's holder acknowledged when it asked is kept in its row", async () => {
      const { serialNumber } = await issued({ acknowledgedSequence: 4 });
      expect((await store.certificate(serialNumber))?.acknowledgedSequence).toBe(4);
      expect((await store.certificate((await issued()).serialNumber))?.acknowledgedSequence).toBeUndefined();
    });

    test("an acknowledgement is durable, only ever rises, and leaves the log alone", async () => {
      const { serialNumber } = await issued();
      await store.acknowledge({ serialNumber, sequence: 7 });
      await store.acknowledge({ serialNumber, sequence: 6 });
      await store.acknowledge({ serialNumber: "unknown", sequence: 6 });
      const other = await openStore({ url: database.url, readOnly: true });
      expect((await other.certificate(serialNumber))?.acknowledgedSequence).toBe(7);
      await other.close();
      expect(await verifyStore(store, verifierKey)).toHaveLength(1);
    });

    test("a thousand at once land, each with its own sequence", async () => {
      const certificates = await Promise.all(Array.from({ length: 1000 }, () => issued()));
      await Promise.all(certificates.map(({ serialNumber }, index) => store.acknowledge({ serialNumber, sequence: 1 + index % 7 })));
      const rows = await store.certificates({ limit: 1000, nowMs: startMs });
      const bySerial = new Map(rows.map((row) => [row.serialNumber, row.acknowledgedSequence]));
      expect(certificates.map(({ serialNumber }) => bySerial.get(serialNumber))).toEqual(certificates.map((_, index) => 1 + index % 7));
    });

    test("it counts for what the certificate was renewed from, and not for what was renewed from it or for others", async () => {
      const first = await issued();
      const second = await issued({ renewedFrom: first.serialNumber });
      const third = await issued({ renewedFrom: second.serialNumber });
      const stranger = await issued();
      await store.acknowledge({ serialNumber: second.serialNumber, sequence: 5 });
      const held = async ({ serialNumber }: NewCertificate) => (await store.certificate(serialNumber))?.acknowledgedSequence ?? 0;
      expect(await Promise.all([first, second, third, stranger].map(held))).toEqual([5, 5, 0, 0]);
    });

    test("behind is who has acknowledged less, by the newest certificate of each, last to end first", async () => {
      const early = await issued({ notAfterMs: startMs + hourMs, spiffeId: "spiffe://east/early" });
      const late = await issued({ notAfterMs: startMs + 2 * hourMs, acknowledgedSequence: 4 });
      await issued({ acknowledgedSequence: 5 });
      await issued({ acknowledgedSequence: 6 });
      expect(await store.holdersBehind({ sequence: 5, nowMs: startMs, limit: 9 })).toEqual([
        { spiffeId: late.spiffeId, serialNumber: late.serialNumber, acknowledgedSequence: 4, notAfterMs: late.notAfterMs },
        { spiffeId: early.spiffeId, serialNumber: early.serialNumber, acknowledgedSequence: 0, notAfterMs: early.notAfterMs },
      ]);
      expect(await behind({ limit: 1 })).toEqual([late.serialNumber]);
      await store.acknowledge({ serialNumber: late.serialNumber, sequence: 5 });
      expect(await behind()).toEqual([early.serialNumber]);
    });

    test("replicas that share an ID are holders each", async () => {
      const one = await issued();
      const other = await issued();
      const renewed = await issued({ renewedFrom: one.serialNumber, acknowledgedSequence: 5 });
      expect(await behind()).toEqual([other.serialNumber]);
      expect([...await behind({ sequence: 6 })].sort()).toEqual([other.serialNumber, renewed.serialNumber].sort());
    });

    test("of many replicas of one ID those are behind that renewed to nothing newer, each found once", async () => {
      const ends = (index: number) => startMs + (index % 7) * hourMs;
      const spiffeId = "spiffe://east/many";
      const first = await Promise.all(Array.from({ length: 700 }, (_, index) => issued({ spiffeId, notAfterMs: ends(index) })));
      const renewed = first.filter((_, index) => index % 3 > 0);
      await Promise.all(renewed.map(({ serialNumber }, index) => issued({ spiffeId, renewedFrom: serialNumber, notAfterMs: ends(index), acknowledgedSequence: 5 })));
      const stranger = await issued({ spiffeId: "spiffe://east/stranger", renewedFrom: first[0]!.serialNumber, acknowledgedSequence: 5 });
      await store.commit(revoke(first[3]!));
      const expected = first.filter((_, index) => index % 3 === 0 && index !== 3).map(({ serialNumber }) => serialNumber);
      const found = await behind({ limit: 1_000 });
      expect([...found].sort()).toEqual([...expected].sort());
      expect(await behind({ limit: 1_000, authorityIds: [stranger.authorityId] })).toEqual(found);
      expect(await behind({ limit: 1_000, authorityIds: ["other"] })).toEqual([]);
    });

    test.each([
      ["is renewed from", async () => void await issued({ renewedFrom: (await issued()).serialNumber, acknowledgedSequence: 5 })],
      ["is revoked", async () => void await store.commit(revoke(await issued()))],
      ["has expired", async () => void await issued({ notAfterMs: startMs - 1000 })],
      ["is the CA's own", async () => void await issued({ attestation: "system" })],
    ])("a certificate that %s counts for nobody", async (_what, make) => {
      await make();
      expect(await behind()).toEqual([]);
    });

    test("a certificate counts through the whole second of its notAfter", async () => {
      const { serialNumber } = await issued({ notAfterMs: startMs });
      expect(await behind({ nowMs: startMs + 999 })).toEqual([serialNumber]);
      expect(await behind({ nowMs: startMs + 1000 })).toEqual([]);
    });

    test("the position names the epoch and the newest of everything", async () => {
      expect(await store.feedPosition()).toEqual({ feedEpoch: "", bundleSequence: 0, revocationSequence: 0, announcementSequence: 0, documentSequence: 0, tapSequence: 0 });
      await store.commit(initialize(verifierKey, { state: { ...stateOf(verifierKey), bundleSequence: 3, feedEpoch: "e" } }));
      await store.commit(revoke(await issued()));
      await store.commit({ ...record("x"), announce: { body: "{}", expiresAtMs: startMs } });
      expect(await store.feedPosition()).toEqual({
        feedEpoch: "e", bundleSequence: 3, revocationSequence: await store.revocationSequence(), announcementSequence: 4, documentSequence: 0, tapSequence: 0,
      });
    });

    test("a signed request is spent once, whoever says so first, on any replica and after a restart; the log is left alone", async () => {
      const request = { spiffeId: "spiffe://east/ops", nonce: "n".repeat(22), untilMs: startMs + 10 };
      const other = await openStore({ url: database.url, sealer });
      const answers = await Promise.all([store, other, store, other].map((each) => each.spendRequest(request, startMs)));
      expect(answers.filter((first) => first)).toEqual([true]);
      expect(await store.spendRequest({ ...request, spiffeId: "spiffe://east/ops2" }, startMs)).toBe(true);
      await other.close();
      await store.close();
      store = await openStore({ url: database.url, sealer });
      expect(await store.spendRequest(request, startMs)).toBe(false);
      expect(await verifyStore(store, verifierKey)).toEqual([]);
    });

    test("a record of ACME's is swapped by whoever read it last, on any replica, and forgotten when it is over", async () => {
      const record = { id: "order-1", version: 0, body: "{}", untilMs: startMs + 10 };
      const other = await openStore({ url: database.url, sealer });
      expect((await Promise.all([store, other].map((each) => each.putAcmeRecord(record, startMs)))).filter((done) => done)).toEqual([true]);
      expect(await other.acmeRecord("order-1", startMs)).toEqual({ ...record, version: 1 });
      expect(await store.putAcmeRecord({ ...record, version: 1, body: "[1]" }, startMs)).toBe(true);
      expect(await other.putAcmeRecord({ ...record, version: 1, body: "[2]" }, startMs)).toBe(false);
      expect(await store.putAcmeRecord({ ...record, id: "order-2", version: 1 }, startMs)).toBe(false);
      await other.close();
      expect(await store.acmeRecord("order-1", startMs)).toMatchObject({ version: 2, body: "[1]" });
      expect(await store.acmeRecord("order-1", startMs + 11)).toBeUndefined();
      await store.putAcmeRecord({ ...record, id: "order-3", untilMs: startMs + 99 }, startMs + 11);
      expect(await store.acmeRecord("order-1", startMs)).toBeUndefined();
      expect(await verifyStore(store, verifierKey)).toEqual([]);
    });

    test("a spent request is remembered until its time is over, then forgotten", async () => {
      const spend = (nonce: string, nowMs: number) => store.spendRequest({ spiffeId: "spiffe://east/ops", nonce, untilMs: startMs + 10 }, nowMs);
      for (let index = 0; index < 20; index++) await spend(`nonce-${index}`, startMs);
      await spend("later", startMs + 10);
      expect(await spend("nonce-0", startMs + 10)).toBe(false);
      await spend("still later", startMs + 11);
      await spend("last", startMs + 11);
      expect(await spend("nonce-0", startMs)).toBe(true);
    });

    test("an announcement lands with its act, at the index of its entry + 1, and is told until it expires", async () => {
      await store.commit(record("first"));
      const announce = { body: '{"kind":"renew"}', expiresAtMs: startMs + 10 };
      const { logIndex } = await store.commit({ ...record("second", "third"), announce });
      const doomed = { ...revoke(newCertificate()), announce };
      await expect(store.commit(doomed)).rejects.toMatchObject({ code: "certificate_unknown" });
      const told = (after: number, nowMs: number) => store.announcements({ after, nowMs, limit: 9 });
      expect(await told(0, startMs)).toEqual([{ ...announce, sequence: logIndex + 1 }]);
      expect(await told(logIndex + 1, startMs)).toEqual([]);
      expect(await told(0, startMs + 10)).toEqual([]);
    });
  });
}
