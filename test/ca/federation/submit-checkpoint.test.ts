import { generateKeyPairSync } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { parseAddCheckpoint } from "../../../ca/audit/add-checkpoint.ts";
import { checkpointSigner } from "../../../ca/audit/checkpoint.ts";
import { logCosigner } from "../../../ca/audit/cosignature.ts";
import { parseNote } from "../../../ca/audit/note.ts";
import { documentKeeper, type Documents } from "../../../ca/documents.ts";
import { relationshipsOf } from "../../../ca/federation/documents.ts";
import { checkpointSubmitter, type Submitter } from "../../../ca/federation/submit-checkpoint.ts";
import { bundleEndpoint, type BundleEndpoint } from "../../support/bundle-endpoint.ts";
import { startTestCa, type TestCa } from "../../support/running-ca.ts";
import { dns, testAuthority } from "../../support/test-ca.ts";

const web = testAuthority({ trustDomain: "web.example" });
const newKey = () => generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
const keyOf = (trustDomain: string): string => checkpointSigner({ origin: `countersign.dev/${trustDomain}/log`, privateKeyPkcs8: newKey() }).verifierKey;
const cosignerOf = (trustDomain: string) => logCosigner({ name: `countersign.dev/${trustDomain}/witness`, logPrivateKeyPkcs8: newKey() });
const [witness, stranger] = [cosignerOf("west"), cosignerOf("west")];
let east: TestCa;
let documents: Documents;
let west: BundleEndpoint;
let submitter: Submitter;
/** What west's API says its keys are, and how it answers a checkpoint. */
let keys: object;
let cosign: (body: string) => { readonly status: number; readonly text: string };

beforeAll(async () => {
  east = await startTestCa();
  west = await bundleEndpoint(web.leaf({ names: [dns("localhost")] }), "");
  west.answer = (request, response) => {
    if (request.method === "GET") return void response.end(JSON.stringify(keys));
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => {
      const { status, text } = cosign(Buffer.concat(chunks).toString());
      response.writeHead(status).end(text);
    });
  };
});
afterAll(async () => {
  await west.close();
  await east.close();
});
beforeEach(async () => {
  documents = documentKeeper({ store: east.store, now: () => new Date() });
  await documents.change(() => [{ kind: "federation", name: "west", document: { trustDomain: "west", profile: "https_web", endpointUrl: west.url, apiUrl: west.url } }], "system");
  await east.store.dropReports([{ kind: "cosignature", name: "west", part: "" }]);
  submitter = checkpointSubmitter({
    documents, store: east.store, metrics: { cosigned: () => undefined }, now: () => new Date(), proofOf: async () => ({ profile: "https_web", roots: [web.pem] }),
  });
  keys = { logKey: keyOf("west"), witnessKey: witness.verifierKey };
  cosign = (body) => ({ status: 200, text: witness.cosign(parseNote(parseAddCheckpoint(body).note).text, Date.now()) });
});

const relationship = async () => relationshipsOf(await documents.refresh()).get("west")!;
const submit = async () => submitter.submit(await relationship());
const cosigned = async () => (await submitter.cosigned()).get("west");

test("the newest checkpoint is sent with a proof from what was cosigned last; nothing is sent while it is the newest", async () => {
  const olds: number[] = [];
  const plain = cosign;
  cosign = (body) => {
    olds.push(parseAddCheckpoint(body).oldSize);
    return plain(body);
  };
  await submit();
  const { size } = (await cosigned())!;
  await submit();
  await east.ca.federation.invite({}, east.admin);
  await submit();
  expect([olds, (await cosigned())!.size > size]).toEqual([[0, size], true]);
});

test("who was cosigned further than it knows goes on from there", async () => {
  const newest = (await east.store.checkpoint())!.size;
  const plain = cosign;
  cosign = (body) => (parseAddCheckpoint(body).oldSize === newest ? plain(body) : { status: 409, text: `${newest}\n` });
  await submit();
  expect((await cosigned())!.size).toBeGreaterThanOrEqual(newest);
});

test.each<[string, () => object]>([
  ["of another trust domain's log", () => ({ logKey: keyOf("north"), witnessKey: witness.verifierKey })],
  ["of another's witness", () => ({ logKey: keyOf("west"), witnessKey: cosignerOf("north").verifierKey })],
  ["that are none", () => ({ logKey: "x", witnessKey: witness.verifierKey })],
  ["that are not there", () => ({})],
])("keys %s are not taken down", async (_, told) => {
  keys = told();
  await expect(submit()).rejects.toMatchObject({ code: "endpoint_answer" });
  expect((await relationship()).logKey).toBeUndefined();
});

test("keys are taken down once, and who added the peer stays known", async () => {
  const { addedAtMs } = await relationship();
  await submit();
  const pinned = await relationship();
  keys = { logKey: keyOf("west"), witnessKey: stranger.verifierKey };
  await submit();
  expect(await relationship()).toEqual(pinned);
  expect(pinned).toMatchObject({ ...keys, logKey: pinned.logKey, witnessKey: witness.verifierKey, addedAtMs });
});

test.each<[string, (text: string) => { readonly status: number; readonly text: string }, object]>([
  ["another's cosignature", (text) => ({ status: 200, text: stranger.cosign(text, Date.now()) }), { size: 0 }],
  ["a cosignature of something else", () => ({ status: 200, text: witness.cosign("x\n", Date.now()) }), { size: 0 }],
  ["no cosignature", () => ({ status: 200, text: "thank you\n" }), { size: 0 }],
  ["a failure", () => ({ status: 500, text: "" }), { size: 0 }],
  ["that it knows no such log", () => ({ status: 404, text: "" }), { size: 0 }],
  ["that it has seen more than there is", () => ({ status: 409, text: "1000000\n" }), { contradicts: true }],
  ["that it has seen another history", () => ({ status: 422, text: "" }), { contradicts: true }],
])("%s is an answer that counts as none, and is kept for who looks", async (_, answer, kept) => {
  cosign = (body) => answer(parseNote(parseAddCheckpoint(body).note).text);
  await expect(submit()).rejects.toMatchObject({ code: "endpoint_answer" });
  const { error, atMs, contradicts = false } = (await cosigned())!;
  expect([typeof error, atMs, contradicts]).toEqual(["string", undefined, "contradicts" in kept]);
});
