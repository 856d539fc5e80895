import { generateKeyPairSync, sign } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { encodeJwtSvid } from "../../../ca/pki/jwt-svid.ts";
import { CaError } from "../../../proxy/ca-error.ts";
import type { Identity, IdentityHolder } from "../../../proxy/identity/source.ts";
import { createMetrics } from "../../../proxy/metrics.ts";
import { jwtSvidCache } from "../../../proxy/workload/jwt-svids.ts";
import { east, eastIdentity, holderOf, metricValue } from "../../support/data-path.ts";
import { manualClock, until } from "../../support/manual-clock.ts";

const startMs = Date.UTC(2026, 0, 1);
const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const web = eastIdentity("web");
const publish = (holder: IdentityHolder, ...keyIds: string[]) =>
  holder.setBundles("east", new Map([["east", { ...east.bundle(), jwtAuthorities: keyIds.map((keyId) => ({ keyId, publicKey })) }]]));

function start({ keyId = "one", lifetimeS = 300 } = {}) {
  const clock = manualClock(startMs);
  const holder = holderOf(web, [east], clock.now);
  publish(holder, "one");
  const metrics = createMetrics();
  const state = { asked: 0, fails: false, holds: undefined as Promise<void> | undefined };
  const issue = async (audience: readonly string[], { id }: Identity): Promise<string> => {
    const jwtId = `${++state.asked}`;
    await state.holds;
    if (state.fails) throw new CaError("ca_unreachable", "it is away");
    const issuedAt = clock.now() / 1000;
    const input = encodeJwtSvid({ keyId, spiffeId: id.uri, audience, issuedAt, expiresAt: issuedAt + lifetimeS, jwtId });
    return `${input}.${sign("sha256", Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  };
  const cache = jwtSvidCache({ issue, source: holder, clock, metrics });
  return { clock, holder, metrics, state, cache, fetch: (audience = "db", identity = web) => cache.fetch([audience], identity) };
}

describe("a token", () => {
  test("is kept until half of its life is over; then it is still given, and the next one asked for beside", async () => {
    const { clock, state, fetch } = start();
    const first = await fetch();
    clock.jump(149_000);
    expect(await fetch()).toBe(first);
    expect(state.asked).toBe(1);
    clock.jump(2000);
    expect(await fetch()).toBe(first);
    expect(state.asked).toBe(2);
    await until("the next one is there", () => state.asked === 2);
    await nextTurn();
    expect(await fetch()).not.toBe(first);
    expect(state.asked).toBe(2);
  });

  test("is given to its end where the CA is away, which is asked again every 5 s and no more often", async () => {
    const { clock, state, fetch, metrics } = start();
    const first = await fetch();
    state.fails = true;
    clock.jump(151_000);
    for (let call = 0; call < 5; call++) {
      expect(await fetch()).toBe(first);
      await nextTurn();
    }
    expect(state.asked).toBe(2);
    clock.jump(5000);
    expect(await fetch()).toBe(first);
    expect(state.asked).toBe(3);
    await nextTurn();
    expect(metricValue(metrics, "jwt_svid_requests_total", 'result="failed"')).toBe(2);
    clock.jump(135_000); // 291 s: less is left of it than anybody could use
    await expect(fetch()).rejects.toMatchObject({ code: "ca_unreachable" });
    state.fails = false;
    expect(await fetch()).not.toBe(first);
  });

  test("is of the identity that asks", async () => {
    const { state, fetch } = start();
    const first = await fetch();
    expect(await fetch("db", eastIdentity("web"))).toBe(first); // renewed: still the same one
    expect(await fetch("db", eastIdentity("other"))).not.toBe(first);
    expect(state.asked).toBe(2);
  });

  test("whose key does not come is given to nobody", async () => {
    const { clock, state, fetch, holder } = start({ keyId: "two" });
    const answer = expect(fetch()).rejects.toMatchObject({ code: "ca_unavailable" });
    await until("it waits for the key", () => clock.waiting().length > 0);
    publish(holder, "one");
    await clock.advance(5000);
    await answer;
    expect(clock.waiting()).toEqual([]);
    publish(holder, "one", "two");
    await fetch();
    expect(state.asked).toBe(2);
  });
});

describe("bounds", () => {
  test("a thousand audiences are kept, those used last", async () => {
    const { state, fetch } = start();
    const first = await fetch("a0");
    for (let one = 1; one < 1000; one++) await fetch(`a${one}`);
    expect(await fetch("a0")).toBe(first);
    await fetch("one more");
    expect(await fetch("a0")).toBe(first);
    expect(state.asked).toBe(1001);
    await fetch("a1");
    expect(state.asked).toBe(1002);
  });

  test("64 are asked for at once", async () => {
    const { state, fetch } = start();
    let go: () => void = () => undefined;
    state.holds = new Promise((resolve) => (go = resolve));
    const all = Array.from({ length: 64 }, (_, one) => fetch(`a${one}`));
    await expect(fetch("one more")).rejects.toMatchObject({ code: "ca_unavailable" });
    go();
    await Promise.all(all);
    await fetch("one more");
    expect(state.asked).toBe(65);
  });
});
