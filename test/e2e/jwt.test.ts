import { join } from "node:path";
import { Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from "jose";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Caller } from "../../ca/http/services.ts";
import { countersign } from "../support/command-line.ts";
import { startMesh, type Mesh, type MeshProxy } from "../support/mesh.ts";
import { workloadClient } from "../support/workload-client.ts";

const admin: Caller = { actor: "token:test", name: "test", role: "admin", scope: ["spiffe://east/*"] };
let mesh: Mesh;
let web: MeshProxy;
let db: MeshProxy;
beforeAll(async () => {
  mesh = await startMesh();
  [web, db] = await Promise.all(["web", "db"].map((name) => mesh.proxy(name, "--workload-socket", join(mesh.folder, `${name}.sock`))) as [Promise<MeshProxy>, Promise<MeshProxy>]);
}, 60_000);
afterAll(() => mesh?.close());

interface Answered { readonly error: ServiceError | null; readonly value: Record<string, unknown> }
function call(at: string, method: string, request: object): Promise<Answered> {
  const client = workloadClient(join(mesh.folder, `${at}.sock`));
  const metadata = new Metadata();
  metadata.set("workload.spiffe.io", "true");
  return new Promise((resolve) => void client[method]!(request, metadata, (error: ServiceError | null, value: Record<string, unknown>) => {
    client.close();
    resolve({ error, value });
  }));
}
const fetchAtWeb = async () => {
  const { error, value } = await call("web", "FetchJWTSVID", { audience: ["spiffe://east/db"] });
  if (error !== null) throw error;
  return (value["svids"] as { svid: string }[])[0]!.svid;
};
const validateAtDb = (svid: string) => call("db", "ValidateJWTSVID", { audience: "spiffe://east/db", svid });
/** The other proxy hears of the keys by its stream. */
const eventually = (svid: string, holds: (answer: Answered) => boolean) => vi.waitUntil(async () => holds(await validateAtDb(svid)), { timeout: 20_000, interval: 50 });

test("a token that one proxy's app fetched is validated by another's, and by jose from the CA's bundle", async () => {
  const svid = await fetchAtWeb();
  await eventually(svid, ({ error }) => error === null);
  expect((await validateAtDb(svid)).value["spiffe_id"]).toBe("spiffe://east/web");
  const { keys } = JSON.parse(mesh.served.ca.bundle().jwks) as JSONWebKeySet;
  const { payload } = await jwtVerify(svid, createLocalJWKSet({ keys: keys.filter(({ use }) => use === "jwt-svid").map(({ use: _, ...jwk }) => jwk) }), { audience: "spiffe://east/db" });
  expect(payload.sub).toBe("spiffe://east/web");
  expect(await fetchAtWeb()).toBe(svid);
  const told = web.log.text() + db.log.text() + await web.metrics() + await db.metrics();
  expect(told).not.toContain(svid.split(".")[2]);
});

test("what an operator's command prints is validated, and as JSON has all that was issued", async () => {
  const env = { COUNTERSIGN_URL: mesh.served.url, COUNTERSIGN_DATA_DIR: join(mesh.folder, "ca") };
  const args = ["jwt", "issue", "--audience", "spiffe://east/db", "--id", "spiffe://east/batch", "--ttl", "2m"];
  const { exitCode, stdout, stderr } = await countersign(args, env);
  expect([exitCode, stderr]).toEqual([0, expect.stringContaining("spiffe://east/batch")]);
  expect(stderr).not.toContain(stdout.trim());
  await eventually(stdout.trim(), ({ error, value }) => error === null && value["spiffe_id"] === "spiffe://east/batch");
  expect(JSON.parse((await countersign([...args, "-o", "json"], env)).stdout)).toMatchObject({ spiffeId: "spiffe://east/batch", audience: ["spiffe://east/db"], keyId: expect.any(String) });
  expect(await countersign(["jwt", "issue"], env)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("--audience") });
  expect((await countersign(["authority", "list"], env)).stdout).toMatch(/jwt +active[^]*jwt +prepared|jwt +prepared[^]*jwt +active/);
});

test("once the key is tainted its tokens are refused everywhere, and apps get others", async () => {
  const before = await fetchAtWeb();
  await eventually(before, ({ error }) => error === null);
  const { id } = (await mesh.served.ca.authorities()).find(({ type, state }) => type === "jwt" && state === "active")!;
  await mesh.served.ca.operateAuthority({ action: "taint", id }, admin);
  await eventually(before, ({ error }) => error?.code === status.INVALID_ARGUMENT);
  await vi.waitUntil(async () => await fetchAtWeb() !== before, { timeout: 20_000, interval: 50 });
  const after = await fetchAtWeb();
  // The next key was in the bundle before.
  expect((await validateAtDb(after)).value["spiffe_id"]).toBe("spiffe://east/web");
});
