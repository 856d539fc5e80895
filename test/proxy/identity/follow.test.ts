import { describe, expect, test } from "vitest";
import type { Revocation } from "../../../ca/contract/revocations.ts";
import type { WatchListener } from "../../../proxy/ca-client.ts";
import { CaError } from "../../../proxy/ca-error.ts";
import { followFeed, type FollowedList } from "../../../proxy/identity/follow.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { eastIdentity } from "../../support/data-path.ts";
import { manualClock } from "../../support/manual-clock.ts";
import { recordedLog } from "../../support/recorded-log.ts";
import { testAuthority } from "../../support/test-ca.ts";

const startMs = Date.UTC(2026, 0, 1);
const identity = eastIdentity("cart");
const issuerId = Buffer.from(parseCertificate(identity.chain[0]!).authorityKeyIdentifier!).toString("hex");

const entry = (sequence: number): Revocation => ({
  sequence, serialNumber: sequence.toString(16).padStart(4, "0"), reason: "superseded", revokedAt: new Date(startMs).toISOString(),
  notAfter: new Date(startMs + 3_600_000).toISOString(),
});

/** A CA with a feed that a test tells from, or that has to be asked. */
function setUp(restored?: FollowedList, list: Revocation[] = []) {
  const clock = manualClock(startMs);
  const ca = { epoch: "e", list, bundle: "one", renew: [] as { authorityId: string; windowSeconds: number }[], refusesBundle: false, federation: '{"sequence":1,"trustDomains":[],"bundles":{}}' };
  const asked: string[] = [];
  const signers: (string | undefined)[] = [];
  const seen = { revoked: [] as readonly number[], bundles: [] as unknown[], renewed: [] as number[], kept: [] as FollowedList[], acknowledged: [] as unknown[], federated: [] as unknown[] };
  const held = { sequence: 1n as bigint | undefined, identity };
  let stream: (WatchListener & { readonly end: () => void }) | undefined;
  const following = followFeed({
    clock, random: () => 0.5, log: recordedLog(), metrics: createMetrics(), trustDomain: "east", restored, restoredPolicy: undefined, revocationPollMs: 2000, onPolicyInForce: () => undefined, onPolicyChanged: () => undefined,
    refreshHintSeconds: () => 60, refreshFiles: () => undefined,
    onBundle(text, options) {
      if (ca.refusesBundle) throw new Error("older than what is held");
      seen.bundles.push([text, options.restored]);
    },
    onRevoked: (serials) => void (seen.revoked = [...serials ?? []].map((serial) => Number.parseInt(serial, 16))),
    onComplete: (list) => void seen.kept.push(list),
    onRenew: (withinMs) => void seen.renewed.push(withinMs),
    onTap: () => undefined,
    onFederation: ({ trustDomains }) => void seen.federated.push(trustDomains),
    held: () => held,
    client: {
      async revocations(after, by) {
        signers.push(by === undefined ? undefined : parseCertificate(by.chain[0]!).serialNumber);
        asked.push(`revocations ${after}`);
        const page = ca.list.filter(({ sequence }) => sequence > after);
        return { revocations: page, sequence: page.at(-1)?.sequence ?? Math.min(after, ca.list.at(-1)?.sequence ?? 0), more: false, feedEpoch: ca.epoch, renew: ca.renew };
      },
      async bundle() {
        asked.push("bundle");
        return { text: ca.bundle, etag: '"1"', feedEpoch: ca.epoch };
      },
      async federatedBundles() {
        return { text: ca.federation, etag: undefined, feedEpoch: undefined };
      },
      async acknowledge({ feedEpoch, bundleSequence }) {
        seen.acknowledged.push([feedEpoch, bundleSequence]);
      },
      async policy() {
        return undefined;
      },
      watch: (_lastEventId, listener, by) => new Promise((_resolve, reject) => {
        signers.push(by === undefined ? undefined : parseCertificate(by.chain[0]!).serialNumber);
        stream = { ...listener, end: () => reject(new CaError("ca_unreachable", "down")) };
      }),
    },
  });
  const say = (event: string, data: unknown, id?: string): void => {
    stream!.onEvent({ event, data: typeof data === "string" ? data : JSON.stringify(data), id });
    stream!.onAlive();
  };
  return { clock, ca, asked, signers, seen, held, following, say, end: () => stream!.end() };
}

type Harness = ReturnType<typeof setUp>;

/** Until everything comes by the stream. */
async function streaming({ clock, say, asked, seen }: Harness, sequence = 0): Promise<void> {
  await clock.advance(10);
  say("epoch", { feedEpoch: "e" });
  say("bundle", "one", "1");
  say("revocation", { revocations: [], sequence, more: false }, "2");
  await clock.advance(1000);
  asked.splice(0);
  seen.bundles.splice(0);
}

describe("following the CA", () => {
  test("by its stream nothing is asked, and what it tells is in force at once", async () => {
    const harness = setUp();
    const { clock, asked, seen, say } = harness;
    await streaming(harness);
    say("revocation", { revocations: [entry(7)], sequence: 7, more: false }, "3");
    expect(seen.revoked).toEqual([7]);
    say("bundle", "two", "4");
    expect(seen.bundles).toEqual([["two", false]]);
    await clock.advance(600_000);
    expect(asked).toEqual([]);
  });

  test("a stream that breaks is stood in for at once, from where it was", async () => {
    const harness = setUp();
    const { clock, asked, seen, say, end, ca, following } = harness;
    await streaming(harness);
    say("revocation", { revocations: [entry(7)], sequence: 7, more: false }, "3");
    ca.list.push(entry(7), entry(8));
    end();
    await clock.advance(0);
    expect(asked.sort()).toEqual(["bundle", "revocations 7"]);
    expect(seen.revoked).toEqual([7, 8]);
    expect(following.status().watch.liveSinceMs).toBeUndefined();
  });

  test("a bundle that is refused leaves the stream alone, is reported, and is asked for until it is taken", async () => {
    const harness = setUp();
    const { clock, asked, seen, say, ca, following } = harness;
    await streaming(harness);
    ca.refusesBundle = true;
    say("bundle", "bad", "3");
    expect(following.status().bundle.lastError).toContain("older");
    say("revocation", { revocations: [entry(7)], sequence: 7, more: false }, "4");
    expect(seen.revoked).toEqual([7]);
    ca.refusesBundle = false;
    await clock.advance(66_000);
    expect([asked, following.status().bundle.lastError]).toEqual([["bundle"], undefined]);
    await clock.advance(600_000);
    expect(asked).toEqual(["bundle"]);
  });

  test.each([["its stream", true], ["a polled answer", false]])("a CA that was restored says so by %s: all is read again, an older bundle is taken, nothing is forgotten", async (_how, streamed) => {
    const harness = setUp({ entries: new Map([["0007", startMs + 3_600_000]]), sequence: 7, completeAtMs: startMs, feedEpoch: "e", lastEventId: "2" }, [entry(7)]);
    const { clock, asked, seen, say, ca, held } = harness;
    if (streamed) {
      await streaming(harness, 7);
      say("epoch", { feedEpoch: "restored" });
      say("bundle", "old", "r1");
      say("revocation", { revocations: [entry(3)], sequence: 7, more: false }, "r2");
    } else {
      await clock.advance(3000);
      ca.list.splice(0, 1, entry(3), entry(7));
      [ca.epoch, ca.bundle] = ["restored", "old"];
      await clock.advance(3000);
      expect(asked).toContain("revocations 0");
    }
    expect([...seen.revoked].sort()).toEqual([3, 7]);
    expect(seen.bundles.find((one) => (one as unknown[])[1] === true)).toEqual(["old", true]);
    held.sequence = 1n;
    await clock.advance(70_000);
    expect(seen.acknowledged.at(-1)).toEqual(["restored", "1"]);
    expect(seen.kept.at(-1)).toMatchObject({ feedEpoch: "restored" });
  });

  test("a certificate that was under way when its authority was tainted is renewed as well", async () => {
    const harness = setUp();
    await streaming(harness);
    const { held, seen, say, following } = harness;
    const { serialNumber, chain } = testAuthority({ trustDomain: "east" }).leaf();
    held.identity = { ...identity, serialNumber, chain };
    say("renew", { authorityId: issuerId, windowSeconds: 60 }, "3");
    expect(seen.renewed).toEqual([]);
    held.identity = identity;
    following.onIssued(undefined);
    expect(seen.renewed).toEqual([60_000]);
  });

  test("who was told that its authority is tainted renews within the window, once; nobody else does", async () => {
    const harness = setUp();
    const { clock, seen, say, ca, end } = harness;
    await streaming(harness);
    say("renew", { authorityId: "ab".repeat(20), windowSeconds: 60 }, "3");
    expect(seen.renewed).toEqual([]);
    say("renew", { authorityId: issuerId, windowSeconds: 60 }, "4");
    ca.renew.push({ authorityId: issuerId, windowSeconds: 60 });
    end();
    await clock.advance(30_000);
    expect(seen.renewed).toEqual([60_000]);
  });

  test("the bundle in force is acknowledged once, and not before it is known which feed it is of", async () => {
    const harness = setUp();
    const { clock, seen, held, say, following } = harness;
    expect(following.holds()).toBeUndefined();
    await streaming(harness);
    expect(following.holds()).toEqual({ feedEpoch: "e", bundleSequence: "1" });
    held.sequence = 2n;
    say("bundle", "two", "3");
    await clock.advance(600_000);
    expect(seen.acknowledged).toEqual([["e", "1"], ["e", "2"]]);
    following.onIssued({ feedEpoch: "e", bundleSequence: "2" });
    await clock.advance(600_000);
    expect(seen.acknowledged).toHaveLength(2);
  });

  test("the CA is asked by who it is while the certificate is good, so that strangers cannot stand in its way", async () => {
    const harness = setUp();
    const { clock, held, signers, end } = harness;
    await streaming(harness);
    expect(new Set(signers)).toEqual(new Set([identity.serialNumber]));
    signers.length = 0;
    held.identity = { ...identity, notAfterMs: clock.now() - 1000 };
    end();
    await clock.advance(30_000);
    expect(signers.length).toBeGreaterThan(1);
    expect(new Set(signers)).toEqual(new Set([undefined]));
  });
});
