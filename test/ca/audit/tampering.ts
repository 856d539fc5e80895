import { generateKeyPairSync, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { checkpointSigner } from "../../../ca/audit/checkpoint.ts";
import { decodeEntry, type AuditEvent } from "../../../ca/audit/event.ts";
import { appendLeaf, emptyRange, hashLeaf, rootOf } from "../../../ca/audit/merkle.ts";
import type { Misfit } from "../../../ca/audit/misfit.ts";
import { verifyLog, type LogReader } from "../../../ca/audit/verify.ts";
import { fromAuthority } from "../../../ca/store/row-columns.ts";
import type { CertificateRow } from "../../../ca/store/rows/certificates.ts";
import type { CheckpointRow, EntryRow } from "../../../ca/store/rows/log.ts";
import { answeredCeremony, crlFixture, newToken, openCeremony } from "../../support/log-fixture.ts";

/** What somebody who can write to the database can do to a store that holds `logFixture`. */
export interface TamperableStore {
  readonly store: LogReader;
  readonly verifierKey: string;
  /** Signs like the log, for an attacker who also has its key. */
  sign(size: number, root: Uint8Array): string;
  /** Changes the row with this key. */
  update(table: TamperableTable, key: string | number, changes: object): Promise<void>;
  insert(table: TamperableTable, row: object): Promise<void>;
  /** Removes the rows whose key lies in [first, last]. */
  remove(table: TamperableTable, first: string | number, last?: string | number): Promise<void>;
  /** Adds `by` to the indexes of the entries in [first, last]. */
  moveEntries(first: number, last: number, by: number): Promise<void>;
  close(): Promise<void>;
}

/** Keys: index, size, serial number, serial number, ID, ID, name, list, ID, sequence, ID 1, index of the first level. */
export type TamperableTable =
  | "entries" | "checkpoints" | "certificates" | "revocations" | "tokens" | "authorities" | "documents" | "crls" | "ceremonies" | "announcements" | "state" | "subtrees";

/** The claims of `audit verify`, for any kind of store. */
export function describeTampering(kind: string, open: () => Promise<TamperableStore>): void {
  describe(`verifyLog on ${kind}`, () => {
    test("is content with a log as it was written, with its key and all its checkpoints kept elsewhere", async () => {
      const target = await open();
      const { entries, checkpoints } = await readAll(target.store);
      const verdict = await verifyLog({ store: target.store, verifierKey: target.verifierKey, checkpoints: checkpoints.map(({ note }) => note) });
      await target.close();
      expect(verdict).toMatchObject({
        ok: true, size: entries.length, checkpoints: checkpoints.length, outsideCheckpoints: checkpoints.length, certificates: 241, revocations: 20,
      });
    });

    test.for(tamperings)("finds out %s", async ([, tamper, options = {}]) => {
      const target = await open();
      try {
        const before = await readAll(target.store);
        const expected = await tamper(target, before);
        const { checkpoints, verifierKey } = { verifierKey: target.verifierKey, ...options.given?.(before) };
        const verdict = await verifyLog({ store: target.store, ...(verifierKey && { verifierKey }), ...(checkpoints && { checkpoints }) });
        expect(verdict).toEqual({ ok: false, message: expect.any(String), ...expected });
      } finally {
        await target.close();
      }
    });
  });
}

interface Before {
  readonly entries: readonly EntryRow[];
  readonly checkpoints: readonly CheckpointRow[];
  /** Index of the nth entry of a type, from 0. */
  indexOf(type: AuditEvent["type"], nth?: number): number;
  /** The certificate issued by the entry. */
  certificateAt(index: number): Promise<CertificateRow>;
  /** The entries that the first checkpoint over this one seals. */
  sealing(index: number): Pick<Misfit, "firstIndex" | "lastIndex">;
}

type Tampering = readonly [
  claim: string,
  tamper: (target: TamperableStore, before: Before) => Promise<Pick<Misfit, "kind" | "firstIndex" | "lastIndex">>,
  options?: { readonly given?: (before: Before) => { readonly verifierKey?: undefined; readonly checkpoints?: readonly string[] } },
];

const tamperings: readonly Tampering[] = [
  ["an altered entry", async (target) => {
    await target.update("entries", 100, { body: forgedBody });
    return { kind: "altered", firstIndex: 100 };
  }],
  ["one changed letter in an entry", async (target, { entries }) => {
    await target.update("entries", 263, { body: entries[263]!.body.replace("2026", "2025") });
    return { kind: "altered", firstIndex: 263 };
  }],
  ["the first of several altered entries", async (target) => {
    for (const index of [250, 30, 290]) await target.update("entries", index, { body: forgedBody });
    return { kind: "altered", firstIndex: 30 };
  }],
  ["an altered leaf hash", async (target) => {
    await target.update("entries", 100, { leafHash: hashLeaf("other") });
    return { kind: "altered", firstIndex: 100 };
  }],
  ["an altered entry whose leaf hash was recomputed", async (target, { sealing, indexOf }) => {
    const index = indexOf("certificate.issued", 50);
    await target.update("entries", index, { body: forgedBody, leafHash: hashLeaf(forgedBody) });
    return { kind: "altered", ...sealing(index) };
  }],
  ["an altered entry with leaf hash, subtree hash and row recomputed", async (target, { entries, sealing, indexOf, certificateAt }) => {
    const index = indexOf("certificate.issued", 60);
    const body = entries[index]!.body.replace("sa/cart", "sa/root");
    await target.update("entries", index, { body, leafHash: hashLeaf(body) });
    const forged = entries.slice(0, 256).map((entry) => entry.index === index ? hashLeaf(body) : entry.leafHash);
    await target.update("subtrees", 0, { hash: rootOf(forged.reduce((range, leaf) => appendLeaf(range, leaf), emptyRange)) });
    await target.update("certificates", (await certificateAt(index)).serialNumber, { spiffeId: "spiffe://east/ns/shop/sa/root" });
    return { kind: "altered", ...sealing(index) };
  }],
  ["an altered entry sealed anew by somebody without the key", async (target, { entries, checkpoints, sealing }) => {
    const forged = entries.map((entry) => entry.index === 100 ? { ...entry, body: forgedBody, leafHash: hashLeaf(forgedBody) } : entry);
    await target.update("entries", 100, forged[100]!);
    await sealAnew(target, forged, checkpoints, impostor().sign);
    return { kind: "unknown_key", ...sealing(0) };
  }],
  ["an altered entry under checkpoints with altered roots and the old signatures", async (target, { entries, checkpoints, sealing }) => {
    const forged = entries.map((entry) => entry.index === 100 ? { ...entry, body: forgedBody, leafHash: hashLeaf(forgedBody) } : entry);
    await target.update("entries", 100, forged[100]!);
    await sealAnew(target, forged, checkpoints.filter(({ size }) => size > 100), (size, root) => {
      const note = checkpoints.find((checkpoint) => checkpoint.size === size)!.note;
      return note.replace(note.split("\n")[2]!, Buffer.from(root).toString("base64"));
    });
    return { kind: "checkpoint", ...sealing(100) };
  }],
  ["a removed entry", async (target) => {
    await target.remove("entries", 100);
    return { kind: "removed", firstIndex: 100 };
  }],
  ["the removed first entry", async (target) => {
    await target.remove("entries", 0);
    return { kind: "removed", firstIndex: 0 };
  }],
  ["a row of removed entries", async (target) => {
    await target.remove("entries", 100, 120);
    return { kind: "removed", firstIndex: 100, lastIndex: 120 };
  }],
  ["a removed entry over which the others were moved up", async (target, { entries, indexOf }) => {
    const index = indexOf("certificate.issued", 40);
    await target.remove("entries", index);
    await target.moveEntries(index + 1, entries.length - 1, -1);
    return { kind: "removed", firstIndex: index };
  }],
  ["a removed denial over which the others were moved up", async (target, { entries, indexOf, sealing }) => {
    const index = indexOf("certificate.denied", 4);
    await target.remove("entries", index);
    await target.moveEntries(index + 1, entries.length - 1, -1);
    return { kind: "removed", ...sealing(index) };
  }],
  ["an inserted entry for which the others were moved down", async (target, { entries, indexOf }) => {
    const index = indexOf("certificate.issued", 40);
    await target.moveEntries(index, entries.length - 1, 1);
    await target.insert("entries", { index, body: forgedBody, leafHash: hashLeaf(forgedBody) });
    return { kind: "inserted", firstIndex: index };
  }],
  ["two entries that changed places without their hashes", async (target, { entries }) => {
    await target.update("entries", 100, { body: entries[222]!.body });
    await target.update("entries", 222, { body: entries[100]!.body });
    return { kind: "reordered", firstIndex: 100, lastIndex: 222 };
  }],
  ["an entry overwritten with a copy of another", async (target, { entries }) => {
    await target.update("entries", 100, { body: entries[222]!.body });
    return { kind: "altered", firstIndex: 100 };
  }],
  ["two entries of different commits that changed places, hashes and all", async (target, { indexOf }) => {
    const pair = [indexOf("certificate.issued", 30), indexOf("certificate.issued", 170)] as const;
    await swapEntries(target, ...pair);
    return { kind: "reordered", firstIndex: pair[0], lastIndex: pair[1] };
  }],
  ["two entries of one commit that changed places, hashes and all", async (target, { indexOf }) => {
    const index = indexOf("token.created", 0);
    await swapEntries(target, index - 2, index);
    return { kind: "reordered", firstIndex: index - 2, lastIndex: index };
  }],
  ["the end cut off", async (target, { entries, checkpoints }) => {
    const size = checkpoints.at(-3)!.size;
    await target.remove("entries", size, entries.length);
    return { kind: "truncated", ...span(size, checkpoints.at(-2)!.size - 1) };
  }],
  ["the end cut off together with its checkpoints, while rows tell of it", async (target, { entries, checkpoints, indexOf }) => {
    const first = indexOf("certificate.issued", 236);
    const size = checkpoints.findLast((checkpoint) => checkpoint.size <= first)!.size;
    await target.remove("entries", size, entries.length);
    await target.remove("checkpoints", size + 1, entries.length);
    return { kind: "row_without_entry", firstIndex: indexOf("certificate.issued", 229) };
  }],
  ["the end cut off together with checkpoints and rows, while a subtree hash tells of it", async (target, before) => {
    const size = await cutOff(target, before, 150);
    return { kind: "truncated", firstIndex: size, lastIndex: 255 };
  }],
  ["the end cut off without a trace, by a checkpoint kept elsewhere", async (target, before) => {
    const size = await cutOff(target, before, 150);
    await target.remove("subtrees", 0);
    return { kind: "truncated", firstIndex: size, lastIndex: before.entries.length - 1 };
  }, { given: ({ checkpoints }) => ({ checkpoints: [checkpoints[3]!.note, checkpoints.at(-1)!.note] }) }],
  ["a whole log removed with all it tells of", async (target, { entries }) => {
    await target.remove("entries", 0, entries.length);
    await target.remove("checkpoints", 0, entries.length);
    for (const table of ["certificates", "revocations", "tokens", "authorities"] as const) await target.remove(table, "", "zzz");
    await target.remove("subtrees", 0);
    return { kind: "truncated", firstIndex: 0 };
  }, { given: () => ({ verifierKey: undefined }) }],
  ["a history written anew with the log's own key, by a checkpoint kept elsewhere", async (target, { entries, checkpoints }) => {
    const index = entries.findLastIndex(({ body }) => decodeEntry(body)?.type === "request.denied");
    const forged = entries.map((entry) => entry.index === index ? { ...entry, body: forgedBody, leafHash: hashLeaf(forgedBody) } : entry);
    await target.update("entries", index, forged[index]!);
    await sealAnew(target, forged, checkpoints, target.sign);
    return { kind: "forked", ...span(checkpoints[3]!.size, entries.length - 1) };
  }, { given: ({ checkpoints }) => ({ checkpoints: [checkpoints.at(-1)!.note, checkpoints[3]!.note] }) }],
  ["a checkpoint given to compare with that another log signed", async () => ({ kind: "unknown_key" }), {
    given: () => ({ checkpoints: [impostor().sign(1, hashLeaf(""))] }),
  }],
  ["entries added behind the last checkpoint", async (target, { entries }) => {
    await target.insert("entries", { index: entries.length, body: forgedBody, leafHash: hashLeaf(forgedBody) });
    return { kind: "unsealed", firstIndex: entries.length };
  }],
  ["a removed last checkpoint", async (target, { checkpoints }) => {
    await target.remove("checkpoints", checkpoints.at(-1)!.size);
    return { kind: "unsealed", firstIndex: checkpoints.at(-2)!.size };
  }],
  ["a checkpoint in the place of another", async (target, { checkpoints }) => {
    await target.update("checkpoints", checkpoints[7]!.size, { note: checkpoints[6]!.note });
    return { kind: "checkpoint", ...span(checkpoints[6]!.size, checkpoints[7]!.size - 1) };
  }],
  ["a checkpoint that is none", async (target, { checkpoints }) => {
    await target.update("checkpoints", checkpoints[7]!.size, { note: "nothing to see here\n" });
    return { kind: "checkpoint", ...span(checkpoints[6]!.size, checkpoints[7]!.size - 1) };
  }],
  ["a checkpoint over entries there never were", async (target, { entries }) => {
    await target.insert("checkpoints", { size: entries.length + 5, note: impostor().sign(entries.length + 5, hashLeaf("")) });
    return { kind: "unknown_key", ...span(entries.length, entries.length + 4) };
  }],
  ["another key in the store", async (target) => {
    await target.update("state", 1, { logVerifierKey: impostor().verifierKey });
    return { kind: "unknown_key" };
  }],
  ["another key in the store, when the store's own is all there is to go by", async (target, { sealing }) => {
    await target.update("state", 1, { logVerifierKey: impostor().verifierKey });
    return { kind: "unknown_key", ...sealing(0) };
  }, { given: () => ({ verifierKey: undefined }) }],
  ["a log sealed anew with another key that the store names", async (target, { entries, checkpoints }) => {
    const { verifierKey, sign } = impostor();
    await sealAnew(target, entries, checkpoints, sign);
    await target.update("state", 1, { logVerifierKey: verifierKey });
    return { kind: "unknown_key", firstIndex: 0 };
  }, { given: () => ({ verifierKey: undefined }) }],
  ["a key that cannot be read", async (target) => {
    await target.update("state", 1, { logVerifierKey: "none" });
    return { kind: "unknown_key" };
  }, { given: () => ({ verifierKey: undefined }) }],
  ["an altered subtree hash", async (target) => {
    await target.update("subtrees", 0, { hash: hashLeaf("other") });
    return { kind: "subtree", firstIndex: 0, lastIndex: 255 };
  }],
  ["a removed subtree hash", async (target) => {
    await target.remove("subtrees", 0);
    return { kind: "subtree", firstIndex: 0, lastIndex: 255 };
  }],
  ...(["spiffeId", "notAfterMs", "certificate", "keyFingerprint", "authorityId", "attestation", "renewedFrom"] as const).map((column): Tampering => [
    `a certificate's row with another ${column}`,
    async (target, { indexOf, certificateAt }) => {
      const index = indexOf("certificate.issued", 99);
      const { serialNumber } = await certificateAt(index);
      const forged = { spiffeId: "spiffe://east/ns/x/sa/y", notAfterMs: 1, certificate: randomBytes(80), keyFingerprint: randomBytes(32), authorityId: "bb", attestation: "operator", renewedFrom: "ab".repeat(16) };
      await target.update("certificates", serialNumber, { [column]: forged[column] });
      return { kind: "row_differs", firstIndex: index };
    },
  ]),
  ["a certificate's row under another entry's index", async (target, { indexOf, certificateAt }) => {
    const index = indexOf("certificate.issued", 99);
    await target.update("certificates", (await certificateAt(index)).serialNumber, { logIndex: indexOf("certificate.denied", 0) });
    return { kind: "row_without_entry", firstIndex: indexOf("certificate.denied", 0) };
  }],
  ["a certificate's row under an index beyond the log", async (target, { indexOf, certificateAt, entries }) => {
    const index = indexOf("certificate.issued", 99);
    await target.update("certificates", (await certificateAt(index)).serialNumber, { logIndex: entries.length + 7 });
    return { kind: "row_differs", firstIndex: index };
  }],
  ["a removed certificate's row", async (target, { indexOf, certificateAt }) => {
    const index = indexOf("certificate.issued", 99);
    await target.remove("certificates", (await certificateAt(index)).serialNumber);
    return { kind: "entry_without_row", firstIndex: index };
  }],
  ...([["among the entries", 20], ["beyond the log", 100_000], ["below the log", -1]] as const).map(([where, logIndex]): Tampering => [
    `a certificate that nobody logged, ${where}`,
    async (target, { indexOf, certificateAt }) => {
      const index = logIndex === 20 ? indexOf("certificate.denied", 2) : logIndex;
      const template = await certificateAt(indexOf("certificate.issued", 99));
      await target.insert("certificates", { ...template, serialNumber: "ab".repeat(16), keyFingerprint: randomBytes(32), logIndex: index });
      return index < 0 ? { kind: "row_without_entry" } : { kind: "row_without_entry", firstIndex: index };
    },
  ]),
  ["a revocation taken back", async (target, { indexOf, entries }) => {
    const index = indexOf("certificate.revoked", 9);
    await target.remove("revocations", serialIn(entries[index]!));
    return { kind: "entry_without_row", firstIndex: index };
  }],
  ["a revocation turned to another certificate", async (target, { indexOf, entries, certificateAt }) => {
    const index = indexOf("certificate.revoked", 9);
    await target.update("revocations", serialIn(entries[index]!), { serialNumber: (await certificateAt(indexOf("certificate.issued", 1))).serialNumber });
    return { kind: "row_differs", firstIndex: index };
  }],
  ["a revocation whose reason was softened", async (target, { indexOf, entries }) => {
    const index = indexOf("certificate.revoked", 9);
    await target.update("revocations", serialIn(entries[index]!), { reason: "superseded" });
    return { kind: "row_differs", firstIndex: index };
  }],
  ...([["among the entries", 50], ["beyond the log", 100_000]] as const).map(([where, sequence]): Tampering => [
    `a revocation that nobody logged, ${where}`,
    async (target, { indexOf, certificateAt }) => {
      const { serialNumber, notAfterMs } = await certificateAt(indexOf("certificate.issued", 1));
      await target.insert("revocations", { sequence, serialNumber, reason: "unspecified", revokedAtMs: 1, notAfterMs });
      return { kind: "row_without_entry", firstIndex: sequence - 1 };
    },
  ]),
  ["a token that nobody logged", async (target) => {
    await target.insert("tokens", newToken({ id: "token-thief", type: "api", role: "admin", name: "thief" }));
    return { kind: "row_without_entry" };
  }],
  ["a token with a higher role", async (target, { indexOf }) => {
    await target.update("tokens", "token-admin", { role: "auditor" });
    return { kind: "row_differs", firstIndex: indexOf("token.created", 0) };
  }],
  ["a token whose secret was replaced by one that the thief knows", async (target, { indexOf }) => {
    await target.update("tokens", "token-admin", { secretHash: randomBytes(32) });
    return { kind: "row_differs", firstIndex: indexOf("token.created", 0) };
  }],
  ["a join token for another identity", async (target, { indexOf }) => {
    await target.update("tokens", "token-join-3", { spiffeId: "spiffe://east/ns/bank/sa/vault" });
    return { kind: "row_differs", firstIndex: indexOf("token.created", 3) };
  }],
  ["a join token for further DNS names", async (target, { indexOf }) => {
    await target.update("tokens", "token-join-3", { dnsNames: ["vault.bank"] });
    return { kind: "row_differs", firstIndex: indexOf("token.created", 3) };
  }],
  ["a redeemed join token made good again", async (target, { indexOf }) => {
    await target.update("tokens", "token-join-1", { version: 0, redeemedAtMs: null });
    return { kind: "row_differs", firstIndex: indexOf("token.created", 1) };
  }],
  ["a deleted token made good again", async (target, { indexOf }) => {
    await target.update("tokens", "token-join-2", { deletedAtMs: null });
    return { kind: "row_differs", firstIndex: indexOf("token.deleted", 0) };
  }],
  ["an operator that nobody logged", async (target) => {
    await target.insert("documents", { kind: "operator", name: "spiffe://east/thief", body: '{"role":"admin"}', sequence: 999, changedAtMs: 1, changedBy: "system" });
    return { kind: "row_without_entry", firstIndex: undefined };
  }],
  ["an operator with a higher role", async (target, { indexOf }) => {
    await target.update("documents", "spiffe://east/ops/*", { body: '{"role":"admin"}' });
    return { kind: "row_differs", firstIndex: indexOf("operator.changed") };
  }],
  ["a service that was removed put back", async (target, { indexOf }) => {
    await target.remove("documents", "cart");
    await target.insert("documents", { kind: "policy", name: "cart", body: '{"name":"cart"}', sequence: 1, changedAtMs: 1, changedBy: "system" });
    await target.insert("documents", { kind: "service", name: "cart", body: '{"name":"cart"}', sequence: 2, changedAtMs: 1, changedBy: "system" });
    return { kind: "row_differs", firstIndex: indexOf("service.removed") };
  }],
  ["a removed policy", async (target, { indexOf }) => {
    await target.remove("documents", "cart");
    return { kind: "entry_without_row", firstIndex: indexOf("policy.changed") };
  }],
  ["a CRL that nobody logged", async (target) => {
    await target.insert("crls", { ...crlFixture, list: "16-2.crl" });
    return { kind: "row_without_entry" };
  }],
  ...([
    ["an older number", { number: 1 }], ["another fingerprint", { fingerprint: "00".repeat(32) }], ["a later end", { nextUpdateMs: Date.UTC(2030, 0, 1) }],
    ["other octets", { crl: randomBytes(40) }],
  ] as const).map(([claim, change]): Tampering => [`a CRL with ${claim}`, async (target, { indexOf }) => {
    await target.update("crls", "authorities.crl", change);
    return { kind: "row_differs", firstIndex: indexOf("crl.signed", 1) };
  }]),
  ["a removed CRL", async (target, { indexOf }) => {
    await target.remove("crls", "authorities.crl");
    return { kind: "entry_without_row", firstIndex: indexOf("crl.signed", 1) };
  }],
  ["a request to an offline key that nobody logged", async (target) => {
    await target.insert("ceremonies", { id: "ff".repeat(32), request: "{}", createdAtMs: 1 });
    return { kind: "row_without_entry" };
  }],
  ["a request that says something else", async (target, { indexOf }) => {
    await target.update("ceremonies", openCeremony.id, { request: "{}" });
    return { kind: "row_differs", firstIndex: indexOf("ceremony.requested", 1) };
  }],
  ["an answered request opened again", async (target, { indexOf }) => {
    await target.update("ceremonies", answeredCeremony.id, { closedAtMs: null });
    return { kind: "row_differs", firstIndex: indexOf("ceremony.withdrawn") };
  }],
  ["a request closed though nobody answered it", async (target, { indexOf }) => {
    await target.update("ceremonies", openCeremony.id, { closedAtMs: 1 });
    return { kind: "row_differs", firstIndex: indexOf("ceremony.requested", 1) };
  }],
  ["a removed request", async (target, { indexOf }) => {
    await target.remove("ceremonies", openCeremony.id);
    return { kind: "entry_without_row", firstIndex: indexOf("ceremony.requested", 1) };
  }],
  ["a call to renew away from an authority that nobody tainted", async (target) => {
    await target.insert("announcements", { sequence: 300, body: '{"authorityId":"aa","windowSeconds":1}', expiresAtMs: Date.UTC(2100, 0, 1) });
    return { kind: "row_without_entry" };
  }],
  ["a call to renew that was made once more", async (target, { entries }) => {
    const [announced] = await target.store.announcements({ after: 0, nowMs: 0, limit: 1 });
    await target.insert("announcements", { ...announced!, sequence: entries.length + 1 });
    return { kind: "row_without_entry" };
  }],
  ["a bundle that was put back to an earlier sequence", async (target, { indexOf }) => {
    await target.update("state", 1, { bundleSequence: 1 });
    return { kind: "row_differs", firstIndex: indexOf("authority.created", 3) };
  }],
  ["another trust domain", async (target) => {
    await target.update("state", 1, { trustDomain: "west" });
    return { kind: "row_differs", firstIndex: 0 };
  }],
  ["a removed token", async (target, { indexOf }) => {
    await target.remove("tokens", "token-admin");
    return { kind: "entry_without_row", firstIndex: indexOf("token.created", 0) };
  }],
  ["an authority that nobody logged", async (target) => {
    const template = (await target.store.authorities())[0]!;
    await target.insert("authorities", fromAuthority({ ...template, id: "ff".repeat(20) }));
    return { kind: "row_without_entry" };
  }],
  ["an authority with another certificate", async (target, { indexOf }) => {
    const root = (await target.store.authorities()).find(({ type, state }) => type === "root" && state === "active")!;
    await target.update("authorities", root.id, { certificate: randomBytes(80) });
    return { kind: "row_differs", firstIndex: indexOf("authority.created", 0) };
  }],
  ["a retired authority made active again", async (target, { indexOf }) => {
    const retired = (await target.store.authorities()).find(({ state }) => state === "retired")!;
    await target.update("authorities", retired.id, { state: "active" });
    return { kind: "row_differs", firstIndex: indexOf("authority.state-changed", 1) };
  }],
  ["a removed authority", async (target, { indexOf }) => {
    const root = (await target.store.authorities()).find(({ type, state }) => type === "root" && state === "active")!;
    await target.remove("authorities", root.id);
    return { kind: "entry_without_row", firstIndex: indexOf("authority.created", 0) };
  }],
];

async function readAll(store: LogReader): Promise<Before> {
  const entries = await store.entries({ start: 0, limit: 1000 });
  const checkpoints = await store.checkpoints({ after: 0, limit: 1000 });
  const events = entries.map(({ index, body }) => ({ index, event: decodeEntry(body) }));
  return {
    entries, checkpoints,
    indexOf: (type, nth = 0) => events.filter(({ event }) => event?.type === type)[nth]!.index,
    certificateAt: async (index) => (await store.certificate(serialIn(entries[index]!)))!,
    sealing(index) {
      const at = checkpoints.findIndex(({ size }) => size > index);
      return span(checkpoints[at - 1]?.size ?? 0, checkpoints[at]!.size - 1);
    },
  };
}

/** Cuts off the last `count` certificates' entries and all after them, with checkpoints and rows: everything but subtree hashes. */
async function cutOff(target: TamperableStore, { entries, checkpoints, indexOf }: Before, count: number): Promise<number> {
  const first = indexOf("certificate.issued", 241 - count);
  const { size } = checkpoints.findLast((checkpoint) => checkpoint.size <= first)!;
  for (const entry of entries.slice(size)) {
    const event = decodeEntry(entry.body);
    if (event?.type === "certificate.issued") await target.remove("certificates", event.serialNumber);
    if (event?.type === "certificate.revoked") await target.remove("revocations", event.serialNumber);
  }
  await target.remove("entries", size, entries.length);
  await target.remove("checkpoints", size + 1, entries.length);
  return size;
}

/** Writes the checkpoints and the subtree hash anew over these entries. */
async function sealAnew(
  target: TamperableStore, entries: readonly EntryRow[], checkpoints: readonly CheckpointRow[], sign: TamperableStore["sign"],
): Promise<void> {
  let range = emptyRange;
  for (const { leafHash } of entries) {
    range = appendLeaf(range, leafHash);
    if (range.size === 256) await target.update("subtrees", 0, { hash: rootOf(range) });
    const { size } = range;
    if (checkpoints.some((checkpoint) => checkpoint.size === size)) await target.update("checkpoints", size, { note: sign(size, rootOf(range)) });
  }
}

async function swapEntries(target: TamperableStore, one: number, other: number): Promise<void> {
  await target.moveEntries(one, one, 1_000_000);
  await target.moveEntries(other, other, one - other);
  await target.moveEntries(one + 1_000_000, one + 1_000_000, other - one - 1_000_000);
}

/** Somebody without the log's key, who takes its name. */
function impostor() {
  const privateKeyPkcs8 = generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
  return checkpointSigner({ origin: "countersign.dev/east/log", privateKeyPkcs8 });
}

function serialIn({ body }: EntryRow): string {
  return (JSON.parse(body) as { serialNumber: string }).serialNumber;
}

function span(firstIndex: number, lastIndex: number): Pick<Misfit, "firstIndex" | "lastIndex"> {
  return lastIndex > firstIndex ? { firstIndex, lastIndex } : { firstIndex };
}

const forgedBody = '{"time":"2026-01-01T00:00:00.000Z","actor":"system","type":"denials.suppressed","count":1}';
