import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parseCertificate, type Certificate } from "../../../ca/pki/certificate.ts";
import { parseCrl, verifyCrl, type Crl } from "../../../ca/pki/crl.ts";
import { revocationInfoOf } from "../../../ca/pki/revocation-info.ts";
import { shardOf } from "../../../ca/pki/tbs.ts";
import { auditEvents, chainOf, dayMs, hourMs, newCsr, startTestCa, type TestCa } from "../../support/running-ca.ts";

const cart = { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } as const;
const settings = { statusUrl: "http://status.east", crlShards: "4" };
let host: TestCa;
let failCommits: boolean;
async function open(): Promise<void> {
  failCommits = false;
  host = await startTestCa({ settings, wrapStore: (store) => ({ ...store, commit: (act) => failCommits ? Promise.reject(new Error("no database")) : store.commit(act) }) });
}

async function issue(on = host): Promise<{ readonly serialNumber: string; readonly leaf: Certificate; readonly issuer: Certificate }> {
  const issued = await on.ca.issue({ csr: newCsr().csr, attestation: cart }, { caller: on.admin });
  const [leaf, issuer] = chainOf(issued).map(parseCertificate);
  return { serialNumber: issued.serialNumber, leaf: leaf!, issuer: issuer! };
}

const idOf = ({ subjectKeyIdentifier }: Certificate) => Buffer.from(subjectKeyIdentifier!).toString("hex");
const issuerOf = async (on = host) => (await on.store.authorities()).find(({ type, state }) => type === "issuer" && state === "active")!;

async function read(authorityId: string, list: string, on = host): Promise<Crl> {
  const published = await on.ca.crl(authorityId, list);
  if (published === undefined) throw new Error(`there is no ${list}`);
  return parseCrl(published.der);
}

/** The clock goes on, past the time in which a list is not looked at again. */
const pass = (ms = 1500) => void (host.clock.nowMs += ms);

describe("the CRL of an issuer", () => {
  beforeAll(open);
  afterAll(() => host.close());

  test("is complete, current and signed by it, whether or not something is revoked", async () => {
    const { serialNumber, issuer } = await issue();
    const other = await issue();
    const empty = await read(idOf(issuer), "full.crl");
    verifyCrl(empty, { issuer, nowMs: host.clock.nowMs, of: "end-entities" });
    expect(empty.entries.size).toBe(0);
    await host.ca.revoke(serialNumber, "keyCompromise", host.admin);
    await host.ca.revoke(other.serialNumber, "unspecified", host.admin);
    pass();
    const full = await read(idOf(issuer), "full.crl");
    verifyCrl(full, { issuer, nowMs: host.clock.nowMs, of: "end-entities" });
    expect([...full.entries.values()].map((entry) => [entry.serialNumber, entry.reason])).toEqual([[serialNumber, "keyCompromise"], [other.serialNumber, "unspecified"]]);
    expect(full.number).toBeGreaterThan(empty.number);
    expect(full.nextUpdateMs - full.thisUpdateMs).toBe(dayMs);
  });

  test("for each shard lists exactly what its certificates say, under the name they say it by", async () => {
    const all = await Promise.all(Array.from({ length: 24 }, () => issue()));
    for (const { serialNumber } of all) await host.ca.revoke(serialNumber, "superseded", host.admin);
    pass();
    const { id } = await issuerOf();
    for (let shard = 0; shard < 4; shard++) {
      const crl = await read(id, `4-${shard}.crl`);
      const mine = all.filter(({ serialNumber }) => Number(BigInt(`0x${serialNumber}`) % 4n) === shard);
      expect(crl.scope.urls).toEqual([`http://status.east/crl/${id}/4-${shard}.crl`]);
      expect([...crl.entries.keys()]).toEqual(expect.arrayContaining(mine.map(({ serialNumber }) => serialNumber)));
      expect([...crl.entries.keys()].filter((serialNumber) => Number(BigInt(`0x${serialNumber}`) % 4n) !== shard)).toEqual([]);
      for (const { leaf, issuer } of mine) {
        const [url] = revocationInfoOf(leaf).crlUrls;
        expect(url).toBe(`http://status.east/crl/${id}/4-${shard}.crl`);
        verifyCrl(crl, { issuer, nowMs: host.clock.nowMs, of: "end-entities", url: url! });
        expect(shardOf(Buffer.from(leaf.serialNumber, "hex"), 4)).toBe(shard);
      }
    }
  });

  test("is the same while nothing changes, and another within a second after a revocation", async () => {
    const { serialNumber, issuer } = await issue();
    const first = await host.ca.crl(idOf(issuer), "full.crl");
    pass();
    expect(await host.ca.crl(idOf(issuer), "full.crl")).toBe(first);
    await host.ca.revoke(serialNumber, "superseded", host.admin);
    expect((await read(idOf(issuer), "full.crl")).entries.has(serialNumber)).toBe(true);
  });

  test("is in the audit log before it is out: its number, list and hash", async () => {
    const { issuer } = await issue();
    const published = (await host.ca.crl(idOf(issuer), "16-2.crl"))!;
    // What was revoked before may bring others by now: a second later all that were asked for are looked at.
    expect((await auditEvents(host.store)).findLast(({ list }) => list === "16-2.crl")).toMatchObject({
      type: "crl.signed", actor: "system", authorityId: idOf(issuer), fingerprint: published.fingerprint,
    });
    failCommits = true;
    await expect(host.ca.crl(idOf(issuer), "16-3.crl")).rejects.toThrow("no database");
    failCommits = false;
  });

  test.each(["ca.crl", "3-1.crl", "4-4.crl", "authorities.crl", ""])("named %j there is none", async (list) => {
    expect(await host.ca.crl((await issuerOf()).id, list)).toBeUndefined();
    expect(await host.ca.crl("aa".repeat(20), "full.crl")).toBeUndefined();
  });
});

describe("the CRL of an issuer, over time,", () => {
  beforeEach(open);
  afterEach(() => host.close());

  test("of a certificate stays where it was when the number of shards is changed", async () => {
    const { serialNumber, issuer } = await issue();
    await host.ca.revoke(serialNumber, "superseded", host.admin);
    await host.ca.close();
    const later = await startTestCa({ settings: { ...settings, crlShards: "16" }, dataDir: host.dataDir, nowMs: host.clock.nowMs + 2000 });
    try {
      const shard = Number(BigInt(`0x${serialNumber}`) % 4n);
      const crl = await read(idOf(issuer), `4-${shard}.crl`, later);
      verifyCrl(crl, { issuer, nowMs: later.clock.nowMs, of: "end-entities", url: `http://status.east/crl/${idOf(issuer)}/4-${shard}.crl` });
      expect(crl.entries.has(serialNumber)).toBe(true);
    } finally {
      await later.close();
    }
  });

  test("is signed once for a burst of revocations", async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => issue()));
    const id = idOf(all[0]!.issuer);
    await read(id, "full.crl");
    pass();
    for (const { serialNumber } of all) {
      await host.ca.revoke(serialNumber, "superseded", host.admin);
      await host.ca.crl(id, "full.crl");
    }
    expect((await auditEvents(host.store)).filter(({ type }) => type === "crl.signed")).toHaveLength(2);
    pass();
    expect((await read(id, "full.crl")).entries.size).toBe(8);
  });

  test("never lapses: a new one at half of its time, from the timer or by whoever asks", async () => {
    const { issuer } = await issue();
    const first = await read(idOf(issuer), "full.crl");
    pass(12 * hourMs - 5000);
    await host.ca.tick();
    expect((await read(idOf(issuer), "full.crl")).number).toBe(first.number);
    pass(6000);
    await host.ca.tick();
    const second = (await host.store.crl(idOf(issuer), "full.crl"))!;
    expect(second.number).toBeGreaterThan(first.number);
    // Nothing runs for 20 hours, as where nobody pays for it.
    pass(20 * hourMs);
    expect((await read(idOf(issuer), "full.crl")).number).toBeGreaterThan(second.number);
  });

  test("goes on for an issuer that was replaced, and ends with it", async () => {
    const { serialNumber, issuer } = await issue();
    pass(24 * hourMs - 3000);
    await host.ca.tick();
    expect((await issuerOf()).id).not.toBe(idOf(issuer));
    await host.ca.revoke(serialNumber, "superseded", host.admin);
    expect((await read(idOf(issuer), "full.crl")).entries.has(serialNumber)).toBe(true);
    pass(25 * hourMs);
    expect(await host.ca.crl(idOf(issuer), "full.crl")).toBeUndefined();
  });

  test("drops a certificate that has expired after it was on one CRL since (CRL-12)", async () => {
    const { serialNumber, issuer, leaf } = await issue();
    await host.ca.revoke(serialNumber, "superseded", host.admin);
    expect((await read(idOf(issuer), "full.crl")).entries.has(serialNumber)).toBe(true);
    // Asked for the first time after the certificate's end: still there.
    host.clock.nowMs = leaf.notAfterMs + 2000;
    await host.ca.tick();
    expect((await read(idOf(issuer), "full.crl")).entries.has(serialNumber)).toBe(true);
    pass(13 * hourMs);
    expect((await read(idOf(issuer), "full.crl")).entries.has(serialNumber)).toBe(false);
    // Revoked after its end, so that it cannot come back: on one CRL, too.
    const { serialNumber: late, leaf: lateLeaf, issuer: lateIssuer } = await issue();
    host.clock.nowMs = lateLeaf.notAfterMs + 2000;
    await read(idOf(lateIssuer), "full.crl");
    pass();
    await host.ca.revoke(late, "superseded", host.admin);
    expect((await read(idOf(lateIssuer), "full.crl")).entries.has(late)).toBe(true);
  });

  test("is what it was after a restart, put together from its row and the revocations", async () => {
    const { serialNumber, issuer } = await issue();
    await host.ca.revoke(serialNumber, "superseded", host.admin);
    const before = (await host.ca.crl(idOf(issuer), "4-1.crl"))!;
    const full = (await host.ca.crl(idOf(issuer), "full.crl"))!;
    await host.ca.close();
    const later = await startTestCa({ settings, dataDir: host.dataDir, nowMs: host.clock.nowMs + 5000 });
    try {
      expect(Buffer.from((await later.ca.crl(idOf(issuer), "4-1.crl"))!.der)).toEqual(Buffer.from(before.der));
      expect(Buffer.from((await later.ca.crl(idOf(issuer), "full.crl"))!.der)).toEqual(Buffer.from(full.der));
    } finally {
      await later.close();
    }
  });

  test("is the last one while there cannot be a new one, until that is over", async () => {
    const { issuer } = await issue();
    const first = await host.ca.crl(idOf(issuer), "full.crl");
    failCommits = true;
    pass(13 * hourMs);
    expect(await host.ca.crl(idOf(issuer), "full.crl")).toBe(first);
    pass(12 * hourMs);
    await expect(host.ca.crl(idOf(issuer), "full.crl")).rejects.toThrow("no database");
  });

  test("counts on after the clock was set back, and is not from the future", async () => {
    const { issuer } = await issue();
    const first = await read(idOf(issuer), "full.crl");
    pass(-2 * hourMs);
    const second = await read(idOf(issuer), "full.crl");
    expect(second.number).toBeGreaterThan(first.number);
    expect(second.thisUpdateMs).toBeLessThanOrEqual(host.clock.nowMs);
  });
});

describe("the CRL of a root", () => {
  beforeAll(open);
  afterAll(() => host.close());

  const rootOf = async () => (await host.store.authorities()).find(({ type }) => type === "root")!;

  test("is about authorities alone, and good for a week", async () => {
    const root = await rootOf();
    const crl = await read(root.id, "authorities.crl");
    verifyCrl(crl, { issuer: parseCertificate(root.certificate), nowMs: host.clock.nowMs, of: "authorities" });
    expect(crl.scope).toMatchObject({ onlyAuthorities: true, onlyEndEntities: false, urls: [] });
    expect(crl.nextUpdateMs - crl.thisUpdateMs).toBe(7 * dayMs);
    expect(await host.ca.crl(root.id, "full.crl")).toBeUndefined();
  });

  test("is where the issuer's certificate says it is", async () => {
    const issuer = parseCertificate((await issuerOf()).certificate);
    expect(revocationInfoOf(issuer)).toMatchObject({ crlUrls: [`http://status.east/crl/${(await rootOf()).id}/authorities.crl`], ocspUrls: [] });
  });

  test("an issuer signed for others is on the root's CRL once it is revoked", async () => {
    const root = (await host.store.authorities()).find(({ type }) => type === "root")!;
    expect((await read(root.id, "authorities.crl")).entries.size).toBe(0);
    const foreign = await host.ca.issueIssuer({ csr: newCsr().csr, profile: "countersign", trustDomain: "west" }, host.admin);
    await host.ca.revoke(foreign.serialNumber, "cACompromise", host.admin);
    pass();
    const crl = await read(root.id, "authorities.crl");
    expect([...crl.entries.values()]).toMatchObject([{ serialNumber: foreign.serialNumber, reason: "cACompromise" }]);
    // And on nobody else's, also after a restart.
    expect((await read((await issuerOf()).id, "full.crl")).entries.size).toBe(0);
    pass();
    expect((await read(root.id, "authorities.crl")).number).toBe(crl.number);
  });

  test("so is an issuer of our own, each once and with its reason", async () => {
    const root = await rootOf();
    const before = [...(await read(root.id, "authorities.crl")).entries.keys()];
    const issuer = await issuerOf();
    await host.ca.operateAuthority({ action: "taint", id: issuer.id }, host.admin);
    await host.ca.operateAuthority({ action: "revoke", id: issuer.id, force: true }, host.admin);
    pass();
    const crl = await read(root.id, "authorities.crl");
    expect([...crl.entries.keys()]).toEqual([...before, parseCertificate(issuer.certificate).serialNumber]);
    expect([...crl.entries.values()].at(-1)).toMatchObject({ reason: "cACompromise" });
  });

  test("and what it said for its successor, once that is revoked", async () => {
    const root = await rootOf();
    const { authorities: [next] } = await host.ca.operateAuthority({ action: "prepare" }, host.admin);
    const { crossCertificate } = (await host.store.authorities()).find(({ id }) => id === next!.id)!;
    await host.ca.operateAuthority({ action: "taint", id: next!.id }, host.admin);
    await host.ca.operateAuthority({ action: "revoke", id: next!.id }, host.admin);
    pass();
    expect((await read(root.id, "authorities.crl")).entries.has(parseCertificate(crossCertificate!).serialNumber)).toBe(true);
  });
});

describe("two replicas", () => {
  let other: TestCa;
  beforeAll(async () => {
    await open();
    other = await startTestCa({ settings, dataDir: host.dataDir, nowMs: host.clock.nowMs });
  });
  afterAll(async () => {
    await other.close();
    await host.close();
  });

  test("serve one and the same CRL, though both find it due at once", async () => {
    const { serialNumber, issuer } = await issue();
    await host.ca.revoke(serialNumber, "superseded", host.admin);
    for (let round = 0; round < 5; round++) {
      const lists = ["full.crl", "4-0.crl", "4-1.crl"];
      const both = await Promise.all(lists.flatMap((list) => [host, other].map((on) => on.ca.crl(idOf(issuer), list))));
      for (let index = 0; index < both.length; index += 2) expect(both[index + 1]!.fingerprint).toBe(both[index]!.fingerprint);
      for (const on of [host, other]) on.clock.nowMs += 13 * hourMs / 8;
    }
    const signed = (await auditEvents(host.store)).filter(({ type }) => type === "crl.signed");
    expect(new Set(signed.map(({ list, number }) => `${list} ${number}`)).size).toBe(signed.length);
  });

  test("list what the other one revoked", async () => {
    const { serialNumber, issuer } = await issue();
    await read(idOf(issuer), "full.crl", other);
    await host.ca.revoke(serialNumber, "superseded", host.admin);
    other.clock.nowMs += 1500;
    expect((await read(idOf(issuer), "full.crl", other)).entries.has(serialNumber)).toBe(true);
  });
});
