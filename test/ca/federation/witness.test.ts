import { generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { encodeAddCheckpoint } from "../../../ca/audit/add-checkpoint.ts";
import { logCosigner, verifyCosignature } from "../../../ca/audit/cosignature.ts";
import { parseNote, parseVerifierKey, verifyNote } from "../../../ca/audit/note.ts";
import { consistencyProof } from "../../../ca/audit/proof.ts";
import { logWitness, type Witness } from "../../../ca/federation/witness.ts";
import { documentKeeper } from "../../../ca/documents.ts";
import { forkedLog, newestOf, truncated } from "../../support/forked-log.ts";
import { memoryReader, type MemoryRows } from "../../support/memory-log.ts";
import { startTestCa, type TestCa } from "../../support/running-ca.ts";

const forked = forkedLog();
const origin = "countersign.dev/east/log";
const cosigner = logCosigner({ name: "countersign.dev/west/witness", logPrivateKeyPkcs8: generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" }) });
let west: TestCa;
let witness: Witness;
let errors: string[];

beforeAll(async () => {
  west = await startTestCa({ settings: { trustDomain: "west" } });
  const documents = documentKeeper({ store: west.store, now: () => new Date() });
  await documents.change(() => [{ kind: "federation", name: "east", document: { trustDomain: "east", profile: "https_web", endpointUrl: "https://east/", logKey: forked.verifierKey } }], "system");
});
beforeEach(async () => {
  errors = [];
  await west.store.dropReports([{ kind: "witnessed", name: origin, part: "" }]);
  witness = logWitness({
    cosigner, store: west.store, documents: documentKeeper({ store: west.store, now: () => new Date() }), now: () => new Date(1_800_000_000_000),
    log: { info: () => undefined, warn: () => undefined, error: (_, message) => void errors.push(message) },
  });
});
afterAll(() => west.close());

const sizes = forked.told.checkpoints.map(({ size }) => size);
const [early, later] = [sizes.find((size) => size > forked.forkedAt + 50)!, sizes.at(-1)!];
/** What a log sends that believes to have been cosigned up to `oldSize`. */
async function request(rows: MemoryRows, oldSize: number, source = rows): Promise<string> {
  const { size, note } = await newestOf(rows);
  return encodeAddCheckpoint({ oldSize, proof: await consistencyProof(oldSize, size, memoryReader(source)), note });
}
const submit = async (rows: MemoryRows, oldSize: number) => witness.addCheckpoint(await request(rows, oldSize));

describe("AUD-10: a witness", () => {
  test("cosigns a log from its beginning, then what continues it, and shows the newest with both signatures", async () => {
    for (const [size, oldSize] of [[early, 0], [later, early], [later, later]] as const) {
      const rows = truncated(forked.told, size);
      const { status, body } = await submit(rows, oldSize);
      expect(status).toBe(200);
      const cosigned = parseNote((await newestOf(rows)).note + body);
      expect(verifyCosignature(cosigned, parseVerifierKey(cosigner.verifierKey, "cosignature"))).toBe(1_800_000_000_000);
      const shown = parseNote((await witness.cosigned(origin))!);
      expect(shown.text).toBe(cosigned.text);
      verifyNote(shown, [parseVerifierKey(forked.verifierKey)]);
      verifyCosignature(shown, parseVerifierKey(cosigner.verifierKey, "cosignature"));
    }
  });

  test("keeps a signature once that a log repeats: what is kept is shown to others", async () => {
    const { note } = await newestOf(forked.told);
    const [line = ""] = note.split("\n").slice(-2);
    expect(await witness.addCheckpoint(encodeAddCheckpoint({ oldSize: 0, proof: [], note: note + `${line}\n`.repeat(63) }))).toMatchObject({ status: 200 });
    expect(parseNote((await witness.cosigned(origin))!).signatures).toHaveLength(2);
  });

  test("tells who believes another size which one it cosigned last", async () => {
    await submit(truncated(forked.told, early), 0);
    expect(await submit(forked.told, 0)).toEqual({ status: 409, contentType: "text/x.tlog.size", body: `${early}\n` });
    expect(await submit(truncated(forked.told, sizes[3]!), sizes[2]!)).toMatchObject({ status: 409, body: `${early}\n` });
  });

  test("refuses another history of what it cosigned, which the log's key signed too, and says so aloud", async () => {
    await submit(truncated(forked.told, early), 0);
    expect(await submit(forked.rewritten, early)).toMatchObject({ status: 422 });
    expect(errors).toHaveLength(1);
    expect(await submit(truncated(forked.rewritten, early), early)).toMatchObject({ status: 409, body: `${early}\n` });
    expect(parseNote((await witness.cosigned(origin))!).text).toBe(parseNote((await newestOf(truncated(forked.told, early))).note).text);
  });

  test("refuses a log that went back", async () => {
    await submit(forked.told, 0);
    expect(await submit(truncated(forked.told, early), 0)).toMatchObject({ status: 409, body: `${later}\n` });
    expect(await witness.addCheckpoint(encodeAddCheckpoint({ oldSize: later, proof: [], note: (await newestOf(truncated(forked.told, early))).note }))).toMatchObject({ status: 400 });
  });

  test("refuses a proof that proves nothing", async () => {
    await submit(truncated(forked.told, early), 0);
    const { note } = await newestOf(forked.told);
    for (const proof of [[], [Buffer.alloc(32)]]) expect(await witness.addCheckpoint(encodeAddCheckpoint({ oldSize: early, proof, note }))).toMatchObject({ status: 422 });
    expect((await witness.addCheckpoint(encodeAddCheckpoint({ oldSize: 0, proof: [Buffer.alloc(32)], note }))).status).toBe(409);
  });

  test("knows no log but of those it is federated with, takes no signature but the log's, and no text that is no request", async () => {
    const other = forkedLog();
    expect(await submit(other.told, 0)).toMatchObject({ status: 403 });
    const { note } = await newestOf(forked.told);
    expect(await witness.addCheckpoint(encodeAddCheckpoint({ oldSize: 0, proof: [], note: note.replaceAll("east", "south") }))).toMatchObject({ status: 404 });
    expect(await witness.addCheckpoint("hello")).toMatchObject({ status: 400 });
    expect(await witness.cosigned(origin)).toBeUndefined();
  });

  test("cosigns one of two histories that come at once, on two replicas", async () => {
    const replica = logWitness({ cosigner, store: west.store, documents: documentKeeper({ store: west.store, now: () => new Date() }), now: () => new Date(), log: { info: () => undefined, warn: () => undefined, error: () => undefined } });
    const answers = await Promise.all([witness.addCheckpoint(await request(forked.told, 0)), replica.addCheckpoint(await request(forked.rewritten, 0))]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
  });
});
