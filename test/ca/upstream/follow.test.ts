import { beforeAll, expect, test } from "vitest";
import { parseCertificate, type Certificate } from "../../../ca/pki/certificate.ts";
import { outsideRow } from "../../../ca/authority/active-issuer.ts";
import type { Act } from "../../../ca/store/acts.ts";
import type { AuthorityRow } from "../../../ca/store/rows/authorities.ts";
import { upstreamFollower, type FollowDeps } from "../../../ca/upstream/follow.ts";
import type { Parent, UpstreamIdentity } from "../../../ca/upstream/parent.ts";
import { testAuthority, testNowMs } from "../../support/test-ca.ts";

const [one, two] = ["one", "two"].map((commonName) => parseCertificate(testAuthority({ trustDomain: "root", commonName }).der)) as [Certificate, Certificate];
const rows: readonly AuthorityRow[] = [outsideRow("root", one, { kind: "upstream" }, testNowMs)];
const fence = { lease: "upstream", token: 1 };
let published: { anchors: readonly Certificate[]; sequence?: bigint; feedEpoch?: string };
const commits: Act[] = [];
const acknowledged: string[] = [];
const askedFrom: number[] = [];
let behind: readonly object[] = [];
const logged: string[] = [];
let follower: ReturnType<typeof upstreamFollower>;

beforeAll(() => {
  const parent = {
    trustDomain: "root",
    bundle: async () => ({ bundle: { trustDomain: "root", x509Authorities: published.anchors, jwtAuthorities: [], ...(published.sequence !== undefined && { sequence: published.sequence }) }, feedEpoch: published.feedEpoch }),
    async revocations(after: number) {
      askedFrom.push(after);
      return { revocations: [], sequence: 7, more: false, feedEpoch: "a", renew: [] };
    },
    acknowledge: async ({ bundleSequence }: { readonly bundleSequence: string }) => void acknowledged.push(bundleSequence),
  } as unknown as Parent;
  const log = (_: object, message: string): void => void logged.push(message);
  follower = upstreamFollower({
    store: { commit: async (act: Act) => void commits.push(act), holdersBehind: async () => behind, revocations: async () => [] } as unknown as FollowDeps["store"],
    keeper: { current: () => ({ rows, published: { sequence: "1" } }), refresh: async () => undefined, tick: async () => undefined } as unknown as FollowDeps["keeper"],
    operate: async () => { throw new Error("nobody operates here"); },
    parent: async () => parent, identity: { current: async () => ({ serialNumber: "01" }) as UpstreamIdentity },
    renewWindowMs: 1, certificateLifetimeMaxMs: 1, log: { info: log, warn: log, error: log }, now: () => new Date(testNowMs),
  });
});

test("what has no sequence is no Countersign CA's bundle, and nothing of it is taken", async () => {
  published = { anchors: [two], feedEpoch: "a" };
  await expect(follower.look(fence)).rejects.toMatchObject({ code: "upstream_answer" });
  expect(commits).toEqual([]);
});

test("a bundle is acknowledged once, and only when everybody here has it", async () => {
  published = { anchors: [one], sequence: 5n, feedEpoch: "a" };
  behind = [{}];
  await follower.look(fence);
  expect([acknowledged, follower.holds()]).toEqual([[], undefined]);
  behind = [];
  await follower.look(fence);
  await follower.look(fence);
  expect([acknowledged, follower.holds()]).toEqual([["5"], { feedEpoch: "a", bundleSequence: "5" }]);
});

test("an older bundle, as a replica may still tell it, changes nothing", async () => {
  published = { anchors: [one, two], sequence: 4n, feedEpoch: "a" };
  await follower.look(fence);
  expect([commits, acknowledged]).toEqual([[], ["5"]]);
});

test("a feed that was restored is read from its start, and an older sequence of it is taken, with the lease", async () => {
  expect(askedFrom.at(-1)).toBe(7);
  published = { anchors: [one, two], sequence: 2n, feedEpoch: "b" };
  await follower.look(fence);
  expect(askedFrom.at(-1)).toBe(0);
  expect(commits).toMatchObject([{ kind: "change-authorities", fence, add: [{ state: "prepared", key: { kind: "upstream" } }] }]);
  expect(logged.join()).toContain("restored from a backup");
});
