import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { UpstreamInvitation } from "../../../ca/config/upstream.ts";
import { createSealing } from "../../../ca/signer/sealing.ts";
import { membershipKeeper, resealMembership } from "../../../ca/upstream/membership.ts";
import { startTestCa, type TestCa } from "../../support/running-ca.ts";

let host: TestCa;
beforeAll(async () => {
  host = await startTestCa();
});
afterAll(() => host.close());

const now = () => new Date(host.clock.nowMs);
const sealing = createSealing(randomBytes(32));
const invitation: UpstreamInvitation = { url: "https://root.example", parentTrustDomain: "root.example", rootFingerprint: "00".repeat(32), token: "a-secret-token", trustDomain: "west.example", tls: "spiffe" };
const logged: string[] = [];
const log = { info: () => undefined, warn: () => undefined, error: (_: object, message: string) => void logged.push(message) };
const keeper = (more: Partial<Parameters<typeof membershipKeeper>[0]> = {}) => membershipKeeper({ store: host.store, sealing, invitation, log, now, ...more });

test("what is kept is sealed, survives a new key of the seal, and is read by every replica", async () => {
  const [one, other] = [keeper(), keeper()];
  const opened = await one.open();
  expect(opened.membership).toMatchObject({ token: "a-secret-token" });
  expect(opened.body).not.toContain("a-secret-token");
  await one.swap({ ...opened.membership, identity: { chain: "chain", key: "key" } }, opened);
  expect((await other.open()).membership.identity).toEqual({ chain: "chain", key: "key" });
  const next = createSealing(randomBytes(32));
  expect(await resealMembership(host.store, sealing, next, host.clock.nowMs)).toBe(true);
  expect((await keeper({ sealing: next }).open()).membership.identity).toEqual({ chain: "chain", key: "key" });
  expect(await resealMembership(host.store, next, sealing, host.clock.nowMs)).toBe(true);
});

test("of two replicas that change it at once one does, and both go on with that", async () => {
  const [one, other] = [keeper(), keeper()];
  const [held, seen] = [await one.open(), await other.open()];
  const request = (csr: string) => ({ key: "", csr, idempotencyKey: "" });
  const after = await Promise.all([one.swap({ ...held.membership, request: request("one") }, held), other.swap({ ...seen.membership, request: request("other") }, seen)]);
  expect(after[0].membership.request).toEqual(after[1].membership.request);
});

test("a new string of the same CA takes the old one's place, identity and all; another CA's is refused", async () => {
  const renewed = await keeper({ invitation: { ...invitation, token: "another", url: "https://moved.example" } }).open();
  expect(renewed.membership).toMatchObject({ token: "another", url: "https://moved.example" });
  expect(renewed.membership.identity).toBeUndefined();
  await expect(keeper({ invitation: { ...invitation, parentTrustDomain: "other.example", token: "third" } }).open()).rejects.toMatchObject({ code: "upstream_changed" });
});

test("what cannot be unsealed is said so, and begun anew", async () => {
  const lost = await keeper({ sealing: createSealing(randomBytes(32)) }).open();
  expect([lost.membership.identity, logged.join()]).toEqual([undefined, expect.stringContaining("cannot be unsealed")]);
});
