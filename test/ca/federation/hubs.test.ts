import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { verifyLog } from "../../../ca/audit/verify.ts";
import { noteSigner, type NoteSigner } from "../../../ca/audit/note-signer.ts";
import type { FederationSummary } from "../../../ca/contract/federation.ts";
import { memberKeyName, signHubBundle, signHubMembers, type HubBundle } from "../../../ca/federation/hub-notes.ts";
import { encodeHubText } from "../../../ca/federation/hub-text.ts";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { bundleEndpoint, type BundleEndpoint } from "../../support/bundle-endpoint.ts";
import { auditEvents, dayMs, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { dns, testAuthority, type TestAuthority } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-hubs-"));
const web = testAuthority({ trustDomain: "web.example" });
const signer = (name: string): NoteSigner => noteSigner(name, generateKeyPairSync("ed25519").privateKey);
const memberOf = (trustDomain: string) => ({ trustDomain, authority: testAuthority({ trustDomain }), signer: signer(memberKeyName(trustDomain)) });
const hub = signer("hub.example");
const west = memberOf("west");
const north = memberOf("north");
let east: TestCa;
let server: BundleEndpoint;
/** What is in the hub, by name: whoever holds it writes what they like. */
const files = new Map<string, string>();
let sequence = 0;

beforeAll(async () => {
  writeFileSync(join(folder, "web.pem"), web.pem);
  // Without timers: each round is one that a test asked for.
  east = await startTestCa({ settings: { federationWebRoots: join(folder, "web.pem") }, deps: { onDemand: true } });
  server = await bundleEndpoint(web.leaf({ names: [dns("localhost")] }), "");
  server.answer = ({ url = "" }, response) => {
    const text = files.get(url.slice("/fleet/".length));
    response.writeHead(text === undefined ? 404 : 200).end(text);
  };
});
afterAll(async () => {
  await server.close();
  await east.close();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  for (const { name } of await east.ca.federation.hubs()) await east.ca.federation.unsubscribe(name, east.admin);
  for (const { trustDomain } of await east.ca.federation.list()) await east.ca.federation.remove(trustDomain, east.admin);
  files.clear();
});

const subscription = (by = hub): string => encodeHubText({ url: `https://localhost:${server.port}/fleet/`, key: by.verifierKey });
const subscribe = () => east.ca.federation.subscribe(subscription(), east.admin);
function list(keys: readonly string[], by = hub, at = (sequence += 1)): void {
  files.set("members.note", signHubMembers({ sequence: at, signedAtMs: east.clock.nowMs, keys }, by));
}
function publish({ trustDomain, authority, signer: by }: typeof west, more: Partial<HubBundle> & { readonly of?: TestAuthority; readonly by?: NoteSigner; readonly number?: bigint; readonly file?: string } = {}): void {
  const bundle = encodeBundle({ ...(more.of ?? authority).bundle(), trustDomain, sequence: more.number ?? 1n });
  files.set(more.file ?? `${trustDomain}.bundle.note`, signHubBundle({ trustDomain, feedEpoch: "one", signedAtMs: east.clock.nowMs, bundle, ...more }, more.by ?? by));
}
const members = async (): Promise<readonly string[]> => (await east.ca.federation.list()).map(({ trustDomain }) => trustDomain);
const rootsOf = async (name: string) => (await east.ca.federation.get(name)).bundle?.authorities.map(({ fingerprint }) => fingerprint) ?? [];
const rootOf = (authority: TestAuthority): string => authority.bundle().x509Authorities[0]!.fingerprint;
const refresh = (name: string): Promise<FederationSummary> => east.ca.federation.refresh(name);
/** Both are in it, and believed. */
async function joined(): Promise<void> {
  list([west.signer.verifierKey, north.signer.verifierKey]);
  publish(west);
  publish(north);
  await subscribe();
  for (const name of ["west", "north"]) await refresh(name);
}

describe("a subscriber of a hub", () => {
  test("believes who is in its list by the bundle that its own key signed, and has each in the audit log with the hub as the one who added it", async () => {
    await joined();
    expect([await rootsOf("west"), await rootsOf("north")]).toEqual([[rootOf(west.authority)], [rootOf(north.authority)]]);
    expect(await east.ca.federation.get("west")).toMatchObject({ hub: "hub.example", addedBy: "federation-hub:hub.example", profile: "https_web" });
    const entries = (await auditEvents(east.store)).filter(({ actor }) => actor === "federation-hub:hub.example");
    expect(entries.slice(-3)).toEqual([
      expect.objectContaining({ type: "federation.changed", name: "west", document: expect.objectContaining({ hub: { name: "hub.example", key: west.signer.verifierKey } }) as object }),
      expect.objectContaining({ type: "federation.changed", name: "north" }),
      expect.objectContaining({ type: "federation-hub.changed", name: "hub.example", document: expect.objectContaining({ list: expect.objectContaining({ sequence, members: 2 }) as object }) as object }),
    ]);
  });

  test("drops who leaves the list, and leaves alone who is federated with by another way", async () => {
    await east.ca.federation.add({ trustDomain: "north", profile: "https_web", endpointUrl: `https://localhost:${server.port}/fleet/other` }, east.admin);
    list([west.signer.verifierKey, north.signer.verifierKey]);
    expect(await subscribe()).toMatchObject({ kept: ["north"], list: { members: 2 } });
    list([]);
    expect(await subscribe()).toMatchObject({ list: { members: 0 }, refresh: { failures: 0 } });
    expect(await members()).toEqual(["north"]);
    expect((await auditEvents(east.store)).find(({ type, name, actor }) => type === "federation.removed" && name === "west" && actor === "federation-hub:hub.example")).toBeDefined();
  });

  test("looks again by itself, and federates with who was admitted meanwhile", async () => {
    await joined();
    const south = memberOf("south");
    list([west.signer.verifierKey, north.signer.verifierKey, south.signer.verifierKey]);
    publish(south);
    east.clock.nowMs += 61_000;
    await east.ca.tick();
    expect(await rootsOf("south")).toEqual([rootOf(south.authority)]);
  });

  test("keeps out whom an admin removed, until it subscribes again", async () => {
    await joined();
    await east.ca.federation.remove("west", east.admin);
    list([west.signer.verifierKey, north.signer.verifierKey]);
    east.clock.nowMs += 61_000;
    await east.ca.tick();
    expect(await east.ca.federation.hubs()).toMatchObject([{ excluded: ["west"], list: { sequence } }]);
    expect(await members()).toEqual(["north"]);
    await subscribe();
    expect(await members()).toEqual(["north", "west"]);
  });

  test("has all of it in a log that verifies", async () => {
    await joined();
    await east.ca.federation.remove("west", east.admin);
    expect(await verifyLog({ store: east.store })).toMatchObject({ ok: true });
  });

  test("that leaves it believes nobody who came by it", async () => {
    await joined();
    await east.ca.federation.unsubscribe("hub.example", east.admin);
    expect([await members(), await east.ca.federation.hubs()]).toEqual([[], []]);
    await expect(east.ca.federation.unsubscribe("hub.example", east.admin)).rejects.toMatchObject({ code: "not_found" });
  });

  test("never takes its own trust domain from it, and sees how the list has it", async () => {
    for (const [keys, own] of [[[], "absent"], [[signer(memberKeyName("east")).verifierKey], "other-key"], [[east.ca.federation.hubKey], "listed"]] as const) {
      list(keys);
      expect(await subscribe()).toMatchObject({ own });
      expect(await members()).toEqual([]);
    }
  });

  test("knows a member by another key from the list that says so, and from none that it signed itself", async () => {
    await joined();
    const next = { ...west, signer: signer(memberKeyName("west")) };
    publish(next, { number: 2n });
    await expect(refresh("west")).rejects.toMatchObject({ code: "federation_failed" });
    list([next.signer.verifierKey, north.signer.verifierKey]);
    await subscribe();
    expect((await refresh("west")).bundle?.sequence).toBe("2");
    expect((await auditEvents(east.store)).filter(({ type, name }) => type === "federation.changed" && name === "west").at(-1)).toMatchObject({ document: { hub: { key: next.signer.verifierKey } } });
  });

  test("believes nobody by a list that has ended, which whoever holds the hub shows on, and everybody again by the next one", async () => {
    const valid = (at: number): void => void files.set("members.note", signHubMembers({ sequence: at, signedAtMs: east.clock.nowMs, validUntilMs: east.clock.nowMs + dayMs, keys: [west.signer.verifierKey] }, hub));
    valid((sequence += 1));
    publish(west);
    expect(await subscribe()).toMatchObject({ list: { members: 1, validUntil: new Date(east.clock.nowMs + dayMs).toISOString() } });
    const endsAt = (east.clock.nowMs + dayMs) / 1000;
    east.clock.nowMs += dayMs - 1;
    await east.ca.tick();
    expect([await members(), await east.ca.metrics.registry.getSingleMetricAsString("countersign_federation_hub_list_ends_timestamp_seconds")]).toEqual([["west"], expect.stringContaining(`{hub="hub.example"} ${endsAt}`)]);
    east.clock.nowMs += 1;
    await east.ca.tick();
    expect([await members(), east.logged.at(-1)]).toEqual([[], expect.stringContaining("has ended")]);
    east.clock.nowMs += 61_000;
    await east.ca.tick();
    expect(await east.ca.federation.hubs()).toMatchObject([{ refresh: { error: expect.stringContaining("ended at") as string } }]);
    expect((await auditEvents(east.store)).filter(({ type, actor }) => type === "federation.removed" && actor === "federation-hub:hub.example").at(-1)).toMatchObject({ name: "west" });
    valid((sequence += 1));
    await subscribe();
    expect(await members()).toEqual(["west"]);
  });

  test("takes nobody from a list that has ended before it was read", async () => {
    files.set("members.note", signHubMembers({ sequence: (sequence += 1), signedAtMs: east.clock.nowMs - dayMs, validUntilMs: east.clock.nowMs, keys: [west.signer.verifierKey] }, hub));
    expect((await subscribe()).refresh?.error).toMatch(/ended at/);
    expect(await members()).toEqual([]);
  });

  test("takes a thousand members from one list, in one step", async () => {
    const keys = Array.from({ length: 1000 }, (_, index) => signer(memberKeyName(`cluster-${index}.fleet.example`)).verifierKey);
    list(keys);
    expect(await subscribe()).toMatchObject({ list: { members: 1000 } });
    expect((await members()).length).toBe(1000);
    await east.ca.federation.unsubscribe("hub.example", east.admin);
  });
});

describe("whoever holds the hub, and no key, or makes a list that is none,", () => {
  test.each<[string, () => void, RegExp]>([
    ["signs a list of members", () => list([west.signer.verifierKey, north.signer.verifierKey, signer(memberKeyName("rogue")).verifierKey], signer("hub.example")), /is signed by/],
    ["makes a list hold for longer", () => {
      files.set("members.note", signHubMembers({ sequence: (sequence += 1), signedAtMs: east.clock.nowMs, validUntilMs: east.clock.nowMs + 1, keys: [] }, hub).replace(/until .*\n/, ""));
    }, /not made by that key/],
    ["alters the list", () => void files.set("members.note", files.get("members.note")!.replace(/countersign\.dev\/north.*\n/, "")), /not made by that key/],
    ["shows an older list", () => list([], hub, sequence - 1), /older than/],
    ["shows another list of the same number, signed before", () => void files.set("members.note", signHubMembers({ sequence, signedAtMs: east.clock.nowMs - 1, keys: [] }, hub)), /signed before/],
    ["shows a member's bundle as the list", () => void files.set("members.note", files.get("west.bundle.note")!), /is signed by/],
    ["shows something else that the hub's key signed", () => void files.set("members.note", hub.sign(`countersign.dev/other/v1\n${sequence + 1}\n${new Date(east.clock.nowMs).toISOString()}\n`)), /no list of members/],
    ["shows a list that is longer than any", () => list(Array.from({ length: 2001 }, () => west.signer.verifierKey)), /lists 2001 trust domains/],
    ["shows one that has a trust domain twice, by another key", () => list([west.signer.verifierKey, signer(memberKeyName("west")).verifierKey]), /trust domain twice/],
    ["takes the list away", () => void files.delete("members.note"), /status 404/],
  ])("%s, and changes nothing", async (_claim, act, why) => {
    await joined();
    act();
    east.clock.nowMs += 61_000;
    await east.ca.tick();
    expect(await east.ca.federation.hubs()).toMatchObject([{ refresh: { failures: 1, error: expect.stringMatching(why) as string } }]);
    expect(await members()).toEqual(["north", "west"]);
  });

  const rogue = testAuthority({ trustDomain: "west" });
  test.each<[string, () => void, RegExp]>([
    ["signs a bundle of another root", () => publish(west, { of: rogue, by: signer(memberKeyName("west")), number: 9n }), /is signed by/],
    ["puts a bundle there that nobody signed", () => void files.set("west.bundle.note", encodeBundle(rogue.bundle())), /signed note/],
    ["shows another member's bundle in its place", () => publish(north, { file: "west.bundle.note" }), /is signed by/],
    ["shows another document of its that has the same lines", () => void files.set("west.bundle.note", west.signer.sign(["countersign.dev/other/v1", "west", "one", new Date(east.clock.nowMs).toISOString(), encodeBundle(rogue.bundle()), ""].join("\n"))), /no bundle of west/],
    ["alters it", () => void files.set("west.bundle.note", files.get("west.bundle.note")!.replace("one", "two")), /not made by that key/],
    ["shows an older one, of before a restore", () => publish(west, { of: rogue, feedEpoch: "zero", number: 9n, signedAtMs: east.clock.nowMs - 3_600_000 }), /signed before/],
    ["shows one of a lower sequence", () => publish(west, { number: 0n }), /sequence 0 is below/],
    ["shows the same for days", () => void (east.clock.nowMs += 3 * dayMs + 1), /does not publish any more/],
    ["shows one of the future", () => publish(west, { signedAtMs: east.clock.nowMs + 600_000, number: 2n }), /future/],
    ["takes it away", () => void files.delete("west.bundle.note"), /status 404/],
  ])("%s, and the last good one stays", async (_claim, act, why) => {
    await joined();
    act();
    await expect(refresh("west")).rejects.toMatchObject({ code: "federation_failed", message: expect.stringMatching(why) as string });
    expect(await rootsOf("west")).toEqual([rootOf(west.authority)]);
  });
});

describe("a member's key", () => {
  test("is good for its own trust domain alone: what it signs of another's is none of its bundles, nor a list", async () => {
    list([west.signer.verifierKey, north.signer.verifierKey]);
    await subscribe();
    publish(north, { by: west.signer, file: "west.bundle.note" });
    await expect(refresh("west")).rejects.toMatchObject({ message: expect.stringMatching(/no bundle of west/) as string });
  });
});

describe("a subscription", () => {
  test("to another hub of that name, or from elsewhere, is refused while the first one stands", async () => {
    list([]);
    await subscribe();
    await expect(east.ca.federation.subscribe(subscription(signer("hub.example")), east.admin)).rejects.toMatchObject({ code: "federation_exists" });
  });

  test.each(["countersign_hub_", "https://hub.example/", "countersign_hub_e30", encodeHubText({ url: "http://hub.example/", key: hub.verifierKey }), encodeHubText({ url: "https://hub.example/x", key: hub.verifierKey }), encodeHubText({ url: "https://hub.example/", key: `${hub.verifierKey.slice(0, -4)}AAA=` }), encodeHubText({ url: "https://hub.example/", key: west.signer.verifierKey })])("that is none is refused: %s", async (text) => {
    await expect(east.ca.federation.subscribe(text, east.admin)).rejects.toMatchObject({ code: "federation_refused", message: expect.stringContaining("no hub's subscription") as string });
  });
});
