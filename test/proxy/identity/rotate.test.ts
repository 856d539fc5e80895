import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Attestation } from "../../../ca/contract/attestation.ts";
import type { IssueRequest } from "../../../ca/contract/certificates.ts";
import type { ProblemCode } from "../../../ca/contract/problem.ts";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { readIssued } from "../../../proxy/ca-answer.ts";
import { CaError } from "../../../proxy/ca-error.ts";
import { renewalTime, retryDelay } from "../../../proxy/identity/backoff.ts";
import { EvidenceError } from "../../../proxy/attest/error.ts";
import type { Evidence } from "../../../proxy/attest/evidence.ts";
import type { HeldBundles } from "../../../proxy/identity/bundles.ts";
import { startRotation, type Rotation, type RotationDeps } from "../../../proxy/identity/rotate.ts";
import { identityHolder, type Identity } from "../../../proxy/identity/source.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { fakeCaCore, problem, type FakeAnswer, type FakeCaCore } from "../../support/fake-ca.ts";
import { manualClock, until, type ManualClock } from "../../support/manual-clock.ts";
import { recordedLog } from "../../support/recorded-log.ts";
import { testAuthority, testNowMs } from "../../support/test-ca.ts";

const hourMs = 3_600_000;
const minuteMs = 60_000;

interface Proxy {
  readonly core: FakeCaCore;
  readonly clock: ManualClock;
  readonly holder: ReturnType<typeof identityHolder>;
  readonly rotation: Rotation;
  readonly log: ReturnType<typeof recordedLog>;
  readonly metrics: ReturnType<typeof createMetrics>;
  /** Times of all attempts that reached for the CA. */
  readonly attempts: { readonly atMs: number; readonly request: IssueRequest; readonly idempotencyKey: string }[];
  /** What happens on the way to the CA. */
  network: (answer: () => FakeAnswer) => FakeAnswer;
  expirations: number;
  /** Moves time, letting every attempt finish. */
  pass(ms: number): Promise<void>;
}

const down = (): never => {
  throw new CaError("ca_unreachable", "cannot reach the CA");
};

async function startProxy(options: {
  clock?: ManualClock; core?: FakeCaCore; random?: () => number; restored?: Identity; token?: string | undefined; evidence?: Evidence; network?: Proxy["network"];
  /** Which certificates are wanted replaced as soon as they come: the second is 2. */
  unwanted?: Set<number>;
} = {}): Promise<Proxy> {
  const clock = options.clock ?? manualClock(testNowMs);
  const core = options.core ?? fakeCaCore({ now: clock.now });
  const holder = identityHolder(clock.now);
  const log = recordedLog();
  const metrics = createMetrics();
  let held: HeldBundles = new Map();
  const proxy = { core, clock, holder, log, metrics, attempts: [], network: options.network ?? ((answer) => answer()), expirations: 0 } as unknown as Proxy;
  const deps: RotationDeps = {
    keyAlgorithm: "ec-p256", lifetimeSeconds: undefined, trustDomain: "east", token: "token" in options ? options.token : core.token,
    rootFingerprints: [core.bootstrap.rootFingerprint], restored: options.restored, ...(options.evidence && { evidence: options.evidence }), heldBundles: () => held, clock, random: options.random ?? (() => 0.5), log, metrics,
    client: {
      async issue(request, idempotencyKey) {
        proxy.attempts.push({ atMs: clock.now(), request, idempotencyKey });
        const answer = proxy.network(() => core.answer({
          method: "POST", path: "/v1/certificates", query: new URLSearchParams(), headers: { "idempotency-key": idempotencyKey }, body: JSON.stringify(request),
        }));
        return readIssued({ status: answer.status, headers: answer.headers ?? {}, text: String(answer.body) }, clock.now());
      },
    },
    onIssued({ identity, bundles }) {
      held = bundles.held;
      holder.setBundles("east", new Map([...held].map(([name, { bundle }]) => [name, bundle])));
      holder.setIdentity(identity);
      if (options.unwanted?.delete(proxy.core.issued.length) === true) proxy.rotation.renewNow(minuteMs);
    },
    onExpired() {
      proxy.expirations += 1;
      holder.setIdentity(undefined);
    },
  };
  const rotation = startRotation(deps);
  const settle = () => until("an attempt to end", () => rotation.status().nextAttemptMs !== undefined);
  await settle();
  return Object.assign(proxy, { rotation, pass: (ms: number) => clock.advance(ms, settle) });
}

const serialOf = ({ holder }: Proxy): string | undefined => holder.identity()?.serialNumber;

describe("the first certificate", () => {
  test("is asked for with the join token and taken into use", async () => {
    const proxy = await startProxy();
    expect(proxy.core.issued).toMatchObject([{ attestation: "join-token", hasProof: false }]);
    expect(proxy.holder.identity()?.id.uri).toBe("spiffe://east/ns/shop/sa/cart");
    expect(proxy.log.text()).not.toContain(proxy.core.token);
  });

  test("is asked for again and again, at most 10 s apart, while the CA is down", async () => {
    const proxy = await startProxy({ network: down, random: () => 0.999 });
    await proxy.pass(5 * minuteMs);
    expect(proxy.holder.identity()).toBeUndefined();
    const gaps = gapsOf(proxy);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(10_000);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(500);
    expect(proxy.log.lines.filter(({ level }) => level === "warn")).toHaveLength(proxy.attempts.length);
    proxy.network = (answer) => answer();
    await proxy.pass(11_000);
    expect(serialOf(proxy)).toBeDefined();
    expect(proxy.rotation.status()).toMatchObject({ failures: 0, lastError: undefined });
  });

  test("a lost answer is asked for again unchanged, since a second redemption would be refused", async () => {
    let losses = 3;
    const proxy = await startProxy({
      network(answer) {
        const made = answer();
        if (losses-- > 0) throw new CaError("ca_timeout", "the answer was lost");
        return made;
      },
    });
    await proxy.pass(hourMs / 2);
    expect(proxy.core.issued).toHaveLength(1);
    expect(new Set(proxy.attempts.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    expect(serialOf(proxy)).toBe(proxy.core.issued[0]?.serialNumber);
  });

  test("an answer that was garbled on its way is asked for again unchanged as well", async () => {
    let garbled = true;
    const proxy = await startProxy({
      network(answer) {
        const made = answer();
        return garbled ? ((garbled = false), { ...made, body: "<html>" }) : made;
      },
    });
    expect(serialOf(proxy)).toBeUndefined();
    await proxy.pass(10_000);
    expect(serialOf(proxy)).toBe(proxy.core.issued[0]?.serialNumber);
  });

  test("a token that was redeemed by somebody else is reported with what to do, and tried ever more slowly", async () => {
    const clock = manualClock(testNowMs);
    const core = fakeCaCore({ now: clock.now });
    await startProxy({ clock, core });
    const proxy = await startProxy({ clock, core, random: () => 0.999 });
    expect(proxy.rotation.status().lastError).toMatchObject({ code: "ca_refused" });
    expect(proxy.rotation.status().lastError?.message).toMatch(/make a new token/);
    await proxy.pass(hourMs);
    const gaps = gapsOf(proxy);
    expect(gaps.at(-1)).toBeGreaterThan(4 * minuteMs);
    expect(gaps.at(-1)).toBeLessThanOrEqual(5 * minuteMs);
  });
});

describe("a workload that its platform vouches for", () => {
  /** A platform whose token is in a file that the test replaces. */
  function platform(token = "pod-1"): Evidence & { token: string | undefined } {
    const evidence = {
      token: token as string | undefined,
      async attest() {
        if (evidence.token === undefined) throw new EvidenceError("/run/token cannot be read (ENOENT)");
        return { type: "kubernetes", token: evidence.token } as const;
      },
      isCurrent: async (attestation: Attestation) => attestation.type === "kubernetes" && attestation.token === evidence.token,
    };
    return evidence;
  }
  const refusing = (core: FakeCaCore, type: Attestation["type"], code: ProblemCode): void => {
    core.intercept = ({ path, body }) => (path === "/v1/certificates" && (JSON.parse(body) as IssueRequest).attestation.type === type ? problem(code) : undefined);
  };

  test("attests by its evidence, renews by its certificate, and attests again once that has expired", async () => {
    const proxy = await startProxy({ token: undefined, evidence: platform() });
    await proxy.pass(20 * hourMs);
    expect(proxy.core.issued).toMatchObject([{ attestation: "kubernetes" }, { attestation: "svid" }]);
    proxy.network = down;
    await proxy.pass(30 * hourMs);
    proxy.network = (answer) => answer();
    await proxy.pass(2 * minuteMs);
    expect(proxy.core.issued.map(({ attestation }) => attestation)).toEqual(["kubernetes", "svid", "kubernetes"]);
    expect(proxy.expirations).toBe(1);
  });

  test("reads its evidence anew at each attempt, and sends the same request again for as long as it is the same", async () => {
    const evidence = platform();
    const proxy = await startProxy({ token: undefined, evidence, network: down, random: () => 0 });
    await proxy.pass(20_000);
    expect(new Set(proxy.attempts.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    evidence.token = "pod-1 again";
    await proxy.pass(20_000);
    expect(new Set(proxy.attempts.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(2);
    expect(proxy.attempts.at(-1)?.request.attestation).toEqual({ type: "kubernetes", token: "pod-1 again" });
  });

  test("says what is missing while there is none, and goes on when there is", async () => {
    const evidence = platform();
    evidence.token = undefined;
    const proxy = await startProxy({ token: undefined, evidence });
    expect(proxy.rotation.status().lastError).toMatchObject({ code: "evidence_unavailable", message: expect.stringContaining("/run/token") as string });
    evidence.token = "pod-1";
    await proxy.pass(11_000);
    expect(serialOf(proxy)).toBeDefined();
  });

  test("attests anew where the CA takes no renewals, at once, and does not ask for one again", async () => {
    const proxy = await startProxy({ token: undefined, evidence: platform() });
    refusing(proxy.core, "svid", "attestation_required");
    await proxy.pass(40 * hourMs);
    expect(proxy.core.issued.map(({ attestation }) => attestation)).toEqual(["kubernetes", "kubernetes", "kubernetes"]);
    expect(proxy.attempts.filter(({ request }) => request.attestation.type === "svid")).toHaveLength(1);
    expect(proxy.rotation.status().failures).toBe(0);
  });

  test("attests anew when its certificate does not vouch for it any more, and renews by the next one", async () => {
    const proxy = await startProxy({ token: undefined, evidence: platform() });
    refusing(proxy.core, "svid", "certificate_revoked");
    await proxy.pass(17 * hourMs);
    proxy.core.intercept = () => undefined;
    await proxy.pass(17 * hourMs);
    expect(proxy.core.issued.map(({ attestation }) => attestation)).toEqual(["kubernetes", "kubernetes", "svid"]);
  });

  test("keeps its certificate while the platform is refused", async () => {
    const proxy = await startProxy({ token: undefined, evidence: platform() });
    const serialNumber = serialOf(proxy);
    proxy.core.intercept = ({ path, body }) => (path === "/v1/certificates" ? problem((JSON.parse(body) as IssueRequest).attestation.type === "svid" ? "attestation_required" : "attestation_refused") : undefined);
    await proxy.pass(20 * hourMs);
    expect(serialOf(proxy)).toBe(serialNumber);
    expect(proxy.rotation.status().lastError).toMatchObject({ code: "ca_refused" });
  });
});

describe("renewal", () => {
  test("comes at 50-70 % of life, with a new key, proven by the current certificate", async () => {
    for (const [random, part] of [[0, 0.5], [0.999999, 0.7]] as const) {
      const proxy = await startProxy({ random: () => random });
      const { notBeforeMs, notAfterMs } = proxy.holder.identity()!;
      const dueMs = notBeforeMs + (notAfterMs - notBeforeMs) * part - testNowMs;
      await proxy.pass(dueMs - 5000);
      expect(proxy.core.issued).toHaveLength(1);
      await proxy.pass(10_000);
      expect(proxy.core.issued).toMatchObject([{ attestation: "join-token" }, { attestation: "svid" }]);
      expect(new Set(proxy.core.issued.map(({ spki }) => spki)).size).toBe(2);
      expect(serialOf(proxy)).toBe(proxy.core.issued[1]?.serialNumber);
    }
  });

  test("that is due as soon as the certificate comes is made a second later, though the clock is set back meanwhile", async () => {
    const clock = manualClock(testNowMs);
    const core = fakeCaCore({ now: clock.now });
    core.leafFaults = { notBeforeMs: testNowMs - 20 * hourMs, notAfterMs: testNowMs + 4 * hourMs };
    const proxy = await startProxy({ clock, core });
    clock.jump(-hourMs);
    await proxy.pass(1000);
    expect(proxy.attempts).toHaveLength(2);
  });

  test("the token is not sent again while there is a certificate", async () => {
    const proxy = await startProxy();
    await proxy.pass(10 * 24 * hourMs);
    expect(proxy.core.issued.length).toBeGreaterThan(12);
    expect(JSON.stringify(proxy.attempts.slice(1))).not.toContain(proxy.core.token);
  });

  test("a CA that is down beyond the renewal point costs nothing but retries, whose pace does not depend on the time left", async () => {
    const proxy = await startProxy({ random: () => 0.999 });
    const serialNumber = serialOf(proxy);
    proxy.network = down;
    await proxy.pass(23 * hourMs);
    expect(serialOf(proxy)).toBe(serialNumber);
    const gaps = gapsOf(proxy).slice(1);
    expect(gaps.slice(0, 5).map((gap) => Math.round(gap / 1000))).toEqual([1, 2, 4, 8, 16]);
    expect(gaps.slice(6).every((gap) => gap > 30_000 && gap <= minuteMs)).toBe(true);
    proxy.network = (answer) => answer();
    await proxy.pass(minuteMs);
    expect(serialOf(proxy)).not.toBe(serialNumber);
    expect(proxy.expirations).toBe(0);
  });

  test("what the CA asks us to wait is waited, and then some", async () => {
    const proxy = await startProxy({ random: () => 0 });
    proxy.network = () => problem("store_busy", { "retry-after": "120" });
    await proxy.pass(13 * hourMs);
    const gaps = gapsOf(proxy).slice(1);
    expect(gaps.length).toBeGreaterThan(10);
    expect(gaps.every((gap) => gap >= 120_000 && gap <= 120_000 + minuteMs)).toBe(true);
  });

  test("a refusal (revoked, deleted) is repeated slowly and does not take the present certificate away", async () => {
    const proxy = await startProxy({ random: () => 0.999 });
    const serialNumber = serialOf(proxy);
    proxy.network = () => problem("certificate_revoked");
    await proxy.pass(20 * hourMs);
    expect(serialOf(proxy)).toBe(serialNumber);
    expect(gapsOf(proxy).at(-1)).toBeGreaterThan(4 * minuteMs);
    expect(proxy.rotation.status().lastError?.message).toContain("certificate_revoked");
    expect(proxy.metrics.text()).toContain('identity_cert_refreshes_total{result="ca_refused"}');
  });

  test("a proof is made anew when the outcome stayed unknown for more than a minute, and each refusal asks anew", async () => {
    const proxy = await startProxy({ random: () => 0.999 });
    proxy.network = down;
    await proxy.pass(18 * hourMs);
    const renewals = proxy.attempts.slice(1);
    const firstMinute = renewals.filter(({ atMs }) => atMs - renewals[0]!.atMs < minuteMs);
    expect(new Set(firstMinute.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    expect(new Set(renewals.map(({ idempotencyKey }) => idempotencyKey)).size).toBeGreaterThan(10);
  });
});

describe("bad answers keep the last good identity", () => {
  const lies: Record<string, (core: FakeCaCore) => void> = {
    "signed by a root we do not know": (core) => (core.issuer = testAuthority({ trustDomain: "east" }).issuer()),
    "for somebody else": (core) => (core.spiffeId = "spiffe://east/ns/shop/sa/admin"),
    "of another trust domain": (core) => (core.spiffeId = "spiffe://west/ns/shop/sa/cart"),
    "for another key": (core) => (core.leafFaults = { key: undefined, keyKind: "ec-p256" }),
    "that has expired": (core) => (core.leafFaults = { notAfterMs: testNowMs - hourMs }),
    "that is not valid yet": (core) => (core.leafFaults = { notBeforeMs: testNowMs + 48 * hourMs }),
    "that is a CA's": (core) => (core.leafFaults = { extensions: { basicConstraints: null, keyUsage: null } }),
    "with a bundle in which its root is missing": (core) => {
      const other = testAuthority({ trustDomain: "east" });
      core.issuer = other.issuer();
    },
  };
  for (const [lie, tell] of Object.entries(lies)) {
    test(`a certificate ${lie}`, async () => {
      const proxy = await startProxy();
      const serialNumber = serialOf(proxy);
      tell(proxy.core);
      await proxy.pass(14.5 * hourMs);
      expect(proxy.core.issued.length).toBeGreaterThan(1);
      expect(serialOf(proxy)).toBe(serialNumber);
      expect(proxy.rotation.status().lastError?.code).toBe("ca_answer_invalid");
    });
  }

  test("a first bundle without the pinned root", async () => {
    const clock = manualClock(testNowMs);
    const core = fakeCaCore({ now: clock.now });
    const other = fakeCaCore({ now: clock.now });
    core.issuer = other.issuer;
    core.bundleText = other.bundleText;
    const proxy = await startProxy({ clock, core });
    expect(serialOf(proxy)).toBeUndefined();
    expect(proxy.rotation.status().lastError?.message).toContain("lacks the root");
  });

  test("a first certificate of another trust domain, even if that domain's bundle came with it", async () => {
    const clock = manualClock(testNowMs);
    const core = fakeCaCore({ now: clock.now });
    const west = testAuthority({ trustDomain: "west" });
    core.issuer = west.issuer();
    core.spiffeId = "spiffe://west/ns/shop/sa/cart";
    core.foreign = { west: encodeBundle(west.bundle()) };
    const proxy = await startProxy({ clock, core });
    expect(serialOf(proxy)).toBeUndefined();
    expect(proxy.rotation.status().lastError?.message).toContain("not of our trust domain");
  });

  test("a clock that is wrong is named as the reason", async () => {
    const clock = manualClock(testNowMs);
    const core = fakeCaCore({ now: () => clock.now() + hourMs });
    const proxy = await startProxy({ clock, core, network: (answer) => {
      const made = answer();
      return { ...made, headers: { ...made.headers, date: new Date(clock.now() + hourMs).toUTCString() } };
    } });
    expect(proxy.rotation.status().lastError?.message).toContain("3600 s behind the CA's");
    // Its own certificate is not lost for that: once the clocks agree, the same request gives it.
    clock.jump(hourMs);
    await proxy.pass(11_000);
    expect(serialOf(proxy)).toBe(core.issued[0]?.serialNumber);
  });
});

describe("after expiry", () => {
  test("there is no identity, and the first chance is used to attest anew by token and last key", async () => {
    const proxy = await startProxy({ random: () => 0.999 });
    proxy.network = down;
    const { notAfterMs } = proxy.holder.identity()!;
    await proxy.pass(notAfterMs - proxy.clock.now() + 999);
    expect(serialOf(proxy)).toBeDefined();
    expect(proxy.expirations).toBe(0);
    await proxy.pass(1);
    expect(serialOf(proxy)).toBeUndefined();
    expect(proxy.expirations).toBe(1);
    await proxy.pass(6 * hourMs);
    expect(serialOf(proxy)).toBeUndefined();
    proxy.network = (answer) => answer();
    await proxy.pass(minuteMs);
    expect(serialOf(proxy)).toBeDefined();
    expect(proxy.core.issued.at(-1)).toMatchObject({ attestation: "join-token", hasProof: true });
    await proxy.pass(20 * hourMs);
    expect(proxy.core.issued.at(-1)).toMatchObject({ attestation: "svid" });
  });

  test("a slow retry does not delay the change of attestation", async () => {
    const proxy = await startProxy({ random: () => 0.999 });
    const { notAfterMs } = proxy.holder.identity()!;
    proxy.network = (answer) => (proxy.holder.identity() === undefined ? answer() : problem("proof_refused"));
    await proxy.pass(notAfterMs - proxy.clock.now() + 1000 + 3000);
    expect(serialOf(proxy)).toBeDefined();
  });

  test("a request prepared just before expiry is not sent just after it: its attestation holds no more", async () => {
    const proxy = await startProxy({ random: () => 0 });
    const { notAfterMs } = proxy.holder.identity()!;
    proxy.network = down;
    await proxy.pass(notAfterMs - proxy.clock.now() + 10_000);
    const types = (from: number, to: number) => proxy.attempts.filter(({ atMs }) => atMs >= from && atMs < to).map(({ request }) => request.attestation.type);
    expect(new Set(types(notAfterMs - hourMs, notAfterMs + 1000))).toEqual(new Set(["svid"]));
    expect(new Set(types(notAfterMs + 1000, Infinity))).toEqual(new Set(["join-token"]));
  });

  test("without a token it is said that only a new one helps", async () => {
    const first = await startProxy();
    const restored = first.holder.identity()!;
    const clock = manualClock(restored.notAfterMs + hourMs);
    const proxy = await startProxy({ clock, core: first.core, restored, token: undefined });
    await proxy.pass(5000);
    expect(proxy.attempts).toEqual([]);
    expect(proxy.rotation.status().lastError).toMatchObject({ code: "no_attestation" });
    expect(proxy.rotation.status().lastError?.message).toContain("COUNTERSIGN_BOOTSTRAP");
  });

  test("a machine that slept through the renewal and the expiry notices within a minute of waking", async () => {
    const proxy = await startProxy();
    proxy.clock.jump(30 * hourMs);
    await proxy.pass(minuteMs + 2000);
    expect(proxy.expirations).toBe(1);
    expect(serialOf(proxy)).toBeDefined();
    expect(proxy.core.issued).toHaveLength(2);
  });
});

describe("restart and stop", () => {
  test("a restored identity is renewed at its time, without the token", async () => {
    const first = await startProxy();
    const proxy = await startProxy({ clock: first.clock, core: first.core, restored: first.holder.identity()!, token: undefined });
    expect(proxy.attempts).toEqual([]);
    await proxy.pass(16 * hourMs);
    expect(proxy.core.issued.at(-1)).toMatchObject({ attestation: "svid" });
  });

  test("a certificate that is not wanted any more when it comes is replaced within the time that is given", async () => {
    const proxy = await startProxy({ unwanted: new Set([2]) });
    await proxy.pass(16 * hourMs);
    const [, second, third] = proxy.attempts;
    expect(third!.atMs - second!.atMs).toBeLessThanOrEqual(minuteMs);
  });

  test("nothing is taken into use after stop", async () => {
    const clock = manualClock(testNowMs);
    const proxy = await startProxy({ clock, network: down });
    proxy.network = (answer) => answer();
    proxy.rotation.stop();
    await clock.advance(hourMs, async () => void (await nextTurn()));
    expect(serialOf(proxy)).toBeUndefined();
    expect(clock.waiting()).toEqual([]);
  });

  test("a certificate lifetime of three months needs no timer beyond what Node has", async () => {
    const clock = manualClock(testNowMs);
    const core = fakeCaCore({ now: clock.now });
    core.lifetimeMs = 90 * 24 * hourMs;
    const proxy = await startProxy({ clock, core });
    expect(Math.max(...clock.waiting())).toBeLessThanOrEqual(minuteMs);
    expect(serialOf(proxy)).toBeDefined();
  });
});

/** A generator that is the same in every run (mulberry32). */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe("1000 proxies that were started in the same second", () => {
  const lifeMs = 24 * hourMs;
  const randoms = Array.from({ length: 1000 }, (_, index) => seededRandom(index));

  test("plan their renewals all over the window", async () => {
    const clock = manualClock(testNowMs);
    const first = await startProxy({ clock, core: fakeCaCore({ now: clock.now }) });
    const restored = first.holder.identity()!;
    const plannedMs = randoms.map((random) => {
      const rotation = startRotation({
        keyAlgorithm: "ec-p256", lifetimeSeconds: undefined, trustDomain: "east", token: undefined, rootFingerprints: [], restored,
        heldBundles: () => new Map(), onIssued: () => undefined, onExpired: () => undefined, clock, random, log: recordedLog(),
        metrics: createMetrics(), client: { issue: async () => down() },
      });
      rotation.stop();
      return rotation.status().nextAttemptMs! - restored.notBeforeMs;
    });
    expect(Math.min(...plannedMs)).toBeGreaterThanOrEqual(0.5 * lifeMs);
    expect(Math.max(...plannedMs)).toBeLessThanOrEqual(0.7 * (lifeMs + minuteMs));
    expect(busiestMinute(plannedMs)).toBeLessThan(20);
  });

  test("stay apart a period later, and the period after that", () => {
    let timesMs = randoms.map(() => 0);
    for (let period = 0; period < 5; period++) {
      timesMs = timesMs.map((notBeforeMs, index) => renewalTime({ notBeforeMs, notAfterMs: notBeforeMs + lifeMs }, randoms[index]!));
      expect(busiestMinute(timesMs)).toBeLessThan(20);
    }
  });

  test("do not come all at once when the CA is back, even if they all failed at the same moment", () => {
    const backMs = randoms.map((random) => {
      let timeMs = 0;
      for (let failures = 1; timeMs < hourMs; failures++) timeMs += retryDelay(failures, "renewal", random);
      return timeMs - hourMs;
    });
    expect(Math.max(...backMs)).toBeLessThanOrEqual(minuteMs);
    const perSecond = Map.groupBy(backMs, (timeMs) => Math.floor(timeMs / 1000));
    expect(Math.max(...[...perSecond.values()].map(({ length }) => length))).toBeLessThan(60);
  });

  const busiestMinute = (timesMs: readonly number[]) =>
    Math.max(...[...Map.groupBy(timesMs, (timeMs) => Math.floor(timeMs / minuteMs)).values()].map(({ length }) => length));
});

function gapsOf({ attempts }: Proxy): number[] {
  return attempts.slice(1).map(({ atMs }, index) => atMs - attempts[index]!.atMs);
}
