import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ReplicaVitals } from "../../ca/contract/vitals.ts";
import { createDatabase } from "../support/postgres.ts";
import { auditEvents, chainOf, hourMs, newCsr, startTestCa, type TestCa } from "../support/running-ca.ts";

let replicas: readonly TestCa[];
let databaseUrl: string;
const env = { COUNTERSIGN_SEALING_KEY: randomBytes(32).toString("base64") };

beforeAll(async () => {
  databaseUrl = await createDatabase();
  const nowMs = Date.now();
  // All at once, on an empty database.
  replicas = await Promise.all(Array.from({ length: 3 }, () => startTestCa({ settings: { store: databaseUrl }, env, nowMs })));
});
afterAll(() => Promise.all(replicas.map((replica) => replica.close())));

const cart = { type: "operator", spiffeId: "spiffe://east/ns/shop/sa/cart" } as const;
const at = (index: number): TestCa => replicas[index % replicas.length]!;

describe("replicas on one Postgres", () => {
  test("started at once on an empty database are one CA: one root, one log, one admin token", async () => {
    expect(replicas.filter(({ ca }) => ca.firstStart !== undefined)).toHaveLength(1);
    expect(new Set(replicas.map(({ ca }) => ca.bundle().jwks)).size).toBe(1);
    expect(new Set(replicas.map(({ ca }) => ca.verifierKey)).size).toBe(1);
    const { adminToken } = replicas.find(({ ca }) => ca.firstStart !== undefined)!.ca.firstStart!;
    for (const { ca } of replicas) expect(await ca.authenticate(adminToken)).toMatchObject({ role: "admin" });
  });

  test("with another sealing key cannot join", async () => {
    const other = { COUNTERSIGN_SEALING_KEY: randomBytes(32).toString("base64") };
    await expect(startTestCa({ settings: { store: databaseUrl }, env: other })).rejects.toMatchObject({ code: "sealing_key_wrong" });
  });

  test("honour a join token once, redeemed by 50 at once on all of them", async () => {
    const { token } = await at(0).ca.createToken({ type: "join", spiffeId: cart.spiffeId }, at(0).admin);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, (_, index) => at(index).ca.issue({ csr: newCsr().csr, attestation: { type: "join-token", token } }, {})),
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  test("give one certificate to a request that is retried on all of them at once", async () => {
    const request = { csr: newCsr().csr, attestation: cart };
    const answers = await Promise.all(Array.from({ length: 12 }, (_, index) => at(index).ca.issue(request, { caller: at(index).admin, idempotencyKey: "k" })));
    expect(new Set(answers.map(({ serialNumber }) => serialNumber)).size).toBe(1);
  });

  test("make the keys of JWT-SVIDs once when the first are asked of all of them at once, and publish the same", async () => {
    const issued = await Promise.all(Array.from({ length: 12 }, (_, index) => at(index).ca.issueJwtSvid({ audience: ["db"], spiffeId: cart.spiffeId }, at(index).admin)));
    expect(new Set(issued.map(({ keyId }) => keyId)).size).toBe(1);
    await Promise.all(replicas.map(({ ca }) => ca.tick()));
    expect((await at(0).store.authorities()).filter(({ type }) => type === "jwt").map(({ state }) => state).sort()).toEqual(["active", "prepared"]);
    expect(new Set(replicas.map(({ ca }) => ca.bundle().jwks)).size).toBe(1);
    expect(at(0).ca.bundle().jwks).toContain(issued[0]!.keyId);
  });

  test("know of each other, of whose version each is, and who rotates", async () => {
    const known = async (): Promise<readonly ReplicaVitals[]> => (await at(0).ca.vitals()).replicas ?? [];
    await expect.poll(async () => (await known()).length, { timeout: 30_000 }).toBe(3);
    await Promise.all(replicas.map(({ ca }) => ca.tick()));
    expect((await known()).filter(({ answers }) => answers)).toHaveLength(1);
    expect((await known()).filter(({ leases }) => leases.includes("authority"))).toHaveLength(1);
    const nowMs = at(0).clock.nowMs;
    const say = (name: string, reportedAtMs: number): Promise<void> => at(1).store.report({
      kind: "replica", name, part: "other", reportedAtMs, expiresAtMs: nowMs + 60_000, body: JSON.stringify({ id: "other", version: "0.0.1", startedAtMs: nowMs - 90_000, holders: [] }),
    });
    await say("older:8443", nowMs);
    await say("killed:8443", nowMs - 61_000);
    // Killed, and started again where it was.
    await say("127.0.0.1:8443", nowMs - 61_000);
    const others = (await known()).filter(({ version }) => version === "0.0.1");
    expect(others.map(({ address, silent }) => [address, silent])).toEqual([["killed:8443", true], ["older:8443", false]]);
  });

  test("are not waited for once they have ended", async () => {
    const another = await startTestCa({ settings: { store: databaseUrl, listen: "127.0.0.1:9999" }, env, nowMs: at(0).clock.nowMs });
    const addresses = async (): Promise<readonly string[]> => ((await at(0).ca.vitals()).replicas ?? []).map(({ address }) => address);
    await expect.poll(addresses, { timeout: 30_000 }).toContain("127.0.0.1:9999");
    await another.close();
    expect(await addresses()).not.toContain("127.0.0.1:9999");
  });

  test("replace the issuer once when all of them find it due, and all sign with the new one", async () => {
    for (const { clock } of replicas) clock.nowMs += 24 * hourMs;
    await Promise.all(replicas.map(({ ca }) => ca.tick()));
    // One holds the lease; the others see at their next look what it did.
    await Promise.all(replicas.map(({ ca }) => ca.tick()));
    const created = (await auditEvents(at(0).store)).filter(({ authorityType }) => authorityType === "issuer");
    expect(created).toHaveLength(2);
    const issuers = await Promise.all(replicas.map(async ({ ca, admin }) => {
      const issued = await ca.issue({ csr: newCsr().csr, attestation: cart }, { caller: admin });
      return Buffer.from(chainOf(issued)[1]!).toString("hex");
    }));
    expect(new Set(issuers).size).toBe(1);
  });
});
