import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { oidcVerifier } from "../../../ca/attestation/oidc.ts";
import { attestorDeps, attestorOf, factsToObject } from "../../support/attestor.ts";
import { forgeToken, signToken, startPlatform, type Platform, type SigningKey } from "../../support/platform.ts";

let platform: Platform;
let key: SigningKey;
let rsa: SigningKey;
const deps = attestorDeps();
beforeAll(async () => {
  platform = await startPlatform();
  key = platform.addKey("key-1");
  rsa = platform.addKey("key-2", "RS256");
});
afterAll(async () => {
  deps.close();
  await platform.close();
});

const nowSeconds = (): number => Math.floor(deps.clock.nowMs / 1000);
const good = (): Record<string, unknown> => ({ iss: platform.url, aud: "spiffe://east", sub: "repo:acme/shop:ref:refs/heads/main", exp: nowSeconds() + 300, iat: nowSeconds(), repository: "acme/shop", jti: "1" });
const settings = (): object => ({ issuer: platform.url, caFile: platform.caFile, when: { repository: "acme/shop" }, spiffeId: "spiffe://east/ci/{+repository}" });
const verifier = (more: object = {}) => oidcVerifier(attestorOf("oidc", { ...settings(), ...more }), deps);
const refused = (why: RegExp) => expect.objectContaining({ code: "attestation_refused", message: expect.stringMatching(why) as string }) as Error;

describe("an ID token", () => {
  test("of the issuer's keys, for this CA, says what its claims say", async () => {
    const evidence = await verifier()(await signToken(key, { ...good(), groups: ["a", "b"], attempt: 1, google: { compute_engine: { zone: "z1" } } }));
    expect(factsToObject(evidence.facts)).toMatchObject({ repository: "acme/shop", groups: "a,b", attempt: "1", "google.compute_engine.zone": "z1" });
    expect(evidence.record).toEqual({ issuer: platform.url, subject: "repo:acme/shop:ref:refs/heads/main", tokenId: "1" });
    expect(evidence.once?.untilMs).toBeGreaterThan((nowSeconds() + 300) * 1000);
  });

  test("is verified by RSA keys too, and by a key that was published after the others were read", async () => {
    const verify = verifier();
    await verify(await signToken(rsa, good()));
    const late = platform.addKey("late");
    deps.clock.nowMs += 31_000;
    await verify(await signToken(late, good()));
  });

  test.each([
    ["for another audience", { aud: "spiffe://west" }, /not for the audience/],
    ["for no audience", { aud: undefined }, /audience/],
    ["of another issuer", { iss: "https://evil.example" }, /is not by/],
    ["that has expired", { exp: 1 }, /expired/],
    ["that never expires", { exp: undefined }, /"exp"/],
    ["that begins later", { nbf: 4_000_000_000 }, /begin/],
    ["that was made in the future", { iat: 4_000_000_000 }, /future/],
    ["without a subject", { sub: undefined }, /"sub"/],
    ["that is good for two days", { exp: Math.floor(Date.now() / 1000) + 2 * 86_400 }, /more than a day/],
  ])("%s is refused", async (_claim, change, why) => {
    await expect(verifier()(await signToken(key, { ...good(), ...change }))).rejects.toThrow(refused(why));
  });

  test("with the algorithm none is refused, however it is spelt", async () => {
    for (const alg of ["none", "None", "nOnE"]) await expect(verifier()(forgeToken({ alg, kid: "key-1" }, good(), () => new Uint8Array(0)))).rejects.toThrow(refused(/algorithm/));
  });

  test("that is an HMAC with the public key as its secret is refused", async () => {
    const secrets = [rsa.publicKey.export({ format: "pem", type: "spki" }), JSON.stringify(rsa.publicKey.export({ format: "jwk" }))];
    for (const secret of secrets) {
      const forged = forgeToken({ alg: "HS256", kid: "key-2" }, good(), (input) => createHmac("sha256", secret).update(input).digest());
      await expect(verifier()(forged)).rejects.toThrow(refused(/algorithm/));
    }
  });

  test("by one key that names another, an unknown one, or none of several is refused", async () => {
    const other = platform.addKey("key-3");
    await expect(verifier()(await signToken({ ...other, keyId: "key-1" }, good()))).rejects.toThrow(refused(/signature/));
    await expect(verifier()(await signToken({ ...key, keyId: "../key-1" }, good()))).rejects.toThrow(refused(/no such key/));
    await expect(verifier()(forgeToken({ alg: "ES256" }, good(), (input) => sign("sha256", input, { key: key.privateKey, dsaEncoding: "ieee-p1363" })))).rejects.toThrow(refused(/which of/));
    await expect(verifier()(forgeToken({ alg: "RS256", kid: "key-1" }, good(), (input) => sign("sha256", input, rsa.privateKey)))).rejects.toThrow(refused(/no such key|which of/));
  });

  test("that brings its own key, in whatever header, is refused, and nobody is asked for it", async () => {
    const mine = generateKeyPairSync("ec", { namedCurve: "P-256" });
    platform.answers.set("/evil", () => ({ json: { keys: [{ ...mine.publicKey.export({ format: "jwk" }), kid: "key-1" }] } }));
    const verify = verifier();
    for (const header of [{ jku: `${platform.url}/evil` }, { x5u: `${platform.url}/evil` }, { jwk: mine.publicKey.export({ format: "jwk" }) }]) {
      const forged = forgeToken({ alg: "ES256", kid: "key-1", ...header }, good(), (input) => sign("sha256", input, { key: mine.privateKey, dsaEncoding: "ieee-p1363" }));
      await expect(verify(forged)).rejects.toThrow(refused(/signature/));
    }
    expect(platform.requests).not.toContain("GET /evil");
  });

  test.each([
    ["of another type", (): Promise<string> => signToken(key, good(), { typ: "at+jwt" }), /typ/],
    ["with an extension that has to be understood", (): Promise<string> => Promise.resolve(forgeToken({ alg: "ES256", kid: "key-1", crit: ["x"], x: 1 }, good(), (input) => sign("sha256", input, { key: key.privateKey, dsaEncoding: "ieee-p1363" }))), /malformed/],
    ["that was changed", async (): Promise<string> => (await signToken(key, good())).replace(/\.[^.]+\./, `.${Buffer.from(JSON.stringify({ ...good(), repository: "acme/other" })).toString("base64url")}.`), /signature/],
    ["that is too long", (): Promise<string> => signToken(key, { ...good(), filler: "x".repeat(20_000) }), /characters/],
    ["that is none", (): Promise<string> => Promise.resolve("hunter2"), /compact/],
  ])("%s is refused", async (_claim, make, why) => {
    await expect(verifier()(await make())).rejects.toThrow(refused(why));
  });

  test("is known again by its jti, and without one by what was signed of it: a second good signature does not make it another", async () => {
    const verify = verifier();
    const onceOf = async (claims: Record<string, unknown>) => (await verify(await signToken(key, claims))).once?.nonce;
    expect(await onceOf(good())).toBe(await onceOf({ ...good(), later: 1 }));
    const claims = { ...good(), jti: undefined };
    expect(await onceOf(claims)).toBe(await onceOf(claims));
    expect(await onceOf(claims)).not.toBe(await onceOf({ ...claims, sub: "other" }));
    expect((await verifier({ once: false })(await signToken(key, good()))).once).toBeUndefined();
  });

  test("is verified by keys in a file, where the issuer cannot be reached", async () => {
    const file = join(platform.folder, "keys.json");
    writeFileSync(file, JSON.stringify({ keys: [{ ...key.publicKey.export({ format: "jwk" }), kid: "key-1" }] }));
    const verify = oidcVerifier(attestorOf("oidc", { ...settings(), issuer: "https://unreachable.invalid", keysFile: file }), deps);
    expect((await verify(await signToken(key, { ...good(), iss: "https://unreachable.invalid" }))).record["subject"]).toContain("acme");
  });
});

describe("a JWT-SVID of another trust domain", () => {
  const claims = (sub = "spiffe://west/ns/shop/sa/cart"): Record<string, unknown> => ({ aud: ["spiffe://east"], sub, exp: nowSeconds() + 300 });
  const bundle = (uses: readonly (string | undefined)[]): void => void platform.answers.set("/bundle", () => ({
    json: { spiffe_sequence: 1, keys: uses.map((use) => ({ ...key.publicKey.export({ format: "jwk" }), kid: "key-1", use })) },
  }));
  const west = () => verifier({ issuer: "spiffe://west", keysUrl: `${platform.url}/bundle`, when: { workload: "ns/shop/*" }, spiffeId: "spiffe://east/west/{+workload}" });

  test("names its workload, by the bundle's keys for JWT-SVIDs, and no issuer", async () => {
    bundle(["jwt-svid"]);
    for (const typ of [undefined, "JWT", "JOSE"]) {
      expect(factsToObject((await west()(await signToken(key, claims(), { ...(typ && { typ }) }))).facts)).toMatchObject({ sub: "spiffe://west/ns/shop/sa/cart", workload: "ns/shop/sa/cart" });
    }
    expect(factsToObject((await west()(await signToken(key, { ...claims(), workload: "ns/bank/sa/till" }))).facts)).toMatchObject({ workload: "ns/shop/sa/cart" });
  });

  test.each(["spiffe://north/ns/shop/sa/cart", "spiffe://west.evil/x", "west", "https://west/x", "spiffe://west/../x"])("of somebody else (%s) is refused", async (sub) => {
    bundle(["jwt-svid"]);
    await expect(west()(await signToken(key, claims(sub)))).rejects.toThrow(refused(/no SPIFFE ID of the trust domain west/));
  });

  test.each(["x509-svid", "sig", undefined])("by a key for something else (%s) is refused", async (use) => {
    bundle([use]);
    await expect(west()(await signToken(key, claims()))).rejects.toMatchObject({ code: "attestor_unavailable" });
  });
});

test("an ID token by an issuer's key for JWT-SVIDs is refused", async () => {
  platform.answers.set("/odd", () => ({ json: { keys: [{ ...key.publicKey.export({ format: "jwk" }), kid: "key-1", use: "jwt-svid" }] } }));
  await expect(verifier({ keysUrl: `${platform.url}/odd` })(await signToken(key, good()))).rejects.toMatchObject({ code: "attestor_unavailable" });
});
