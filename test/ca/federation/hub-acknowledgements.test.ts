import { generateKeyPairSync, hash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { noteSigner, type NoteSigner } from "../../../ca/audit/note-signer.ts";
import type { HeldBundle } from "../../../ca/contract/acknowledgements.ts";
import { documentKeeper } from "../../../ca/documents.ts";
import { signHubHoldings, type HubHoldings } from "../../../ca/federation/hub-holdings.ts";
import { memberKeyName, signHubBundle, signHubMembers } from "../../../ca/federation/hub-notes.ts";
import { encodeHubText } from "../../../ca/federation/hub-text.ts";
import { federatedPeers, type Peers } from "../../../ca/federation/peers.ts";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { bundleEndpoint, type BundleEndpoint } from "../../support/bundle-endpoint.ts";
import { dayMs, hourMs, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { dns, testAuthority } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-hub-acknowledgements-"));
const web = testAuthority({ trustDomain: "web.example" });
const signer = (name: string): NoteSigner => noteSigner(name, generateKeyPairSync("ed25519").privateKey);
const memberOf = (trustDomain: string) => ({ trustDomain, authority: testAuthority({ trustDomain }), signer: signer(memberKeyName(trustDomain)) });
const [west, north, south] = [memberOf("west"), memberOf("north"), memberOf("south")];
const hub = signer("hub.example");
const ofWest = "spiffe://west/countersign/ca";
let east: TestCa;
let peers: Peers;
let server: BundleEndpoint;
/** What is in the hub, by name: whoever holds it writes what they like. */
const files = new Map<string, string>();
/** Whether members have gone. */
let silent = false;
/** The newest that east published. */
let newest: number;

beforeAll(async () => {
  writeFileSync(join(folder, "web.pem"), web.pem);
  // Without timers: each round is one that a test asked for.
  east = await startTestCa({ settings: { federationWebRoots: join(folder, "web.pem"), bundleRefreshHint: "60s" }, deps: { onDemand: true } });
  await east.ca.operateAuthority({ action: "prepare" }, east.admin);
  newest = Number(east.ca.bundle().sequence);
  const now = (): Date => new Date(east.clock.nowMs);
  peers = federatedPeers({ documents: documentKeeper({ store: east.store, now }), store: east.store, trustDomain: "east", feedEpoch: east.ca.feedEpoch, publishedSequence: () => newest, limits: east.ca.limits, now });
  server = await bundleEndpoint(web.leaf({ names: [dns("localhost")] }), "");
  server.answer = ({ url = "", headers }, response) => {
    const text = files.get(url.slice("/fleet/".length));
    const etag = text === undefined ? "" : `"${hash("sha256", text)}"`;
    if (text !== undefined && headers["if-none-match"] === etag) return void response.writeHead(304, { etag }).end();
    response.writeHead(text === undefined ? 404 : 200, { etag }).end(text);
  };
});
beforeAll(async () => {
  files.set("members.note", signHubMembers({ sequence: 1, signedAtMs: east.clock.nowMs, keys: [west, north, south].map(({ signer: { verifierKey } }) => verifierKey) }, hub));
  await subscribe();
  publish();
  await look();
});
afterAll(async () => {
  await server.close();
  await east.close();
  rmSync(folder, { recursive: true });
});
/** As if no member had ever said anything. */
beforeEach(async () => {
  silent = false;
  await east.store.dropReports([west, north, south].map(({ trustDomain }) => ({ kind: "federation-peer", name: trustDomain, part: "" })));
  for (const { trustDomain } of [west, north, south]) files.delete(`${trustDomain}.holds.note`);
});

const subscribe = () => east.ca.federation.subscribe(encodeHubText({ url: `https://localhost:${server.port}/fleet/`, key: hub.verifierKey }), east.admin);
function publish(): void {
  for (const { trustDomain, authority, signer: by } of [west, north, south]) {
    files.set(`${trustDomain}.bundle.note`, signHubBundle({ trustDomain, feedEpoch: "one", signedAtMs: east.clock.nowMs, bundle: encodeBundle({ ...authority.bundle(), sequence: 1n, refreshHintSeconds: 60 }) }, by));
  }
}
const ofEast = (sequence: number, feedEpoch = east.ca.feedEpoch): ReadonlyMap<string, HeldBundle> => new Map([["east", { feedEpoch, bundleSequence: String(sequence) }]]);
function say({ trustDomain, signer: by }: typeof west, held: HubHoldings["held"], more: Partial<HubHoldings> & { readonly by?: NoteSigner; readonly file?: string } = {}): void {
  files.set(more.file ?? `${trustDomain}.holds.note`, signHubHoldings({ trustDomain, signedAtMs: east.clock.nowMs, held, ...more }, more.by ?? by));
}
/** Once, when it is due. */
async function look(afterMs = 61_000): Promise<void> {
  east.clock.nowMs += afterMs;
  publishAgain();
  await east.ca.tick();
}
const publishAgain = (): void => void (silent || publish());
const waitedFor = async (): Promise<readonly string[]> => (await peers.behind(newest)).map(({ spiffeId }) => spiffeId);
const said = async () => (await east.ca.federation.get("west")).acknowledged;

describe("a root of this CA waits for a member of a hub", () => {
  test("that says it has this CA's bundle, until it says that it has the one with the root", async () => {
    expect(await waitedFor()).toEqual([]);
    say(west, ofEast(newest - 1));
    await look();
    expect([await waitedFor(), await said()]).toEqual([[ofWest], { bundleSequence: String(newest - 1), at: new Date(east.clock.nowMs - 61_000).toISOString() }]);
    say(west, ofEast(newest));
    await look();
    expect([await waitedFor(), (await said())?.bundleSequence]).toEqual([[], String(newest)]);
  });

  test("and for none that has no bundle of this CA, or has it no more", async () => {
    say(west, new Map([["north", { feedEpoch: "one", bundleSequence: "1" }]]));
    await look();
    expect([await waitedFor(), await said()]).toEqual([[], undefined]);
    say(west, ofEast(newest - 1));
    await look();
    say(west, new Map());
    await look();
    expect([await waitedFor(), await said()]).toEqual([[], undefined]);
  });

  test("that has what was published before a restore from a backup, whatever its number", async () => {
    say(west, ofEast(newest + 5, "the-feed-before"));
    await look();
    expect([await waitedFor(), (await said())?.bundleSequence]).toEqual([[ofWest], "0"]);
  });

  test("and looks no more often than it has to at what names the whole fleet", async () => {
    const asked = (from: number): number => server.asked.slice(from).filter((path) => path === "/fleet/west.holds.note").length;
    say(west, ofEast(newest));
    await look();
    const before = server.asked.length;
    for (let minutes = 0; minutes < 5; minutes++) await look();
    expect(asked(before)).toBe(0);
    say(west, ofEast(newest), { signedAtMs: east.clock.nowMs + 6 * hourMs });
    await look(6 * hourMs + 1000);
    expect(asked(before)).toBe(1);
  });
});

describe("a member that vanished", () => {
  test("counts no more three days after its last word, but only when it is looked for and not heard, and is told of", async () => {
    say(west, ofEast(newest - 1));
    await look();
    // This CA was away itself.
    silent = true;
    await look(3 * dayMs + hourMs);
    expect(await waitedFor()).toEqual([ofWest]);
    for (let looks = 0; looks < 2; looks++) await look(11 * 60_000);
    expect([await waitedFor(), await said()]).toEqual([[], expect.objectContaining({ vanished: true })]);
    silent = false;
    say(west, ofEast(newest - 1));
    await look(11 * 60_000);
    expect([await waitedFor(), (await said())?.vanished]).toEqual([[ofWest], undefined]);
  });
});

describe("whoever holds the hub, and no key of the member,", () => {
  test.each<[string, () => void]>([
    ["signs that it has the bundle", () => say(west, ofEast(newest), { by: signer(memberKeyName("west")) })],
    ["alters what it said", () => void files.set("west.holds.note", files.get("west.holds.note")!.replace(` ${newest - 1}\n`, ` ${newest}\n`))],
    ["shows what another member said, in its place", () => say(north, ofEast(newest), { file: "west.holds.note" })],
    ["has another member say it in its name", () => say(north, ofEast(newest), { trustDomain: "west", file: "west.holds.note" })],
    ["has another member say it in its own name, by its key", () => say(west, ofEast(newest), { trustDomain: "north" })],
    ["shows what it said before, when it had a newer one", () => say(west, ofEast(newest), { signedAtMs: east.clock.nowMs - hourMs })],
    ["shows what it said days ago", () => say(west, ofEast(newest), { signedAtMs: east.clock.nowMs - 4 * dayMs })],
    ["shows what is of the future", () => say(west, ofEast(newest), { signedAtMs: east.clock.nowMs + hourMs })],
    ["shows its bundle instead", () => void files.set("west.holds.note", files.get("west.bundle.note")!)],
    ["shows something else of the same lines that it signed", () => void files.set("west.holds.note", west.signer.sign(["countersign.dev/other/v1", "west", new Date(east.clock.nowMs).toISOString(), `east ${east.ca.feedEpoch} ${newest}`, ""].join("\n")))],
    ["shows one that names this trust domain twice", () => void files.set("west.holds.note", west.signer.sign(["countersign.dev/federation-hub/holdings/v1", "west", new Date(east.clock.nowMs).toISOString(), `east ${east.ca.feedEpoch} ${newest}`, `east ${east.ca.feedEpoch} ${newest}`, ""].join("\n")))],
    ["takes it away", () => void files.delete("west.holds.note")],
  ])("%s, and acknowledges nothing", async (_claim, act) => {
    say(west, ofEast(newest - 1));
    await look();
    act();
    await look();
    expect([await waitedFor(), (await said())?.bundleSequence]).toEqual([[ofWest], String(newest - 1)]);
  });

  test.each<[string, () => void]>([
    ["signs that it has an old one", () => say(west, ofEast(newest - 1), { by: signer(memberKeyName("west")) })],
    ["shows what another member said", () => say(north, ofEast(newest - 1), { file: "west.holds.note" })],
    ["shows what it said before it had it", () => say(west, ofEast(newest - 1), { signedAtMs: east.clock.nowMs - hourMs })],
    ["takes it away", () => void files.delete("west.holds.note")],
  ])("%s, and holds back nothing", async (_claim, act) => {
    say(west, ofEast(newest));
    await look();
    act();
    await look(6 * hourMs + 1000);
    expect(await waitedFor()).toEqual([]);
  });

  test("keeps a member that was removed and taken in again from nothing it said before", async () => {
    say(west, ofEast(newest));
    await look();
    await east.ca.federation.remove("west", east.admin);
    east.clock.nowMs += 1000;
    await subscribe();
    say(west, ofEast(newest), { signedAtMs: east.clock.nowMs - hourMs });
    await look();
    expect(await said()).toBeUndefined();
  });
});

test("what was said days ago is not taken, though it is the first that is heard", async () => {
  say(south, ofEast(newest - 1), { signedAtMs: east.clock.nowMs - 4 * dayMs });
  await look();
  expect([(await east.ca.federation.get("south")).acknowledged, await waitedFor()]).toEqual([undefined, []]);
});

test("a member itself cannot have what was not published", async () => {
  say(west, ofEast(newest - 1));
  await look();
  say(west, ofEast(newest + 1));
  await look();
  expect((await said())?.bundleSequence).toBe(String(newest - 1));
});

test("what is refused for now, since the member's clock is ahead, is looked at again, though the hub calls it unchanged", async () => {
  say(west, ofEast(newest - 1));
  await look();
  say(west, ofEast(newest), { signedAtMs: east.clock.nowMs + 61_000 + 5.5 * 60_000 });
  await look();
  expect((await said())?.bundleSequence).toBe(String(newest - 1));
  await look();
  expect((await said())?.bundleSequence).toBe(String(newest));
});
