import { createPrivateKey } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { readConfig } from "../../../ca/config/config.ts";
import { acknowledgedText, type HeldBundle } from "../../../ca/contract/acknowledgements.ts";
import { peerApiUrl } from "../../../ca/federation/peer-api.ts";
import type { HeldRelationship } from "../../../ca/federation/documents.ts";
import type { Caller } from "../../../ca/http/services.ts";
import { decodePem } from "../../../ca/pki/pem.ts";
import { encodeRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";
import { newCsr } from "../../support/running-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-added-"));
const time = { nowMs: Date.now() };
const admin = (trustDomain: string): Caller => ({ actor: "token:0000000000000000", name: "admin", role: "admin", scope: [`spiffe://${trustDomain}/*`] });
const waiting = { timeout: 20_000, interval: 50 };
let [east, west]: ServedCa[] = [];

beforeAll(async () => {
  // Nobody looks by itself but at first: what is known was asked for by a test, or told.
  [east, west] = await Promise.all(["east", "west"].map((trustDomain) => serveCa(
    readConfig({ file: { trustDomain, dataDir: join(folder, trustDomain), listen: "127.0.0.1:0", bundleRefreshHint: "1h", federationSettle: "30s" } }), pino({ level: "silent" }), () => new Date(time.nowMs),
  )));
});
afterAll(async () => {
  for (const served of [east, west]) await served?.stop();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  time.nowMs += 600_000;
  for (const served of [east!, west!]) for (const { trustDomain } of await served.ca.federation.list()) await served.ca.federation.remove(trustDomain, admin(served.ca.trustDomain));
  time.nowMs += 600_000;
});

/** As an operator does who was given the other side's bundle. */
const add = (at: ServedCa, { ca, publicUrl }: ServedCa) => at.ca.federation.add(
  { trustDomain: ca.trustDomain, profile: "https_spiffe", endpointUrl: `${publicUrl}/v1/bundle`, endpointSpiffeId: `spiffe://${ca.trustDomain}/countersign/ca`, bundle: ca.bundle().jwks }, admin(at.ca.trustDomain),
);
/** For whom a root of west waits. */
const behind = async (): Promise<readonly string[]> => {
  const root = (await west!.ca.authorities()).find(({ type, state }) => type === "root" && state === "prepared");
  return (root?.waitsFor?.holders ?? []).map(({ spiffeId }) => spiffeId);
};
const ofEast = "spiffe://east/countersign/ca";
const look = (at: ServedCa, of: ServedCa) => at.ca.federation.refresh(of.ca.trustDomain);

describe("two CAs that each added the other by its SPIFFE ID", () => {
  test("acknowledge each other's bundles, so that a root of one waits for the other from its first word on", async () => {
    await add(west!, east!);
    await add(east!, west!);
    time.nowMs += 31_000;
    await look(east!, west!);
    expect((await west!.ca.federation.get("east")).acknowledged?.bundleSequence).toBe(west!.ca.bundle().sequence);
    await west!.ca.operateAuthority({ action: "prepare" }, admin("west"));
    expect(await behind()).toContain(ofEast);
    await look(east!, west!);
    expect(await behind()).toContain(ofEast);
    time.nowMs += 31_000;
    await look(east!, west!);
    expect(await behind()).not.toContain(ofEast);
  });

  test("follow each other's streams, and cosign each other's logs once each knows that the other knows it", async () => {
    await add(west!, east!);
    await add(east!, west!);
    await vi.waitFor(async () => expect(await west!.ca.metrics.registry.getSingleMetricAsString("countersign_federation_streams")).toMatch(/ 1$/m), waiting);
    await look(east!, west!);
    expect((await east!.ca.federation.get("west")).logKey).toBeUndefined();
    time.nowMs += 31_000;
    for (const [at, of] of [[east, west], [west, east], [east, west], [west, east]] as const) await look(at!, of!);
    expect(await east!.ca.federation.get("west")).toMatchObject({ logKey: west!.ca.verifierKey, witnessKey: west!.ca.witnessKey, cosigned: { size: expect.any(Number) as number } });
    expect((await west!.ca.federation.get("east")).cosigned?.error).toBeUndefined();
  });

  test("take no acknowledgement from a workload of the other, nor from themselves", async () => {
    await add(west!, east!);
    const held: HeldBundle = { feedEpoch: west!.ca.feedEpoch, bundleSequence: west!.ca.bundle().sequence };
    const { csr, privateKey } = newCsr();
    const workload = await east!.ca.issue({ csr, attestation: { type: "operator", spiffeId: "spiffe://east/web" } }, { caller: admin("east") });
    const proofBy = (chain: string, key: typeof privateKey): string => (
      encodeRenewalProof({ chain: decodePem(chain, "CERTIFICATE"), privateKey: key, csr: Buffer.from(acknowledgedText(held)), audience: "west", nowMs: time.nowMs, purpose: "acknowledgement" })
    );
    await expect(west!.ca.federation.acknowledge(held, proofBy(workload.chain, privateKey))).rejects.toThrow(/not the endpoint/);
    const { chain, key } = west!.ca.apiCredentials();
    await expect(west!.ca.federation.acknowledge(held, proofBy(chain, createPrivateKey(key)))).rejects.toMatchObject({ code: "proof_refused" });
    expect((await west!.ca.federation.get("east")).acknowledged).toBeUndefined();
    // What never said that it has anything keeps no root waiting.
    expect(await behind()).not.toContain(ofEast);
  });
});

test("a CA that added another one, which does not know it, holds nothing back there, and tells it once in a while only", async () => {
  await add(east!, west!);
  time.nowMs += 31_000;
  const told = vi.spyOn(west!.ca.federation, "acknowledge");
  for (let looks = 0; looks < 3; looks++) expect((await look(east!, west!)).refresh).toMatchObject({ failures: 0 });
  expect(await behind()).not.toContain(ofEast);
  expect(await east!.ca.federation.get("west")).not.toHaveProperty("logKey");
  expect(told).toHaveBeenCalledTimes(1);
  told.mockRestore();
  await add(west!, east!);
  time.nowMs += 301_000;
  await look(east!, west!);
  expect((await west!.ca.federation.get("east")).acknowledged?.bundleSequence).toBe(west!.ca.bundle().sequence);
});

test.each<[string, Partial<HeldRelationship>, string | undefined]>([
  ["that publishes as a Countersign CA does is one", {}, "https://ca.west:8443"],
  ["that does not say which feed its bundle is of is none", { held: { bundle: "" } as never }, undefined],
  ["known by a certificate of the web is none", { profile: "https_web" }, undefined],
  ["by another ID is none", { endpointSpiffeId: "spiffe://west/spire/server" }, undefined],
  ["of another trust domain is none", { endpointSpiffeId: "spiffe://north/countersign/ca" }, undefined],
  ["at another path is none", { endpointUrl: "https://ca.west:8443/bundle" }, undefined],
])("an endpoint %s", (_claim, more, url) => {
  const held = { bundle: "", feedEpoch: "one" } as never;
  const one: HeldRelationship = { trustDomain: "west", profile: "https_spiffe", endpointUrl: "https://ca.west:8443/v1/bundle", endpointSpiffeId: "spiffe://west/countersign/ca", addedAtMs: 0, addedBy: "", held, ...more };
  expect(peerApiUrl(one)).toBe(url);
});
