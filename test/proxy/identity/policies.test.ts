import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { parseSpiffeId } from "../../../ca/pki/spiffe-id.ts";
import { startPolicyPolling, type HeldPolicy } from "../../../proxy/identity/policies.ts";
import type { PolicyInForce } from "../../../proxy/identity/source.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { eastIdentity } from "../../support/data-path.ts";
import { manualClock } from "../../support/manual-clock.ts";
import { recordedLog } from "../../support/recorded-log.ts";

const identity = eastIdentity("cart");
const web = parseSpiffeId("spiffe://east/web");
const denying = [{ name: "p", workloads: ["spiffe://east/cart"], rules: [{ action: "deny", from: ["*"] }] }];
const setOf = (sequence: number, policies: unknown = [], changes: object = {}): string => (
  JSON.stringify({ sequence, workload: "spiffe://east/cart", policies, services: [], ...changes })
);

async function setUp(restored?: HeldPolicy, isStreamed = true, told = setOf(1)) {
  const clock = manualClock(0);
  const ca = { text: told, epoch: "e" as string | undefined, down: false };
  const asked: unknown[] = [];
  const inForce: PolicyInForce[] = [];
  const kept: HeldPolicy[] = [];
  const log = recordedLog();
  const polling = startPolicyPolling({
    client: {
      async policy(_by, etag, atLeast) {
        asked.push([etag, atLeast]);
        if (ca.down) throw new Error("down");
        const tag = ca.text.slice(0, 15);
        return etag === tag ? undefined : { text: ca.text, etag: tag };
      },
    },
    restored, identity: () => identity, feedEpoch: () => ca.epoch, isStreamed: () => isStreamed, clock, random: () => 0.5, log, metrics: createMetrics(),
    onPolicyInForce: (policy) => void inForce.push(policy), onPolicyChanged: (held) => void kept.push(held),
  });
  await nextTurn();
  const denies = () => inForce.at(-1)?.inbound.connection(web, 1).settled?.action === "deny";
  return { clock, ca, asked, inForce, kept, log, polling, denies };
}

test("is asked for at once, and after each change that is told; what comes is in force and kept", async () => {
  const { clock, ca, asked, inForce, kept, polling, denies } = await setUp();
  expect(inForce).toMatchObject([{ sequence: 1 }]);
  ca.text = setOf(2, denying);
  polling.heardOf({ sequence: 2 });
  await clock.advance(200);
  expect(asked).toEqual([[undefined, undefined], [setOf(1).slice(0, 15), 2]]);
  expect(denies()).toBe(true);
  expect(kept).toEqual([{ text: setOf(1), feedEpoch: "e" }, { text: setOf(2, denying), feedEpoch: "e" }]);
  expect(polling.status()).toMatchObject({ sequence: 2, policies: ["p"], lastError: undefined });
});

test("without a stream it is polled", async () => {
  const { clock, ca, denies } = await setUp(undefined, false);
  ca.text = setOf(2, denying);
  await clock.advance(11_000);
  expect(denies()).toBe(true);
});

test("the stored one is in force without the CA, and is the last good one until it tells another", async () => {
  const { clock, ca, inForce, polling } = await setUp({ text: setOf(5, denying), feedEpoch: "e" });
  expect(inForce).toMatchObject([{ sequence: 5 }]);
  // The CA has sequence 1 in the same feed: a replica that lags.
  expect(polling.status()).toMatchObject({ sequence: 5, lastError: expect.stringContaining("below 5") as string });
  ca.text = setOf(6);
  await clock.advance(5000);
  expect(inForce).toMatchObject([{ sequence: 5 }, { sequence: 6 }]);
  expect(polling.status().lastError).toBeUndefined();
});

test("a CA that was restored from a backup is believed, also with an older sequence, or the same one", async () => {
  const { ca, polling, denies, inForce } = await setUp();
  ca.text = setOf(1, denying);
  ca.epoch = "restored";
  polling.beginAnew();
  await nextTurn();
  expect(denies()).toBe(true);
  ca.text = setOf(0);
  polling.beginAnew();
  await nextTurn();
  expect(inForce.at(-1)?.sequence).toBe(0);
});

const faults: readonly [string, string][] = [
  ["for another workload", setOf(2, [], { workload: "spiffe://east/web" })],
  ["without a sequence", setOf(2, [], { sequence: "2" })],
  ["with a member of a rule that is not known", setOf(2, [{ ...denying[0], rules: [{ action: "deny", from: ["*"], unless: "Sunday" }] }])],
  ["with a service that is none", setOf(2, [], { services: [{ name: "w" }] })],
  ["that is not JSON", `${setOf(2)}}`],
];
for (const [fault, text] of faults) {
  test(`an answer ${fault} is refused whole; the last good one stays, and it is reported`, async () => {
    const { clock, ca, inForce, polling, log } = await setUp({ text: setOf(1, denying), feedEpoch: "e" }, true, setOf(1, denying));
    ca.text = text;
    polling.heardOf({ sequence: 2 });
    await clock.advance(200);
    expect(inForce).toHaveLength(1);
    expect(polling.status()).toMatchObject({ sequence: 1, lastError: expect.any(String) as string });
    expect(log.text()).toContain("the last good one stays in force");
  });
}

test("a stored one that cannot be read is none", async () => {
  const { inForce, log, polling } = await setUp({ text: "{" });
  expect(log.text()).toContain("stored policy refused");
  expect(inForce).toMatchObject([{ sequence: 1 }]);
  polling.stop();
});
