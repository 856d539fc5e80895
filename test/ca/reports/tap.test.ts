import type { KeyObject } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { IssuedCertificate } from "../../../ca/contract/certificates.ts";
import type { Report } from "../../../ca/contract/reports.ts";
import type { TapEvent, TapRecord } from "../../../ca/contract/taps.ts";
import { encodeRenewalProof } from "../../../ca/pki/renewal-proof.ts";
import { noticeOf } from "../../../ca/reports/tap-row.ts";
import { auditEvents, callerWith, chainOf, newCsr, newKey, startTestCa, type TestCa } from "../../support/running-ca.ts";

const [hello, world] = ["spiffe://east/hello", "spiffe://east/world"];
interface Holder { readonly issued: IssuedCertificate; readonly key: KeyObject }
let host: TestCa;
let holder: Holder;
beforeAll(async () => {
  host = await startTestCa();
  holder = await enrol(world);
});
afterAll(() => host.close());

async function enrol(spiffeId: string): Promise<Holder> {
  const key = newKey();
  return { issued: await host.ca.issue({ csr: newCsr(key).csr, attestation: { type: "operator", spiffeId } }, { caller: host.admin }), key };
}

const record = (path: string, more: Partial<TapRecord> = {}): TapRecord => ({
  startedAt: "2026-11-21T05:00:00.000Z", direction: "inbound", clientId: hello, serverId: world, tls: true, protocol: "http", method: "GET", path, status: 200, latencyMs: 1.5, whole: true, ...more,
});

function bring(tap: string, records: readonly TapRecord[], { by = holder, leftOut = 0 }: { readonly by?: Holder; readonly leftOut?: number } = {}) {
  const report: Report = { type: "tap", reportedAt: new Date(host.clock.nowMs).toISOString(), tap, records, leftOut };
  const text = JSON.stringify(report);
  const proof = encodeRenewalProof({ chain: chainOf(by.issued), privateKey: by.key, csr: Buffer.from(text), audience: "east", nowMs: host.clock.nowMs, purpose: "report" });
  return host.ca.report({ report: text, proof }, report);
}

async function open(more: { readonly limit?: number; readonly seconds?: number } = {}, caller = host.admin) {
  const reader = (await host.ca.tap({ workload: world, method: "GET", ...more }, caller)).getReader();
  const next = async (): Promise<TapEvent | undefined> => (await reader.read()).value;
  const first = await next();
  if (first?.event !== "tap") throw new Error("it does not begin with its name");
  return { tap: first.data.tap, next, leave: () => reader.cancel() };
}

describe("a tap", () => {
  test("is in the audit log when it opens, and names the workload to itself alone", async () => {
    const { tap, leave } = await open();
    const [event] = (await auditEvents(host.store)).filter(({ type }) => type === "tap.started");
    expect(event).toMatchObject({ actor: host.admin.actor, tap, workload: world, method: "GET", seconds: 60, limit: 1000 });
    const [row] = await host.store.reports({ kind: "tap", nowMs: host.clock.nowMs, limit: 9 });
    expect(noticeOf(row!)).toEqual({ tap, target: expect.stringMatching(/^[0-9a-f]{64}$/) as string, seconds: 60, limit: 1000, method: "GET" });
    expect(JSON.stringify(noticeOf(row!))).not.toContain("world");
    expect(await host.store.feedPosition()).toMatchObject({ tapSequence: row!.reportedAtMs });
    await leave();
  });

  test("shows what the workload's proxy brings, in its order, up to its limit, and is over then for the proxy too", async () => {
    const { tap, next } = await open({ limit: 3 });
    await bring(tap, [record("/1")]);
    expect(await next()).toEqual({ event: "records", data: { records: [record("/1")], leftOut: 0 } });
    host.clock.nowMs += 10;
    await bring(tap, [record("/2"), record("/3"), record("/4")], { leftOut: 5 });
    expect(await next()).toEqual({ event: "records", data: { records: [record("/2"), record("/3")], leftOut: 5 } });
    expect(await next()).toEqual({ event: "end", data: { reason: "limit" } });
    expect(await next()).toBeUndefined();
    // It is taken out of the store once its reader has been told.
    await vi.waitFor(() => expect(bring(tap, [record("/5")])).rejects.toMatchObject({ code: "not_found" }), { timeout: 30_000 });
  });

  test("takes nothing from another workload, nothing about others, and nothing under a name it does not have", async () => {
    const { tap, leave } = await open();
    await expect(bring(tap, [record("/", { serverId: hello, clientId: world })], { by: await enrol(hello) })).rejects.toMatchObject({ code: "not_found" });
    await expect(bring(tap, [record("/", { serverId: hello })])).rejects.toMatchObject({ code: "forbidden" });
    await expect(bring("0".repeat(32), [record("/")])).rejects.toMatchObject({ code: "not_found" });
    await leave();
  });

  test("whose reader has left is over at once", async () => {
    const { tap, leave } = await open();
    await leave();
    await expect(bring(tap, [record("/")])).rejects.toMatchObject({ code: "not_found" });
  });

  test("ends with its time", async () => {
    const { next } = await open({ seconds: 1 });
    expect(await next()).toEqual({ event: "end", data: { reason: "time" } });
  });

  test("of another trust domain is refused, and so is one too many, of one caller or of all", async () => {
    await expect(host.ca.tap({ workload: "spiffe://west/world" }, host.admin)).rejects.toMatchObject({ code: "spiffe_id_refused" });
    const [auditor, other] = [callerWith({ role: "auditor" }), callerWith({ actor: "token:2222222222222222", role: "auditor" })];
    const taps: Awaited<ReturnType<typeof open>>[] = [];
    for (let count = 0; count < 8; count++) taps.push(await open({}, auditor));
    await expect(open({}, auditor)).rejects.toMatchObject({ code: "rate_limited", message: expect.stringContaining(auditor.actor) as string });
    for (let count = 0; count < 8; count++) taps.push(await open());
    await expect(open({}, other)).rejects.toMatchObject({ code: "rate_limited", message: expect.stringContaining("16 taps") as string });
    await taps[0]!.leave();
    taps[0] = await open({}, other);
    await Promise.all(taps.map(({ leave }) => leave()));
  });

  test("nobody reads is bounded: its proxy is told to wait", async () => {
    const [row] = [{ kind: "tap", name: "f".repeat(32), part: "", body: JSON.stringify({ workload: world, filter: {}, limit: 9 }), reportedAtMs: host.clock.nowMs, expiresAtMs: host.clock.nowMs + 9000 }] as const;
    await host.store.report(row);
    for (let batch = 0; batch < 32; batch++) await bring(row.name, [record("/")]);
    await expect(bring(row.name, [record("/")])).rejects.toMatchObject({ code: "rate_limited" });
    await host.store.dropReports([row]);
  });
});
