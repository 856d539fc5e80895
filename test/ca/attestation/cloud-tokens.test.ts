import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { oidcVerifier } from "../../../ca/attestation/oidc.ts";
import { parseIdTemplate, renderId } from "../../../ca/attestation/name-template.ts";
import type { OidcAttestor } from "../../../ca/config/attestors.ts";
import { attestorDeps, attestorOf } from "../../support/attestor.ts";
import { forgeToken, signToken, startPlatform, type Platform, type SigningKey } from "../../support/platform.ts";

/**
 * Tokens as the clouds make them, and the documents by which their keys are found, under their own names: each host is a path of one https
 * server on loopback.
 * @source learn.microsoft.com, "Access token claims reference", "OpenID Connect on the Microsoft identity platform"; cloud.google.com, "Verify the identity of instances"
 */
const tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
let cloud: Platform;
let key: SigningKey;
const deps = attestorDeps();
const asked: string[] = [];
const fetch: typeof deps.fetch = (outgoing) => {
  const { host, pathname } = new URL(outgoing.url);
  asked.push(outgoing.url);
  return deps.fetch({ ...outgoing, url: `${cloud.url}/${host}${pathname}`, caFile: cloud.caFile });
};
beforeAll(async () => {
  cloud = await startPlatform();
  key = cloud.addKey("nOo3ZDrODXEK1jKWhXslHR_KXEg", "RS256");
  const keys = cloud.answers.get("/keys")!;
  const publish = (issuer: string, jwksUri: string): void => {
    const [document, set] = [new URL(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`), new URL(jwksUri)];
    cloud.answers.set(`/${document.host}${document.pathname}`, () => ({ json: { issuer, jwks_uri: jwksUri, id_token_signing_alg_values_supported: ["RS256"] } }));
    cloud.answers.set(`/${set.host}${set.pathname}`, keys);
  };
  publish(azure1.issuer, "https://login.windows.net/common/discovery/keys");
  cloud.answers.set("/login.microsoftonline.com/common/discovery/keys", keys);
  publish(azure2.issuer, `https://login.microsoftonline.com/${tenant}/discovery/v2.0/keys`);
  publish(google.issuer, googleKeys);
});
afterAll(async () => {
  deps.close();
  await cloud.close();
});

const azure1 = { issuer: `https://sts.windows.net/${tenant}/`, audience: "api://countersign", once: false, when: { oid: "8f2d40a8-7f8e-4a31-9c0b-5d9b1cf0a9f1" }, spiffeId: "spiffe://{trustDomain}/azure/{oid}" };
const azure1Keys = "https://login.microsoftonline.com/common/discovery/keys";
const azure2 = { ...azure1, issuer: `https://login.microsoftonline.com/${tenant}/v2.0`, audience: "5c1a4f0e-8f0e-4f43-a0b4-5c9e6f4d2d11" };
const google = {
  issuer: "https://accounts.google.com", once: false, when: { "google.compute_engine.project_id": "acme-prod", email: "cart@acme-prod.iam.gserviceaccount.com" },
  spiffeId: "spiffe://{trustDomain}/gcp/{google.compute_engine.project_id}/{google.compute_engine.instance_name}",
};
const googleKeys = "https://www.googleapis.com/oauth2/v3/certs";

const nowSeconds = (): number => Math.floor(deps.clock.nowMs / 1000);
/** Of a managed identity, in the form of version 1: a day and five minutes long. */
const azure1Claims = (): Record<string, unknown> => ({
  aud: "api://countersign", iss: azure1.issuer, iat: nowSeconds(), nbf: nowSeconds(), exp: nowSeconds() + 86_700, aio: "E2ZgYDj", appid: "0f5f2a14-6f6a-4d0a-8f0e-9d7f5a3c2b10", appidacr: "2",
  idp: azure1.issuer, idtyp: "app", oid: "8f2d40a8-7f8e-4a31-9c0b-5d9b1cf0a9f1", rh: "0.AXwA", sub: "8f2d40a8-7f8e-4a31-9c0b-5d9b1cf0a9f1", tid: tenant, uti: "Wq1Tz3sKZ0aE", ver: "1.0",
  xms_mirid: "/subscriptions/0000/resourcegroups/shop/providers/Microsoft.ManagedIdentity/userAssignedIdentities/cart",
});
const azure2Claims = (): Record<string, unknown> => ({
  aud: azure2.audience, iss: azure2.issuer, iat: nowSeconds(), nbf: nowSeconds(), exp: nowSeconds() + 3900, azp: "0f5f2a14-6f6a-4d0a-8f0e-9d7f5a3c2b10", azpacr: "2",
  oid: "8f2d40a8-7f8e-4a31-9c0b-5d9b1cf0a9f1", sub: "8f2d40a8-7f8e-4a31-9c0b-5d9b1cf0a9f1", tid: tenant, uti: "Wq1Tz3sKZ0aE", ver: "2.0",
});
/** Of an instance, format=full. */
const googleClaims = (): Record<string, unknown> => ({
  aud: "spiffe://east", iss: google.issuer, iat: nowSeconds(), exp: nowSeconds() + 3600, azp: "113774264463038321964", sub: "113774264463038321964",
  email: "cart@acme-prod.iam.gserviceaccount.com", email_verified: true,
  google: { compute_engine: { instance_creation_timestamp: 1_600_000_000, instance_id: "152986662232938449", instance_name: "cart-1", project_id: "acme-prod", project_number: 739_419_398_126, zone: "us-west1-b" } },
});

const verifier = (settings: object) => {
  const config = attestorOf("oidc", settings);
  const verify = oidcVerifier(config, { ...deps, fetch });
  return async (claims: object, header: object = { typ: "JWT", x5t: "nOo3ZDrODXEK1jKWhXslHR_KXEg" }) => named(config, await verify(await signToken(key, claims as never, header as never)));
};
/** The ID that the one rule gives, if its conditions hold. */
function named({ rules: [rule] }: OidcAttestor, { facts }: Awaited<ReturnType<ReturnType<typeof oidcVerifier>>>): string {
  const holds = rule!.when.every(({ fact, values }) => facts.get(fact)?.some((value) => values.includes(value)) === true);
  return holds ? renderId(parseIdTemplate(rule!.spiffeId.text, "east"), facts).uri : "nobody";
}
const refused = (why: RegExp) => expect.objectContaining({ code: "attestation_refused", message: expect.stringMatching(why) as string }) as Error;

describe("a token of Azure", () => {
  test("in version 1 names its managed identity: its issuer ends with a slash, and its keys are where keysUrl says", async () => {
    expect(await verifier({ ...azure1, keysUrl: azure1Keys })(azure1Claims())).toBe("spiffe://east/azure/8f2d40a8-7f8e-4a31-9c0b-5d9b1cf0a9f1");
    expect(asked).toEqual([azure1Keys]);
  });

  test("in version 1 without keysUrl is told to need one, since its document leads to another host", async () => {
    asked.length = 0;
    await expect(verifier(azure1)(azure1Claims())).rejects.toMatchObject({ code: "attestor_unavailable", message: expect.stringMatching(/keys at another place than its own; if that is right, set keysUrl/) as string });
    // One slash, not two.
    expect(asked).toEqual([`https://sts.windows.net/${tenant}/.well-known/openid-configuration`]);
  });

  test("in version 2 names it by the keys that its tenant's document names", async () => {
    asked.length = 0;
    expect(await verifier(azure2)(azure2Claims())).toBe("spiffe://east/azure/8f2d40a8-7f8e-4a31-9c0b-5d9b1cf0a9f1");
    expect(asked).toEqual([`https://login.microsoftonline.com/${tenant}/v2.0/.well-known/openid-configuration`, `https://login.microsoftonline.com/${tenant}/discovery/v2.0/keys`]);
  });

  test.each<[string, object, object, RegExp]>([
    ["of version 1 where version 2 is set", azure2, { ...azure2Claims(), iss: azure1.issuer, ver: "1.0" }, /is not by https:\/\/login\.microsoftonline/],
    ["without the slash", { ...azure1, keysUrl: azure1Keys }, { ...azure1Claims(), iss: azure1.issuer.slice(0, -1) }, /is not by/],
    ["of another tenant", { ...azure1, keysUrl: azure1Keys }, { ...azure1Claims(), iss: "https://sts.windows.net/00000000-0000-0000-0000-000000000000/" }, /is not by/],
    ["for Azure's own API", { ...azure1, keysUrl: azure1Keys }, { ...azure1Claims(), aud: "https://management.azure.com/" }, /not for the audience api:\/\/countersign/],
    ["of a day, where each is good once", { ...azure1, keysUrl: azure1Keys, once: true }, azure1Claims(), /more than a day.*once/],
  ])("%s is refused", async (_claim, settings, claims, why) => {
    await expect(verifier(settings)(claims)).rejects.toThrow(refused(why));
  });

  test("of another identity of the tenant is nobody's", async () => {
    expect(await verifier(azure2)({ ...azure2Claims(), oid: "00000000-0000-0000-0000-000000000000" })).toBe("nobody");
  });
});

describe("a token of Google", () => {
  const full = { ...google, keysUrl: googleKeys };

  test("names its instance by the claims within claims, by the keys where keysUrl says", async () => {
    asked.length = 0;
    expect(await verifier(full)(googleClaims(), { typ: "JWT" })).toBe("spiffe://east/gcp/acme-prod/cart-1");
    expect(asked).toEqual([googleKeys]);
  });

  test("without keysUrl is told to need one", async () => {
    await expect(verifier(google)(googleClaims())).rejects.toMatchObject({ code: "attestor_unavailable", message: expect.stringContaining("set keysUrl") as string });
  });

  test.each<[string, object]>([
    ["of another project", { google: { compute_engine: { project_id: "evil", instance_name: "cart-1" } } }], ["of another service account", { email: "till@acme-prod.iam.gserviceaccount.com" }],
    ["of no instance, that says so in a claim of its own", { google: undefined, google_compute_engine: { project_id: "acme-prod", instance_name: "cart-1" } }],
  ])("%s is nobody's", async (_claim, change) => {
    expect(await verifier(full)({ ...googleClaims(), ...change })).toBe("nobody");
  });

  test.each<[string, object, RegExp]>([["for another audience", { aud: "https://west" }, /audience/], ["by somebody else", { iss: "https://accounts.google.com.evil.example" }, /is not by/]])("%s is refused", async (_claim, change, why) => {
    await expect(verifier(full)({ ...googleClaims(), ...change })).rejects.toThrow(refused(why));
  });

  test("by a key of somebody's, under the ID of Google's, is refused", async () => {
    const other = await startPlatform();
    const mine = other.addKey(key.keyId, "RS256");
    await other.close();
    const verify = oidcVerifier(attestorOf("oidc", full), { ...deps, fetch });
    await expect(verify(await signToken(mine, googleClaims() as never))).rejects.toThrow(refused(/signature/));
    await expect(verify(forgeToken({ alg: "none", kid: key.keyId }, googleClaims(), () => new Uint8Array()))).rejects.toThrow(refused(/algorithm/));
  });
});

test("the metadata services give the same token again for a while, which is taken again where once is false", async () => {
  const verify = oidcVerifier(attestorOf("oidc", { ...google, keysUrl: googleKeys }), { ...deps, fetch });
  expect((await verify(await signToken(key, googleClaims() as never))).once).toBeUndefined();
});
