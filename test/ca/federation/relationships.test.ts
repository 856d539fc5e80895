import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { AddFederationRequest, FederationSummary } from "../../../ca/contract/federation.ts";
import { Refusal } from "../../../ca/refusal.ts";
import { parseBundleMap } from "../../../ca/pki/bundle-map.ts";
import { encodeBundle, parseBundle, type Bundle } from "../../../ca/pki/bundle.ts";
import { bundleEndpoint, type BundleEndpoint } from "../../support/bundle-endpoint.ts";
import { auditEvents, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { dns, testAuthority } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-federation-"));
const web = testAuthority({ trustDomain: "web.example" });
const west = testAuthority({ trustDomain: "west" });
const north = testAuthority({ trustDomain: "north" });
const endpointId = "spiffe://west/countersign/ca";
let east: TestCa;
let byWeb: BundleEndpoint;
let bySpiffe: BundleEndpoint;
/** What both endpoints publish. */
let published: Bundle;

beforeAll(async () => {
  writeFileSync(join(folder, "web.pem"), web.pem);
  east = await startTestCa({ settings: { federationWebRoots: join(folder, "web.pem") } });
  byWeb = await bundleEndpoint(web.leaf({ names: [dns("localhost")] }), "");
  bySpiffe = await bundleEndpoint(west.leaf({ spiffeId: endpointId }), "");
});
afterAll(async () => {
  await byWeb.close();
  await bySpiffe.close();
  await east.close();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  published = { ...west.bundle(), sequence: 7n, refreshHintSeconds: 60 };
  for (const endpoint of [byWeb, bySpiffe]) endpoint.answer = (_, response) => void response.end(encodeBundle(published));
  bySpiffe.present(west.leaf({ spiffeId: endpointId }));
  for (const { trustDomain } of await east.ca.federation.list()) await east.ca.federation.remove(trustDomain, east.admin);
});

const add = (more: Partial<AddFederationRequest> = {}): Promise<FederationSummary> => (
  east.ca.federation.add({ trustDomain: "west", profile: "https_web", endpointUrl: byWeb.url, ...more }, east.admin)
);
const addBySpiffe = (more: Partial<AddFederationRequest> = {}): Promise<FederationSummary> => (
  add({ profile: "https_spiffe", endpointUrl: bySpiffe.url, endpointSpiffeId: endpointId, bundle: encodeBundle(west.bundle()), ...more })
);
const rootsOf = ({ bundle }: FederationSummary): readonly string[] => (bundle?.authorities ?? []).map(({ fingerprint }) => fingerprint);
const fingerprint = (authority: typeof west): string => authority.bundle().x509Authorities[0]!.fingerprint;
/** What proxies are told. */
const told = async () => JSON.parse((await east.ca.federation.bundles()).json) as { readonly trustDomains: readonly string[]; readonly bundles: Record<string, object> };

test("BF-11, BF-13, FE-24: what is believed is told as a bundle map, too, each trust domain's own bundle by its name", async () => {
  const before = await east.ca.federation.bundleMap();
  await add();
  const { json, version } = await east.ca.federation.bundleMap();
  expect([[...parseBundleMap(before.json).keys()], [...parseBundleMap(json)].map(([name, { x509Authorities }]) => [name, x509Authorities.map((one) => one.fingerprint)])]).toEqual([
    ["east"], [["east", parseBundle("east", east.ca.bundle().jwks).x509Authorities.map((one) => one.fingerprint)], ["west", [fingerprint(west)]]],
  ]);
  expect([version === before.version, json.includes("refresh_hint")]).toEqual([false, false]);
  await east.ca.federation.remove("west", east.admin);
  expect([...parseBundleMap((await east.ca.federation.bundleMap()).json).keys()]).toEqual(["east"]);
});

describe("federating", () => {
  test("FE-05, FE-19, FE-24: fetches the bundle at once, tells it to proxies under its trust domain's name, and has it in the audit log", async () => {
    const added = await add();
    expect(added).toMatchObject({ trustDomain: "west", profile: "https_web", bundle: { sequence: "7", refreshHintSeconds: 60, jwtKeys: 0 }, refresh: { failures: 0 } });
    expect(rootsOf(added)).toEqual([fingerprint(west)]);
    const { trustDomains, bundles } = await told();
    expect([trustDomains, Object.keys(bundles)]).toEqual([["west"], ["west"]]);
    const logged = (await auditEvents(east.store)).filter(({ name }) => name === "west").map(({ type, actor }) => [type, actor]);
    expect(logged.slice(-2)).toEqual([["federation.changed", east.admin.actor], ["foreign-bundle.changed", "system"]]);
  });

  test("FE-21: bundles are kept apart: none is in our own, and ours is in none", async () => {
    await add();
    await addBySpiffe({ trustDomain: "north", endpointSpiffeId: "spiffe://north/hub", bundle: encodeBundle(north.bundle()) });
    const { bundles } = await told();
    const all = Object.entries(bundles).map(([name, jwks]) => [name, parseBundle(name, JSON.stringify(jwks)).x509Authorities.map((one) => one.fingerprint)]);
    expect(Object.fromEntries(all)).toEqual({ west: [fingerprint(west)], north: [fingerprint(north)] });
    expect(parseBundle("east", east.ca.bundle().jwks).x509Authorities.map((one) => one.fingerprint)).not.toContain(fingerprint(west));
  });

  test.each<[string, (bundle: string) => string]>([["as a JWK Set", (text) => text], ["as PEM", () => west.pem]])("FE-13: takes the first bundle of an https_spiffe endpoint %s", async (_, form) => {
    expect(rootsOf(await addBySpiffe({ bundle: form(encodeBundle(west.bundle())) }))).toEqual([fingerprint(west)]);
  });

  test("an endpoint that does not answer is federated with all the same, and says so until it does", async () => {
    byWeb.answer = (_, response) => void response.writeHead(503).end();
    const added = await add();
    expect(added).toMatchObject({ refresh: { failures: 1, error: expect.stringContaining("503") as string } });
    expect(added.bundle).toBeUndefined();
    expect(await told()).toMatchObject({ trustDomains: ["west"], bundles: {} });
    await expect(east.ca.federation.refresh("west")).rejects.toThrow(/last good one stays.*503/);
    byWeb.answer = (_, response) => void response.end(encodeBundle(published));
    const refreshed = await east.ca.federation.refresh("west");
    expect(rootsOf(refreshed)).toEqual([fingerprint(west)]);
    expect(refreshed.refresh).not.toHaveProperty("error");
  });

  test("FE-20: a bundle that an operator gives is in force until the endpoint's is fetched", async () => {
    byWeb.answer = (_, response) => void response.destroy();
    const mine = testAuthority({ trustDomain: "west" });
    expect(rootsOf(await add({ bundle: mine.pem }))).toEqual([fingerprint(mine)]);
    byWeb.answer = (_, response) => void response.end(encodeBundle(published));
    expect(rootsOf(await east.ca.federation.refresh("west"))).toEqual([fingerprint(west)]);
  });

  test.each<[string, () => Promise<unknown>, RegExp]>([
    ["FE-12: https_spiffe without an ID", () => add({ profile: "https_spiffe", bundle: west.pem }), /endpointSpiffeId/],
    ["FE-12: https_spiffe without a first bundle", () => add({ profile: "https_spiffe", endpointSpiffeId: endpointId }), /first bundle/],
    ["FE-14: an endpoint of a trust domain nobody knows", () => addBySpiffe({ endpointSpiffeId: "spiffe://south/hub" }), /south.*not federated/],
    ["FE-03: https_web with a SPIFFE ID", () => add({ endpointSpiffeId: endpointId }), /https_web endpoint is known by its host/],
    ["FE-04: a URL that is not https", () => add({ endpointUrl: "http://west/" }), /https:/],
    ["no URL", () => add({ endpointUrl: "west" }), /no URL/],
    ["our own trust domain", () => add({ trustDomain: "east" }), /own trust domain/],
    ["BF-02: no name of a trust domain", () => add({ trustDomain: "West" }), /./],
    ["no bundle", () => addBySpiffe({ bundle: "{}" }), /keys/],
    ["a bundle without roots", () => addBySpiffe({ bundle: `{"keys":[]}` }), /no X\.509 authority/],
  ])("is refused with %s, and nothing is changed", async (_, act, why) => {
    const refusal = await act().catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Refusal);
    expect(refusal).toMatchObject({ code: "federation_refused", message: expect.stringMatching(why) as string });
    expect(await east.ca.federation.list()).toEqual([]);
  });

  test("with one that is federated with already is refused", async () => {
    await add();
    await expect(add()).rejects.toMatchObject({ code: "federation_exists" });
  });
});

describe("the later looks", () => {
  test("FE-16: know an https_spiffe endpoint by the newest bundle, and no more by the first one", async () => {
    const next = testAuthority({ trustDomain: "west" });
    await addBySpiffe();
    published = { ...published, x509Authorities: [...west.bundle().x509Authorities, ...next.bundle().x509Authorities], sequence: 8n };
    await east.ca.federation.refresh("west");
    bySpiffe.present(next.leaf({ spiffeId: endpointId }));
    published = { ...next.bundle(), sequence: 9n };
    expect(rootsOf(await east.ca.federation.refresh("west"))).toEqual([fingerprint(next)]);
    bySpiffe.present(west.leaf({ spiffeId: endpointId }));
    await expect(east.ca.federation.refresh("west")).rejects.toMatchObject({ code: "federation_failed" });
    expect(rootsOf(await east.ca.federation.get("west"))).toEqual([fingerprint(next)]);
  });

  test("FE-19: refuse an older sequence, and the last good one stays", async () => {
    await add();
    published = { ...north.bundle(), sequence: 6n };
    await expect(east.ca.federation.refresh("west")).rejects.toThrow(/below 7/);
    expect(rootsOf(await east.ca.federation.get("west"))).toEqual([fingerprint(west)]);
  });

  test.each([["FE-17: at the publisher's hint", 60, 60], ["BF-14, FE-17: without a hint, every five minutes", undefined, 300], ["BF-04: a hint of nothing does not make them storm", 0, 1]])(
    "come %s, up to a fifth sooner", async (_, refreshHintSeconds, seconds) => {
      published = { ...west.bundle(), sequence: 7n, ...(refreshHintSeconds !== undefined && { refreshHintSeconds }) };
      await add();
      await east.ca.tick();
      const looks = byWeb.asked.length;
      await passMs(seconds * 1000 * 0.79);
      expect(byWeb.asked.length).toBe(looks);
      await passMs(seconds * 1000 * 0.21);
      expect(byWeb.asked.length).toBe(looks + 1);
    },
  );

  test("FE-18: come later and later when they fail, ten minutes at the latest, and at the hint again when they do not", async () => {
    await add();
    byWeb.answer = (_, response) => void response.writeHead(500).end();
    const intervals: number[] = [];
    for (let failures = 0; failures < 6; failures++) {
      await east.ca.federation.refresh("west").catch(() => undefined);
      intervals.push((await east.ca.federation.get("west")).refresh!.intervalSeconds);
    }
    for (const [index, most] of [60, 120, 240, 480, 600, 600].entries()) {
      expect(intervals[index]).toBeLessThanOrEqual(most);
      expect(intervals[index]).toBeGreaterThanOrEqual(most * 0.8);
    }
    byWeb.answer = (_, response) => void response.end(encodeBundle(published));
    expect((await east.ca.federation.refresh("west")).refresh!.intervalSeconds).toBeLessThanOrEqual(60);
  });

  test("tell in metrics how old a bundle is, and whether it could be had", async () => {
    await add();
    await east.ca.tick();
    byWeb.answer = (_, response) => void response.end("{}");
    await passMs(61_000);
    await passMs(1000);
    const text = await east.ca.metrics.registry.metrics();
    expect(text).toContain(`countersign_federation_bundle_age_seconds{trust_domain="west"} 62`);
    expect(text).toMatch(/countersign_federation_refreshes_total\{trust_domain="west",result="bundle_refused"\} [1-9]/);
    await east.ca.federation.remove("west", east.admin);
    await east.ca.tick();
    expect(await east.ca.metrics.registry.metrics()).not.toContain(`bundle_age_seconds{trust_domain="west"}`);
  });
});

describe("ending it", () => {
  test("FE-26: deletes the bundle, stops the looks and takes the trust domain out of what proxies are told", async () => {
    await add();
    await east.ca.federation.remove("west", east.admin);
    expect(await told()).toMatchObject({ trustDomains: [], bundles: {} });
    const looks = byWeb.asked.length;
    await passMs(3_600_000);
    expect(byWeb.asked.length).toBe(looks);
    await expect(east.ca.federation.get("west")).rejects.toMatchObject({ code: "not_found" });
    await expect(east.ca.federation.remove("west", east.admin)).rejects.toMatchObject({ code: "not_found" });
    expect((await auditEvents(east.store)).slice(-2).map(({ type }) => type)).toEqual(["federation.removed", "foreign-bundle.removed"]);
  });

  test("FE-14: is refused while another endpoint is known by its bundle", async () => {
    await add();
    await addBySpiffe({ trustDomain: "north", bundle: undefined });
    await expect(east.ca.federation.remove("west", east.admin)).rejects.toThrow(/remove north first/);
    await east.ca.federation.remove("north", east.admin);
    await east.ca.federation.remove("west", east.admin);
  });
});

/** Lets the CA's clock run, and the CA look what is due. */
async function passMs(ms: number): Promise<void> {
  east.clock.nowMs += ms;
  await east.ca.tick();
}
