import type { KeyObject } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeRequestAuthorization, parseRequestAuthorization, type SignedRequest } from "../../../ca/pki/request-authorization.ts";
import { startTestCa, type TestCa } from "../../support/running-ca.ts";
import { testAuthority } from "../../support/test-ca.ts";

const west = testAuthority({ trustDomain: "west" });
const endpointId = "spiffe://west/countersign/ca";
const own = west.leaf({ spiffeId: endpointId });
const request: SignedRequest = { method: "GET", target: "/v1/watch?events=bundle", body: "" };
let east: TestCa;
beforeAll(async () => {
  east = await startTestCa({ deps: { onDemand: true } });
  await east.ca.federation.add({ trustDomain: "west", profile: "https_spiffe", endpointUrl: "https://127.0.0.1:1/v1/bundle", endpointSpiffeId: endpointId, bundle: west.pem }, east.admin);
});
afterAll(() => east.close());

interface Signing {
  readonly chain?: readonly Uint8Array[];
  readonly privateKey?: KeyObject;
  readonly signed?: Partial<SignedRequest>;
  readonly audience?: string;
  readonly ageMs?: number;
}
function authorized({ chain = own.chain, privateKey = own.privateKey, signed, audience = "east", ageMs = 0 }: Signing = {}): Promise<string> {
  const header = encodeRequestAuthorization({ ...request, ...signed, chain, privateKey, audience, nowMs: east.clock.nowMs - ageMs, nonce: "n".repeat(24) });
  return east.ca.authenticatePeer(parseRequestAuthorization(header)!, request);
}
const by = (leaf: { readonly chain: readonly Uint8Array[]; readonly privateKey: KeyObject }): Signing => ({ chain: leaf.chain, privateKey: leaf.privateKey });

describe("a request to follow the feed", () => {
  test("that a federated CA signed is by that CA", async () => {
    expect(await authorized()).toBe(endpointId);
  });

  test.each<[string, () => Signing, RegExp]>([
    ["that another workload of it signed", () => by(west.leaf({ spiffeId: "spiffe://west/web" })), /endpoint of no trust domain/],
    ["of a trust domain that is not federated with", () => by(testAuthority({ trustDomain: "north" }).leaf({ spiffeId: "spiffe://north/countersign/ca" })), /endpoint of no trust domain/],
    ["below another root of that name", () => by(testAuthority({ trustDomain: "west" }).leaf({ spiffeId: endpointId })), /does not hold/],
    ["that another key signed", () => ({ privateKey: west.leaf({ spiffeId: endpointId }).privateKey }), /does not hold/],
    ["for another CA", () => ({ audience: "north" }), /does not hold/],
    ["for another path", () => ({ signed: { target: "/v1/watch" } }), /does not hold/],
    ["of two minutes ago", () => ({ ageMs: 120_000 }), /a minute from this CA's clock/],
  ])("%s is a stranger's", async (_claim, signing, why) => {
    await expect((async () => authorized(signing()))()).rejects.toMatchObject({ code: "proof_refused", message: expect.stringMatching(why) as string });
  });
});
