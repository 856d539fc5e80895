import { generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { encodeAddCheckpoint } from "../../../ca/audit/add-checkpoint.ts";
import { parseCheckpoint } from "../../../ca/audit/checkpoint.ts";
import { logCosigner, type Cosigner } from "../../../ca/audit/cosignature.ts";
import { noteSigner, type NoteSigner } from "../../../ca/audit/note-signer.ts";
import { encodeSignatureLine, parseNote } from "../../../ca/audit/note.ts";
import { consistencyProof } from "../../../ca/audit/proof.ts";
import { documentKeeper, type Documents } from "../../../ca/documents.ts";
import { relationshipsOf } from "../../../ca/federation/documents.ts";
import { cosignedIn, maxShown, maxWitnesses, readHubLog, signHubLog, type HubLog } from "../../../ca/federation/hub-log.ts";
import { memberKeyName } from "../../../ca/federation/hub-notes.ts";
import { witnessRing } from "../../../ca/federation/hub-ring.ts";
import { hubWitness, type HubWitness } from "../../../ca/federation/hub-witness.ts";
import { pinKeys } from "../../../ca/federation/pin-keys.ts";
import { checkpointSubmitter, cosignatureRow } from "../../../ca/federation/submit-checkpoint.ts";
import { logWitness, type Witness } from "../../../ca/federation/witness.ts";
import { bundleEndpoint, type BundleEndpoint } from "../../support/bundle-endpoint.ts";
import { forkedLog, newestOf, truncated } from "../../support/forked-log.ts";
import { logFixture } from "../../support/log-fixture.ts";
import { memoryLog, memoryReader, type MemoryRows } from "../../support/memory-log.ts";
import { dayMs, hourMs, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { dns, testAuthority } from "../../support/test-ca.ts";

const web = testAuthority({ trustDomain: "web.example" });
const pkcs8 = (): Buffer => generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
const signer = (trustDomain: string): NoteSigner => noteSigner(memberKeyName(trustDomain), generateKeyPairSync("ed25519").privateKey);
const cosignerOf = (trustDomain: string): Cosigner => logCosigner({ name: `countersign.dev/${trustDomain}/witness`, logPrivateKeyPkcs8: pkcs8() });
const [east, west] = [signer("east"), signer("west")];
/** East's log, which its CA shows, and another history of it by the same key. */
const forked = forkedLog();
const origin = "countersign.dev/east/log";
const [early, later] = [100, 300].map((least) => forked.told.checkpoints.find(({ size }) => size >= least)?.size ?? forked.told.checkpoints.at(-1)!.size) as [number, number];
const [eastsWitness, westsWitness] = [cosignerOf("east"), cosignerOf("west")];
const westsLog = memoryLog("countersign.dev/west/log");
westsLog.commit(logFixture(westsLog.verifierKey)[0]!);
let ca: TestCa;
let server: BundleEndpoint;
let documents: Documents;
let witness: Witness;
/** What is in the hub, by name: whoever holds it writes what they like. */
const files = new Map<string, string>();
const time = { nowMs: Date.now() };
const now = (): Date => new Date(time.nowMs);

beforeAll(async () => {
  ca = await startTestCa();
  server = await bundleEndpoint(web.leaf({ names: [dns("localhost")] }), "");
  server.answer = ({ url = "" }, response) => {
    const text = files.get(url.slice(1));
    response.writeHead(text === undefined ? 404 : 200).end(text);
  };
});
afterAll(async () => {
  await server.close();
  await ca.close();
});
beforeEach(async () => {
  files.clear();
  time.nowMs += dayMs;
  documents = documentKeeper({ store: ca.store, now });
  await ca.store.dropReports([{ kind: "witnessed", name: origin, part: "" }, { kind: "cosignature", name: "west", part: "" }]);
  // West's CA knows east by the hub, and east's west; here is one store for both.
  await documents.change(() => ([["east", east], ["west", west]] as const).map(([trustDomain, { verifierKey }]) => ({
    kind: "federation", name: trustDomain, document: { trustDomain, profile: "https_web", endpointUrl: `https://localhost:${server.port}/${trustDomain}.bundle.note`, hub: { name: "hub.example", key: verifierKey } },
  })), "system");
});

/** The CA of a trust domain, with its log. */
function memberOf(own: "east" | "west", rows: MemoryRows): HubWitness {
  const [logKey, cosigner] = own === "east" ? [forked.verifierKey, eastsWitness] : [westsLog.verifierKey, westsWitness];
  const store = { ...memoryReader(rows), report: ca.store.report, reports: ca.store.reports, swapReport: ca.store.swapReport };
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  witness = logWitness({ documents, store, cosigner, log, now });
  const metrics = { cosigned: () => undefined };
  const submitter = checkpointSubmitter({ documents, store, proofOf: async () => ({ profile: "stranger" }), metrics, now });
  return hubWitness({ documents, store, witness, submitter, keys: { logKey, witnessKey: cosigner.verifierKey }, trustDomain: own, webRoots: [web.pem], metrics, now, random: () => 0 });
}
const relationship = async (trustDomain: string) => relationshipsOf(await documents.refresh()).get(trustDomain)!;
/** A look that is due. */
async function look(member: HubWitness, at: string): Promise<void> {
  time.nowMs += 600_000;
  return member.look(await relationship(at));
}
async function request(rows: MemoryRows, oldSize: number, source = rows): Promise<string> {
  const { size, note } = await newestOf(rows);
  return encodeAddCheckpoint({ oldSize, proof: await consistencyProof(oldSize, size, memoryReader(source)), note });
}
const refused = { code: "hub_refused" };

describe("AUD-10: a member of a hub as a witness of another's log", () => {
  const cosignedSize = async (): Promise<number> => {
    const note = await witness.cosigned(origin);
    return note === undefined ? 0 : parseCheckpoint(parseNote(note)).size;
  };
  const show = (checkpoints: readonly string[], more: Partial<HubLog> & { readonly by?: NoteSigner; readonly file?: string } = {}): void => void files.set(more.file ?? "east.log.note", signHubLog({
    trustDomain: "east", signedAtMs: time.nowMs + 600_000, logKey: forked.verifierKey, witnessKey: eastsWitness.verifierKey, checkpoints, cosigned: {}, ...more,
  }, more.by ?? east));
  const [told, whole] = [truncated(forked.told, early), truncated(forked.told, later)];
  /** West, which has cosigned east's log up to `early`. */
  async function begun(): Promise<HubWitness> {
    const member = memberOf("west", westsLog.rows);
    show([await request(told, 0)]);
    await look(member, "east");
    return member;
  }

  test("cosigns it from its beginning, then what continues it, and the newest again, so that it is known to be that", async () => {
    const member = await begun();
    expect([await cosignedSize(), await relationship("east")]).toEqual([early, expect.objectContaining({ logKey: forked.verifierKey, witnessKey: eastsWitness.verifierKey })]);
    show([await request(whole, 0), await request(whole, early)]);
    await look(member, "east");
    expect(await cosignedSize()).toBe(later);
    const before = await witness.cosigned(origin);
    show([await request(whole, 0)]);
    await look(member, "east");
    expect([await cosignedSize(), await witness.cosigned(origin) === before]).toEqual([later, false]);
  });

  test.each<[string, Partial<HubLog>]>([
    ["log", { logKey: westsLog.verifierKey }], ["witness", { witnessKey: westsWitness.verifierKey }], ["log, in the place of its witness's,", { witnessKey: forked.verifierKey }],
  ])("takes down no key of another's %s", async (_claim, keys) => {
    const member = memberOf("west", westsLog.rows);
    show([await request(told, 0)], keys);
    await expect(look(member, "east")).rejects.toMatchObject({ code: "endpoint_answer" });
    expect([await cosignedSize(), (await relationship("east")).logKey]).toEqual([0, undefined]);
  });

  test("waits where nothing leads from what it cosigned to what is shown", async () => {
    const member = await begun();
    show([await request(whole, 0), await request(whole, early - 1)]);
    await look(member, "east");
    expect(await cosignedSize()).toBe(early);
  });

  test("says in the hub what it cosigned, by which whoever has it holds the log against it", async () => {
    const member = await begun();
    expect((await member.shown())!.cosigned).toEqual({ east: await witness.cosigned(origin) });
    const note = signHubLog((await member.shown())!, west);
    expect([cosignedIn(note, "east"), cosignedIn(note, "north"), cosignedIn("x\n", "east")]).toEqual([await witness.cosigned(origin), undefined, undefined]);
  });

  test.each<[string, () => Promise<void>]>([
    ["another history of it, by its own key", async () => show([await request(truncated(forked.rewritten, later), early, forked.rewritten)])],
    ["another history of the same size", async () => show([await request(truncated(forked.rewritten, early), 0, forked.rewritten)])],
    ["a proof that leads elsewhere", async () => show([encodeAddCheckpoint({ oldSize: early, proof: [Buffer.alloc(32)], note: (await newestOf(whole)).note })])],
    ["a checkpoint that its log has not signed", async () => show([(await request(whole, early)).replace(/— .*\n$/, encodeSignatureLine({ name: origin, keyId: "00000000", signature: Buffer.alloc(64) }))])],
    ["its log by another key", async () => show([await request(whole, early)], { logKey: memoryLog().verifierKey })],
    ["another's keys as its own", async () => show([await request(whole, early)], { witnessKey: westsWitness.verifierKey })],
    ["it, signed by another key for hubs", async () => show([await request(whole, early)], { by: signer("east") })],
    ["it, said by another member", async () => show([await request(whole, early)], { by: west })],
    ["what another member shows", async () => show([await request(whole, early)], { trustDomain: "west" })],
    ["what it showed before", async () => show([await request(whole, early)], { signedAtMs: time.nowMs - 1 })],
    ["what it showed days ago", async () => show([await request(whole, early)], { signedAtMs: time.nowMs - 4 * dayMs })],
    ["what is of the future", async () => show([await request(whole, early)], { signedAtMs: time.nowMs + 600_000 + hourMs })],
    ["something else of the same lines that it signed", async () => {
      show([await request(whole, early)]);
      files.set("east.log.note", east.sign(parseNote(files.get("east.log.note")!).text.replace("/log/v1", "/other/v1")));
    }],
    ["more than a member has witnesses", async () => {
      const one = await request(whole, early);
      show(Array.from({ length: maxShown + 1 }, () => one));
    }],
    ["what cannot be read", async () => show(["x"])],
  ])("does not cosign when it is shown %s", async (_claim, act) => {
    const member = await begun();
    await act();
    await expect(look(member, "east")).rejects.toMatchObject({ code: expect.stringMatching(/^(hub_refused|endpoint_answer)$/) as string });
    expect(await cosignedSize()).toBe(early);
  });
});

describe("AUD-10: a member of a hub whose log is witnessed", () => {
  const rows = truncated(forked.told, later);
  async function cosigned(of: MemoryRows, by: Cosigner = westsWitness): Promise<string> {
    const { note } = await newestOf(of);
    return note + by.cosign(parseNote(note).text, time.nowMs);
  }
  const show = (note: string, more: Partial<HubLog> & { readonly by?: NoteSigner } = {}): void => void files.set("west.log.note", signHubLog({
    trustDomain: "west", signedAtMs: time.nowMs + 600_000, logKey: westsLog.verifierKey, witnessKey: westsWitness.verifierKey, checkpoints: [], cosigned: { east: note }, ...more,
  }, more.by ?? west));
  const known = async () => {
    const [row] = await ca.store.reports({ kind: "cosignature", name: "west", nowMs: 0, limit: 1 });
    return row && JSON.parse(row.body) as object;
  };

  test("takes the cosignature, and shows from there what continues it", async () => {
    const member = memberOf("east", rows);
    expect((await member.shown())!.checkpoints).toEqual([await request(rows, 0)]);
    show(await cosigned(truncated(forked.told, early)));
    const atMs = Math.floor(time.nowMs / 1000) * 1000;
    await look(member, "west");
    expect(await known()).toEqual({ size: early, atMs });
    expect((await member.shown())!.checkpoints).toEqual([await request(rows, 0), await request(rows, early)]);
    show(await cosigned(rows));
    await look(member, "west");
    expect((await member.shown())!.checkpoints).toEqual([await request(rows, 0)]);
  });

  test("takes none by another key of the witness than it was first seen with", async () => {
    const member = memberOf("east", rows);
    show(await cosigned(truncated(forked.told, early)));
    await look(member, "west");
    const before = await known();
    const another = cosignerOf("west");
    show(await cosigned(rows, another), { witnessKey: another.verifierKey });
    await expect(look(member, "west")).rejects.toMatchObject(refused);
    expect(await known()).toEqual(before);
  });

  test.each<[string, () => Promise<void>, RegExp]>([
    ["another history of its log, by its own key", async () => show(await cosigned(truncated(forked.rewritten, later))), /rewritten/],
    ["another history that it had before", async () => show(await cosigned(truncated(forked.rewritten, forked.forkedAt + 60))), /rewritten/],
    ["more entries than it has", async () => show(await cosigned(forked.told)), /the end of the log is gone/],
  ])("is told when a witness remembers %s", async (_claim, act, why) => {
    const member = memberOf("east", rows.entries.length < forked.told.entries.length ? rows : truncated(forked.told, early));
    await act();
    await expect(look(member, "west")).rejects.toMatchObject(refused);
    expect(await known()).toMatchObject({ size: 0, contradicts: true, error: expect.stringMatching(why) as string });
  });

  test.each<[string, () => Promise<void>]>([
    ["by another witness", async () => show(await cosigned(rows, cosignerOf("west")))],
    ["by a witness of another name", async () => show(await cosigned(rows, eastsWitness))],
    ["of something that its log never signed", async () => {
      const text = `${origin}\n1000000\n${Buffer.alloc(32).toString("base64")}\n`;
      show(`${text}\n${encodeSignatureLine({ name: origin, keyId: "00000000", signature: Buffer.alloc(64) })}${westsWitness.cosign(text, time.nowMs)}`);
    }],
    ["of another's log", async () => {
      const other = memoryLog("countersign.dev/west/log");
      show(`${other.sign(1, Buffer.alloc(32))}${westsWitness.cosign(parseNote(other.sign(1, Buffer.alloc(32))).text, time.nowMs)}`);
    }],
    ["without its own signature", async () => show(`${parseNote((await newestOf(rows)).note).text}\n${westsWitness.cosign(parseNote((await newestOf(rows)).note).text, time.nowMs)}`)],
    ["that another member puts in its name", async () => show(await cosigned(rows), { by: signer("west") })],
    ["that is none", async () => show("thank you")],
  ])("takes no cosignature %s", async (_claim, act) => {
    const member = memberOf("east", rows);
    await act();
    await expect(look(member, "west")).rejects.toMatchObject(refused);
    expect(await known()).toBeUndefined();
  });
});

test("a CA of several large hubs shows no more than its readers take, and all of one hub's", async () => {
  const member = memberOf("east", forked.told);
  const hubs = [1, 2, 3, 4, 5, 6];
  const witnesses = hubs.flatMap((hub) => Array.from({ length: maxWitnesses + 1 }, (_, index) => ({ hub: `hub-${hub}`, trustDomain: `cluster-${hub}-${index}` })));
  await documents.change(() => witnesses.map(({ hub, trustDomain }) => ({
    kind: "federation", name: trustDomain,
    document: { trustDomain, profile: "https_web", endpointUrl: `https://localhost:${server.port}/x`, hub: { name: hub, key: west.verifierKey }, logKey: memoryLog(`countersign.dev/${trustDomain}/log`).verifierKey, witnessKey: "x" },
  })), "system");
  const { note } = await newestOf(forked.told);
  for (const [index, { trustDomain }] of witnesses.entries()) {
    await ca.store.report(cosignatureRow(trustDomain, { size: index + 1, atMs: time.nowMs }, time.nowMs));
    await ca.store.report({ kind: "witnessed", name: `countersign.dev/${trustDomain}/log`, part: "", body: JSON.stringify(note), reportedAtMs: time.nowMs, expiresAtMs: time.nowMs + dayMs });
  }
  const shown = (await member.shown())!;
  expect(readHubLog(signHubLog(shown, east), "east", east.verifierKey)).toEqual(shown);
  expect(Math.min(shown.checkpoints.length, Object.keys(shown.cosigned).length)).toBeGreaterThan(maxWitnesses);
  await documents.change(() => witnesses.map(({ trustDomain }) => ({ kind: "federation", name: trustDomain })), "system");
});

test("keys that were seen first stay, also where another look began before they were known", async () => {
  const first = { logKey: westsLog.verifierKey, witnessKey: westsWitness.verifierKey };
  await pinKeys(documents, "west", first);
  const later = await pinKeys(documents, "west", { logKey: memoryLog("countersign.dev/west/log").verifierKey, witnessKey: cosignerOf("west").verifierKey });
  expect([later, await relationship("west")]).toEqual([expect.objectContaining(first), expect.objectContaining(first)]);
});

test("in a large hub a member looks at the logs of its neighbours alone", async () => {
  const member = memberOf("east", forked.told);
  const others = Array.from({ length: 40 }, (_, index) => `cluster-${index}`);
  const hub = { name: "hub.large", key: west.verifierKey };
  await documents.change(() => others.map((trustDomain) => ({ kind: "federation", name: trustDomain, document: { trustDomain, profile: "https_web", endpointUrl: `https://localhost:${server.port}/x`, hub } })), "system");
  const before = server.asked.length;
  for (const trustDomain of others) await member.look(await relationship(trustDomain));
  const isWitness = witnessRing(["east", ...others]);
  expect(server.asked.slice(before)).toEqual(others.filter((one) => isWitness(one, "east") || isWitness("east", one)).map((one) => `/${one}.log.note`));
  expect(server.asked.slice(before)).toHaveLength(2 * maxWitnesses);
  await documents.change(() => others.map((trustDomain) => ({ kind: "federation", name: trustDomain })), "system");
});

test("in a hub each member has sixteen witnesses, or all others where they are fewer, and is one for as many", () => {
  for (const size of [2, 17, 40]) {
    const members = Array.from({ length: size }, (_, index) => `cluster-${index}`);
    const isWitness = witnessRing(members);
    for (const one of members) {
      expect(members.filter((other) => isWitness(other, one))).toHaveLength(Math.min(maxWitnesses, size - 1));
      expect(members.filter((other) => isWitness(one, other))).toHaveLength(Math.min(maxWitnesses, size - 1));
      expect([isWitness(one, one), isWitness("stranger", one)]).toEqual([false, false]);
    }
    // The same for whoever looks, in whatever order they know them.
    const shuffled = witnessRing([...members].reverse());
    expect(members.every((one) => members.every((other) => shuffled(one, other) === isWitness(one, other)))).toBe(true);
  }
});
