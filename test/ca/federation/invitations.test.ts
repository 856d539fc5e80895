import { createPrivateKey as createKey } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { encodeCheckpoint, parseCheckpoint } from "../../../ca/audit/checkpoint.ts";
import { encodeSignatureLine, parseNote } from "../../../ca/audit/note.ts";
import { readConfig } from "../../../ca/config/config.ts";
import { acknowledgedText, type HeldBundle } from "../../../ca/contract/acknowledgements.ts";
import type { FederationInvitation } from "../../../ca/contract/federation-invitations.ts";
import { encodeInvitation, parseInvitation } from "../../../ca/federation/invitation-text.ts";
import type { Caller } from "../../../ca/http/services.ts";
import { encodeBundle, parseBundle } from "../../../ca/pki/bundle.ts";
import { decodePem } from "../../../ca/pki/pem.ts";
import { encodeRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";
import { bundleEndpoint } from "../../support/bundle-endpoint.ts";
import { countersign } from "../../support/command-line.ts";
import { auditEvents, newCsr, startTestCa } from "../../support/running-ca.ts";
import { testAuthority } from "../../support/test-ca.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-federation-"));
const time = { nowMs: Date.now() };
const admin = (trustDomain: string): Caller => ({ actor: "token:0000000000000000", name: "admin", role: "admin", scope: [`spiffe://${trustDomain}/*`] });
let [east, west, north]: ServedCa[] = [];

beforeAll(async () => {
  [east, west, north] = await Promise.all(["east", "west", "north"].map((trustDomain) => serveCa(
    readConfig({ file: { trustDomain, dataDir: join(folder, trustDomain), listen: "127.0.0.1:0", bundleRefreshHint: "1s", federationSettle: "30s" } }), pino({ level: "silent" }), () => new Date(time.nowMs),
  )));
});
afterAll(async () => {
  for (const served of [east, west, north]) await served?.stop();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  for (const served of [east, west, north]) for (const { trustDomain } of await served!.ca.federation.list()) await served!.ca.federation.remove(trustDomain, admin(served!.ca.trustDomain));
});

const invite = (by: ServedCa, request = {}): Promise<FederationInvitation> => by.ca.federation.invite(request, admin(by.ca.trustDomain));
const accept = (by: ServedCa, invitation: string) => by.ca.federation.accept(invitation, admin(by.ca.trustDomain));
const rootOf = (served: ServedCa): string => parseBundle(served.ca.trustDomain, served.ca.bundle().jwks).x509Authorities[0]!.fingerprint;
const partnersOf = async (served: ServedCa): Promise<readonly string[]> => (await served.ca.federation.list()).map(({ trustDomain }) => trustDomain);
const refused = { code: "invitation_refused" };

describe("an invitation", () => {
  test("FE-25: makes both directions, each shows the other's root, and both audit it without the secret", async () => {
    const invited = await invite(west!);
    const accepted = await accept(east!, invited.invitation);
    expect(invited).toMatchObject({ trustDomain: "west", rootFingerprint: rootOf(west!) });
    expect([accepted.own, accepted.peer]).toEqual([{ trustDomain: "east", rootFingerprints: [rootOf(east!)] }, { trustDomain: "west", rootFingerprints: [rootOf(west!)] }]);
    expect(await west!.ca.federation.get("east")).toMatchObject({ profile: "https_spiffe", endpointSpiffeId: "spiffe://east/countersign/ca", endpointUrl: `${east!.publicUrl}/v1/bundle`, bundle: { authorities: [{ fingerprint: rootOf(east!) }] } });
    const { secret, id } = parseInvitation(invited.invitation);
    for (const served of [east!, west!]) {
      const text = JSON.stringify(await auditEvents(served.ca.store));
      expect(text).not.toContain(secret);
      expect(text).toContain(`"federation.changed"`);
    }
    expect((await auditEvents(west!.ca.store)).find(({ type, name }) => type === "federation.changed" && name === "east")?.["actor"]).toBe(`federation-invitation:${id}`);
  });

  test("is for one CA: another one is refused, and the same may ask again when the answer was lost", async () => {
    const { invitation } = await invite(west!);
    await accept(east!, invitation);
    await east!.ca.federation.remove("west", admin("east"));
    await expect(accept(north!, invitation)).rejects.toThrow(/taken already, by east/);
    expect(await partnersOf(north!)).toEqual([]);
    expect((await accept(east!, invitation)).peer.trustDomain).toBe("west");
    expect([await partnersOf(east!), await partnersOf(west!)]).toEqual([["west"], ["east"]]);
  });

  test("is for one CA, though several take it at once", async () => {
    const { invitation } = await invite(west!);
    const done = await Promise.allSettled([accept(east!, invitation), accept(north!, invitation)]);
    expect(done.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await partnersOf(west!)).toHaveLength(1);
  });

  test("gives back nobody who was removed since", async () => {
    const { invitation } = await invite(west!);
    await accept(east!, invitation);
    await east!.ca.federation.remove("west", admin("east"));
    await west!.ca.federation.remove("east", admin("west"));
    await expect(accept(east!, invitation)).rejects.toThrow(/taken already/);
    expect([await partnersOf(east!), await partnersOf(west!)]).toEqual([[], []]);
  });

  test("brings back a CA that was removed by the one that invites, and is taken where both have each other already", async () => {
    await accept(east!, (await invite(west!)).invitation);
    await west!.ca.federation.remove("east", admin("west"));
    await accept(east!, (await invite(west!)).invitation);
    expect([await partnersOf(east!), await partnersOf(west!)]).toEqual([["west"], ["east"]]);
    expect((await accept(east!, (await invite(west!)).invitation)).peer.rootFingerprints).toHaveLength(1);
    expect([await partnersOf(east!), await partnersOf(west!)]).toEqual([["west"], ["east"]]);
  });

  test("replaces nobody: who shows another root in the name and place of a CA that is known is refused", async () => {
    await accept(east!, (await invite(west!)).invitation);
    const { id, secret } = parseInvitation((await invite(west!)).invitation);
    const bundle = encodeBundle(testAuthority({ trustDomain: "east" }).bundle());
    await expect(west!.ca.federation.join({ invitation: id, secret, trustDomain: "east", apiUrl: east!.publicUrl, bundle })).rejects.toMatchObject({ code: "federation_exists" });
    expect((await west!.ca.federation.get("east")).bundle?.authorities.map(({ fingerprint }) => fingerprint)).toEqual([rootOf(east!)]);
  });

  test("ends: here before anybody is asked, and there whatever the one that joins thinks", async () => {
    const { invitation } = await invite(west!, { expiresInSeconds: 60 });
    time.nowMs += 61_000;
    await expect(accept(east!, invitation)).rejects.toMatchObject(refused);
    await expect(accept(east!, altered(invitation, { expiresAt: new Date(time.nowMs + 3_600_000).toISOString() }))).rejects.toThrow(/has ended/);
    expect([await partnersOf(east!), await partnersOf(west!)]).toEqual([[], []]);
  });

  test("with another secret is refused, and east takes west in no more than west takes east", async () => {
    const { invitation } = await invite(west!);
    await expect(accept(east!, altered(invitation, { secret: "A".repeat(43) }))).rejects.toThrow(/no such invitation/);
    await expect(accept(east!, altered(invitation, { id: "00" }))).rejects.toThrow(/no such invitation/);
    expect([await partnersOf(east!), await partnersOf(west!)]).toEqual([[], []]);
  });

  test("never tells its secret to who does not have the root in it", async () => {
    const { invitation } = await invite(west!);
    await expect(accept(east!, altered(invitation, { apiUrl: north!.publicUrl }))).rejects.toThrow(/does not have the root .*secret was not sent/);
    expect(await partnersOf(east!)).toEqual([]);
  });

  test("never tells its secret to who shows that root beside its own, and has not its key", async () => {
    const between = testAuthority({ trustDomain: "west" });
    const both = { ...between.bundle(), x509Authorities: [...between.bundle().x509Authorities, ...parseBundle("west", west!.ca.bundle().jwks).x509Authorities] };
    const endpoint = await bundleEndpoint(between.leaf({ spiffeId: "spiffe://west/countersign/ca" }), encodeBundle(both));
    await expect(accept(east!, altered((await invite(west!)).invitation, { apiUrl: endpoint.url }))).rejects.toThrow(/did not prove/);
    expect(endpoint.asked).toEqual(["/v1/bundle"]);
    expect(await partnersOf(east!)).toEqual([]);
    await endpoint.close();
  });

  test("to itself, or for another trust domain than the root's, is refused", async () => {
    await expect(accept(west!, (await invite(west!)).invitation)).rejects.toThrow(/own trust domain/);
    await expect(accept(east!, altered((await invite(west!)).invitation, { trustDomain: "north" }))).rejects.toMatchObject({ code: expect.stringMatching(/^federation_/) as string });
    expect(await partnersOf(east!)).toEqual([]);
  });

  test.each(["", "hello", "countersign_federate_", "countersign_federate_!!!!", `countersign_federate_${Buffer.from("[1]").toString("base64url")}`, `countersign_federate_${"A".repeat(5000)}`])("%j is none", (text) => {
    expect(() => parseInvitation(text)).toThrow(/no invitation/);
  });

  test("names an https URL and a SHA-256, or is none", () => {
    const good = { apiUrl: "https://west:8443", trustDomain: "west", rootFingerprint: "a".repeat(64), id: "1", secret: "s", expiresAt: "2030-01-01T00:00:00Z" };
    expect(parseInvitation(`  ${encodeInvitation(good)}\n`)).toEqual(good);
    for (const bad of [{ apiUrl: "http://west" }, { apiUrl: "west" }, { rootFingerprint: "a".repeat(63) }]) expect(() => parseInvitation(encodeInvitation({ ...good, ...bad }))).toThrow(/no invitation/);
  });
});

function altered(invitation: string, changes: Partial<ReturnType<typeof parseInvitation>>): string {
  return encodeInvitation({ ...parseInvitation(invitation), ...changes });
}

describe("the audit log of a CA", () => {
  const origin = "countersign.dev/east/log";
  const verifyEast = (witness: string) => countersign(["audit", "verify", "--witness", witness], { COUNTERSIGN_DATA_DIR: join(folder, "east") });
  /** Each looks at the other: the first look of a pair learns the keys. */
  const look = async (): Promise<void> => {
    await east!.ca.federation.refresh("west");
    await west!.ca.federation.refresh("east");
    await east!.ca.federation.refresh("west");
  };

  test("is cosigned by the CAs it is federated with, whose keys both have in their logs, and verifies against what they remember", async () => {
    await accept(east!, (await invite(west!)).invitation);
    await look();
    const [atEast, atWest] = [await east!.ca.federation.get("west"), await west!.ca.federation.get("east")];
    expect([atEast.logKey, atEast.witnessKey]).toEqual([west!.ca.verifierKey, west!.ca.witnessKey]);
    expect([atWest.logKey, atWest.witnessKey]).toEqual([east!.ca.verifierKey, east!.ca.witnessKey]);
    expect(atEast.addedBy).toBe(admin("east").actor);
    expect(atEast.cosigned).toMatchObject({ size: parseCheckpoint(parseNote((await west!.ca.federation.witness.cosigned(origin))!)).size });
    expect(readFileSync(join(folder, "west", "witness.vkey"), "utf8").trim()).toBe(west!.ca.witnessKey);
    const verified = await verifyEast(`${west!.ca.witnessKey}@${west!.publicUrl}`);
    expect([verified.exitCode, verified.stdout]).toEqual([0, expect.stringContaining("1, contained in this log")]);
    expect((await verifyEast(`${north!.ca.witnessKey}@${west!.publicUrl}`)).exitCode).toBe(2);
    expect((await verifyEast(`${north!.ca.witnessKey}@${north!.publicUrl}`)).stderr).toContain("has cosigned nothing");
  });

  test("that is shorter than what one of them remembers is told so, and the operator of it too", async () => {
    await accept(east!, (await invite(west!)).invitation);
    await look();
    const [row] = await west!.ca.store.reports({ kind: "witnessed", name: origin, nowMs: 0, limit: 1 });
    const longer = encodeCheckpoint({ origin, size: 1_000_000, root: Buffer.alloc(32) });
    const signature = encodeSignatureLine({ name: origin, keyId: "00000000", signature: Buffer.alloc(64) });
    expect(await west!.ca.store.swapReport({ ...row!, body: JSON.stringify(`${longer}\n${signature}`) }, row!.body)).toBe(true);
    await invite(east!);
    await east!.ca.federation.refresh("west");
    expect((await east!.ca.federation.get("west")).cosigned).toMatchObject({ contradicts: true, error: expect.stringContaining("has cosigned 1000000 entries of this log") as string });
    expect((await verifyEast(`${west!.ca.witnessKey}@${west!.publicUrl}`)).exitCode).toBe(2);
  });
});

describe("an acknowledgement", () => {
  /** For whom a root of west waits for. */
  const behind = async (): Promise<readonly string[]> => {
    const root = (await west!.ca.authorities()).find(({ type, state }) => type === "root" && state === "prepared");
    return (root?.waitsFor?.holders ?? []).map(({ spiffeId }) => spiffeId);
  };
  beforeAll(() => west!.ca.operateAuthority({ action: "prepare" }, admin("west")));

  test("comes with a look, once our own proxies have had the bundle for a while; until then the root waits", async () => {
    await accept(east!, (await invite(west!)).invitation);
    expect(await behind()).toContain("spiffe://east/countersign/ca");
    await east!.ca.federation.refresh("west");
    expect(await behind()).toContain("spiffe://east/countersign/ca");
    time.nowMs += 31_000;
    await east!.ca.federation.refresh("west");
    expect(await behind()).not.toContain("spiffe://east/countersign/ca");
    expect((await west!.ca.federation.get("east")).acknowledged?.bundleSequence).toBe(west!.ca.bundle().sequence);
  });

  test("is awaited of nobody who was removed, and of nobody whose bundle has ended", async () => {
    await accept(east!, (await invite(west!)).invitation);
    await accept(north!, (await invite(west!)).invitation);
    expect(await behind()).toEqual(expect.arrayContaining(["spiffe://east/countersign/ca", "spiffe://north/countersign/ca"]));
    await west!.ca.federation.remove("north", admin("west"));
    expect(await behind()).not.toContain("spiffe://north/countersign/ca");
    const before = time.nowMs;
    time.nowMs += 11 * 365 * 86_400_000;
    try {
      expect(await behind()).not.toContain("spiffe://east/countersign/ca");
    } finally {
      time.nowMs = before;
    }
  });

  test("is taken from a peer's CA alone: a workload of it, a stranger, and one for another bundle, CA or time are refused", async () => {
    await accept(east!, (await invite(west!)).invitation);
    const held: HeldBundle = { feedEpoch: west!.ca.feedEpoch, bundleSequence: west!.ca.bundle().sequence };
    const { csr, privateKey } = newCsr();
    const workload = await east!.ca.issue({ csr, attestation: { type: "operator", spiffeId: "spiffe://east/web" } }, { caller: admin("east") });
    const proof = ({ of = east!, audience = "west", text = acknowledgedText(held), nowMs = time.nowMs, chain = of.ca.apiCredentials().chain, key = of.ca.apiCredentials().key as string | typeof privateKey } = {}): string => (
      encodeRenewalProof({ chain: decodePem(chain, "CERTIFICATE"), privateKey: typeof key === "string" ? createKey(key) : key, csr: Buffer.from(text), audience, nowMs, purpose: "acknowledgement" })
    );
    const send = (jws: string, what: HeldBundle = held) => west!.ca.federation.acknowledge(what, jws);
    const bad = { code: "proof_refused" };
    await expect(send(proof({ chain: workload.chain, key: privateKey }))).rejects.toThrow(/not the endpoint/);
    await expect(send(proof({ of: north! }))).rejects.toMatchObject(bad);
    await expect(send(proof({ of: west! }))).rejects.toMatchObject(bad);
    await expect(send(proof({ audience: "north" }))).rejects.toMatchObject(bad);
    await expect(send(proof({ key: privateKey }))).rejects.toMatchObject(bad);
    await expect(send(proof({ text: acknowledgedText({ ...held, bundleSequence: "1" }) }), { ...held, bundleSequence: "2" })).rejects.toMatchObject(bad);
    await expect(send(proof({ nowMs: time.nowMs - 301_000 }))).rejects.toMatchObject(bad);
    const future = { ...held, bundleSequence: "99999" };
    await expect(send(proof({ text: acknowledgedText(future) }), future)).rejects.toMatchObject({ code: "bundle_unknown" });
    const restored = { ...held, feedEpoch: "another" };
    await expect(send(proof({ text: acknowledgedText(restored) }), restored)).rejects.toMatchObject({ code: "bundle_unknown" });
    await send(proof());
  });
});

test("whoever has no secret is refused without standing in line with those who change documents", async () => {
  let land!: () => void;
  let arrived!: () => void;
  const held = new Promise<void>((resolve) => (land = resolve));
  const underWay = new Promise<void>((resolve) => (arrived = resolve));
  const slow = await startTestCa({
    wrapStore: (store) => ({
      ...store,
      async commit(write) {
        if (write.kind === "change-documents") {
          arrived();
          await held;
        }
        return store.commit(write);
      },
    }),
  });
  try {
    const added = slow.ca.operators.add({ spiffeId: "spiffe://east/ops/alice", role: "auditor" }, slow.admin);
    await underWay;
    await expect(slow.ca.federation.join({ invitation: "0123456789abcdef", secret: "guessed", trustDomain: "west", apiUrl: "https://ca.west.example", bundle: slow.ca.bundle().jwks })).rejects.toMatchObject(refused);
    land();
    await added;
  } finally {
    land();
    await slow.close();
  }
}, 60_000);
