import { afterEach, describe, expect, test } from "vitest";
import { keySetOf } from "../../../ca/attestation/key-set.ts";
import { attestorDeps } from "../../support/attestor.ts";
import { startPlatform, type Platform } from "../../support/platform.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(keys?: (platform: Platform) => Parameters<typeof keySetOf>[1]["keys"]) {
  const platform = await startPlatform();
  const deps = attestorDeps({ timeoutMs: 3000 });
  closing.push(() => platform.close(), deps.close);
  platform.addKey("one");
  return { platform, clock: deps.clock, set: keySetOf("tested", { issuer: platform.url, keys: keys?.(platform), caFile: platform.caFile }, deps) };
}

const unavailable = (why: RegExp) => expect.objectContaining({ code: "attestor_unavailable", message: expect.stringMatching(why) as string }) as Error;

describe("an issuer's keys", () => {
  test("are looked up once for all who ask at once, and again when ten minutes old", async () => {
    const { platform, clock, set } = await start();
    await Promise.all(Array.from({ length: 20 }, () => set.keys()));
    expect(platform.requests).toEqual(["GET /.well-known/openid-configuration", "GET /keys"]);
    clock.nowMs += 11 * 60_000;
    await set.keys();
    expect(platform.requests).toHaveLength(4);
  });

  test("are not looked up for each key ID that somebody makes up", async () => {
    const { platform, clock, set } = await start();
    await set.keys();
    for (let asked = 0; asked < 100; asked++) await set.keys(true);
    expect(platform.requests).toHaveLength(2);
    clock.nowMs += 31_000;
    await set.keys(true);
    await set.keys(true);
    expect(platform.requests).toHaveLength(4);
  });

  test("stay in use for a day when the issuer fails, and no longer", async () => {
    const { platform, clock, set } = await start();
    const first = await set.keys();
    platform.answers.set("/keys", () => ({ status: 500, text: "" }));
    clock.nowMs += 23 * 3_600_000;
    expect(await set.keys()).toBe(first);
    clock.nowMs += 2 * 3_600_000;
    await expect(set.keys()).rejects.toThrow(unavailable(/answered 500/));
  });

  test.each<[string, (platform: Platform) => void, RegExp]>([
    ["a discovery that redirects", (platform) => platform.answers.set("/.well-known/openid-configuration", () => ({ status: 302, text: "", headers: { location: `${platform.url}/keys` } })), /redirections are not followed/],
    ["keys that redirect", (platform) => platform.answers.set("/keys", () => ({ status: 307, text: "", headers: { location: "https://169.254.169.254/" } })), /redirections are not followed/],
    ["a discovery of another issuer", (platform) => platform.answers.set("/.well-known/openid-configuration", () => ({ json: { issuer: "https://evil.example", jwks_uri: `${platform.url}/keys` } })), /another issuer/],
    ["keys at another host", (platform) => platform.answers.set("/.well-known/openid-configuration", () => ({ json: { issuer: platform.url, jwks_uri: "https://169.254.169.254/keys" } })), /set keysUrl/],
    ["keys without TLS", (platform) => platform.answers.set("/.well-known/openid-configuration", () => ({ json: { issuer: platform.url, jwks_uri: platform.url.replace("https", "http") } })), /set keysUrl/],
    ["a huge key set", (platform) => platform.answers.set("/keys", () => ({ text: `{"keys":[${" ".repeat(300_000)}]}` })), /longer than/],
    ["too many keys", (platform) => platform.answers.set("/keys", () => ({ json: { keys: Array.from({ length: 65 }, () => ({ kty: "RSA" })) } })), /at most 64/],
    ["secret and private keys alone", (platform) => platform.answers.set("/keys", () => ({ json: { keys: [{ kty: "oct", k: "AAAA" }, { kty: "EC", d: "AAAA" }, { kty: "RSA", use: "enc" }] } })), /no public key/],
    ["what is not JSON", (platform) => platform.answers.set("/keys", () => ({ text: "<html>" })), /not JSON/],
    ["nothing", (platform) => platform.answers.delete("/keys"), /answered 404/],
  ])("are not had from %s", async (_claim, change, why) => {
    const { platform, set } = await start();
    change(platform);
    await expect(set.keys()).rejects.toThrow(unavailable(why));
  });

  test("are had from another place when an operator names it", async () => {
    const { platform, set } = await start((found) => ({ kind: "url", url: `${found.url}/keys` }));
    await set.keys();
    expect(platform.requests).toEqual(["GET /keys"]);
  });

  test("are had only from who is known by the operator's roots", async () => {
    const { platform } = await start();
    const deps = attestorDeps();
    closing.push(deps.close);
    await expect(keySetOf("tested", { issuer: platform.url, keys: undefined, caFile: undefined }, deps).keys()).rejects.toThrow(unavailable(/no answer/));
    expect(platform.requests).toEqual([]);
  });
});
