import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { readConfig } from "../../../ca/config/config.ts";
import { parseCertificate } from "../../../ca/pki/certificate.ts";
import { decodePem } from "../../../ca/pki/pem.ts";
import type { Caller } from "../../../ca/http/services.ts";
import { serveCa, type ServedCa } from "../../../ca/runtime/node.ts";

const folder = mkdtempSync(join(tmpdir(), "countersign-followed-"));
const admin: Caller = { actor: "token:test", name: "test", role: "admin", scope: [] };
const waiting = { timeout: 30_000, interval: 50 };
let east: ServedCa;
let west: ServedCa;
let stranger: IncomingMessage;

/** Nobody is asked again within the hour: what is known sooner was told. */
const serve = (trustDomain: string, more: object = {}): Promise<ServedCa> => serveCa(
  readConfig({ file: { trustDomain, dataDir: join(folder, trustDomain), listen: "127.0.0.1:0", bundleRefreshHint: "1h", ...more } }), pino({ level: "silent" }),
);
beforeAll(async () => {
  // One place for strangers, which is taken.
  [east, west] = await Promise.all([serve("east"), serve("west", { maxWatchers: 4 })]);
  const asked = get(`${west.url}/v1/watch`, { rejectUnauthorized: false, agent: false });
  [stranger] = await once(asked, "response") as [IncomingMessage];
  stranger.on("error", () => undefined).resume();
});
afterAll(async () => {
  stranger.destroy();
  for (const served of [east, west]) await served.stop();
  rmSync(folder, { recursive: true });
});

const metric = async ({ ca }: ServedCa, name: string): Promise<string | undefined> => (await ca.metrics.registry.metrics()).split("\n").find((line) => line.startsWith(name));

test("what a federated CA changes of its keys is known at once by its stream, in a place that no stranger can take", async () => {
  const { invitation } = await west.ca.federation.invite({}, admin);
  await east.ca.federation.accept(invitation, admin);
  await vi.waitFor(async () => expect(await metric(east, "countersign_federation_streams ")).toBe("countersign_federation_streams 1"), waiting);
  const before = (await east.ca.federation.get("west")).bundle!;
  await west.ca.operateAuthority({ action: "prepare" }, admin);
  await vi.waitFor(async () => expect((await east.ca.federation.get("west")).bundle?.authorities.length).toBe(before.authorities.length + 1), waiting);
  expect((await east.ca.federation.get("west")).refresh).toMatchObject({ failures: 0 });
}, 90_000);

test("a root that is tainted and revoked over there, which nobody planned, is believed no more as soon as its CA has said so", async () => {
  const roots = async (): Promise<readonly string[]> => (await east.ca.federation.get("west")).bundle!.authorities.map(({ fingerprint }) => fingerprint);
  const stolen = (await west.ca.authorities()).find(({ type, state }) => type === "root" && state === "active")!;
  const fingerprint = parseCertificate(decodePem(stolen.certificate, "CERTIFICATE")[0]!).fingerprint;
  expect(await roots()).toContain(fingerprint);
  await west.ca.operateAuthority({ action: "taint", id: stolen.id, force: true }, admin);
  await west.ca.operateAuthority({ action: "revoke", id: stolen.id, force: true }, admin);
  await vi.waitFor(async () => expect(await roots()).not.toContain(fingerprint), waiting);
  expect((await roots()).length).toBeGreaterThan(0);
  expect((await east.ca.federation.get("west")).refresh).toMatchObject({ failures: 0 });
}, 90_000);

test("who removes it ends the stream", async () => {
  await east.ca.federation.remove("west", admin);
  await vi.waitFor(async () => expect(await metric(east, "countersign_federation_streams ")).toBe("countersign_federation_streams 0"), waiting);
  await vi.waitFor(async () => expect(await metric(west, "countersign_watchers ")).toBe("countersign_watchers 1"), waiting);
}, 90_000);
