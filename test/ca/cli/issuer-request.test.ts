import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { ApiError, type Api } from "../../../ca/cli/api.ts";
import { issuerRequests } from "../../../ca/cli/issuer-request.ts";
import type { IssueIssuerRequest } from "../../../ca/contract/issuers.ts";
import { startTestCa, type TestCa } from "../../support/running-ca.ts";

let host: TestCa;
/** What becomes of the answers to come; none of it: they arrive. */
let fates: (ApiError | undefined)[];
beforeAll(async () => {
  host = await startTestCa();
});
afterAll(() => host.close());
beforeEach(() => (fates = []));

/** To the real CA, with a wire that loses answers. */
const client: Pick<Api, "call"> = {
  async call<T>(_method: string, _path: string, body?: unknown, idempotencyKey?: string) {
    const answer = await host.ca.issueIssuer(body as IssueIssuerRequest, host.admin, idempotencyKey);
    const fate = fates.shift();
    if (fate !== undefined) throw fate;
    return answer as T;
  },
};
const wanted = { profile: "linkerd", trustDomain: "cluster.local" } as const;
const signed = async () => (await host.store.certificates({ limit: 100, issuersOnly: true, nowMs: host.clock.nowMs })).length;

test.each([
  ["there was none", new ApiError("no answer within 15 s")], ["something in between failed", new ApiError("bad gateway", { status: 502 })],
] as const)("an answer that was lost because %s is asked for again, and no second issuer is signed", async (_claim, loss) => {
  const before = await signed();
  const obtain = issuerRequests(client, wanted);
  fates = [loss, loss];
  await expect(obtain()).rejects.toBe(loss);
  await expect(obtain()).rejects.toBe(loss);
  const { chain, key } = await obtain();
  expect(createPublicKey(createPrivateKey(key)).equals(new X509Certificate(chain).publicKey)).toBe(true);
  expect(await signed()).toBe(before + 1);
});

test("what was answered, or refused, is not asked for again: the next issuer has another key", async () => {
  const obtain = issuerRequests(client, wanted);
  const first = await obtain();
  const second = await obtain();
  expect(second.key).not.toBe(first.key);
  fates = [new ApiError("revoked meanwhile", { status: 409 })];
  await expect(obtain()).rejects.toMatchObject({ status: 409 });
  const { serialNumber, key } = await obtain();
  expect([first.serialNumber, second.serialNumber]).not.toContain(serialNumber);
  expect(key).not.toBe(second.key);
});
