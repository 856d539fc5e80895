import { afterEach, beforeEach, expect, test } from "vitest";
import { chainOf, hourMs, newCsr, startTestCa, type TestCa } from "../../support/running-ca.ts";
import { startObjectServer, type ObjectServer } from "../../support/object-server.ts";

let server: ObjectServer;
let running: TestCa;
let issuerId: string;
let rootId: string;
beforeEach(async () => {
  const startedAtMs = Date.now();
  server = await startObjectServer({ now: () => running?.clock.nowMs ?? startedAtMs });
  running = await startTestCa({ settings: { publish: "s3://docs/east", publishEndpoint: server.endpoint, crlShards: "2" }, env: server.env, deps: { onDemand: true } });
  const authorities = await running.ca.authorities();
  issuerId = authorities.find(({ type }) => type === "issuer")!.id;
  rootId = authorities.find(({ type }) => type === "root")!.id;
});
afterEach(async () => {
  await running.close();
  await server.close();
});

const publish = () => running.ca.onDemand.maintain(performance.now() + 10_000);
const names = () => [...server.objects.keys()].map((name) => name.replace("docs/east/", "")).sort();
const body = (name: string) => server.objects.get(`docs/east/${name}`)?.body;

test("the schedule puts bundle, CRLs and certificates of authorities where they are named as in the API", async () => {
  await publish();
  expect(names()).toEqual([
    `authority/${issuerId}.cer`, `authority/${rootId}.cer`, "bundle.json", "bundle.pem", `crl/${issuerId}/2-0.crl`, `crl/${issuerId}/2-1.crl`, `crl/${rootId}/authorities.crl`,
  ].sort());
  const { jwks, pem } = running.ca.bundle();
  expect([body("bundle.json")?.toString(), body("bundle.pem")?.toString()]).toEqual([jwks, pem]);
  expect(body(`crl/${issuerId}/2-0.crl`)).toEqual(Buffer.from((await running.ca.crl(issuerId, "2-0.crl"))!.der));
  expect(server.objects.get("docs/east/bundle.json")).toMatchObject({ type: "application/json", cacheControl: "max-age=60" });
  expect(server.objects.get(`docs/east/crl/${issuerId}/2-1.crl`)).toMatchObject({ type: "application/pkix-crl" });
});

test("a revoked certificate is on the published CRL after the next look, and what did not change is put again once an hour", async () => {
  await publish();
  const issued = await running.ca.issue({ csr: newCsr().csr, attestation: { type: "operator", spiffeId: "spiffe://east/web" } }, { caller: running.admin });
  expect(chainOf(issued)).toHaveLength(2);
  await running.ca.revoke(issued.serialNumber, "keyCompromise", running.admin);
  server.objects.clear();
  running.clock.nowMs += 2_000;
  await publish();
  const [list, ...others] = names();
  expect([list?.startsWith(`crl/${issuerId}/2-`), others]).toEqual([true, []]);
  expect(body(list!)?.includes(Buffer.from(issued.serialNumber, "hex"))).toBe(true);
  running.clock.nowMs += hourMs;
  await publish();
  expect(names()).toHaveLength(7);
});

test("a bucket that refuses fails the schedule's invocation, with all else done and put, and the next one puts the rest", async () => {
  server.answerNext = (_, response) => void response.writeHead(403).end("<Error><Code>AccessDenied</Code></Error>");
  await expect(publish()).rejects.toMatchObject({ code: "bucket_refused" });
  expect(names()).toHaveLength(6);
  await publish();
  expect(names()).toHaveLength(7);
});

test("a request does what is due and publishes nothing: it does not wait for a bucket", async () => {
  await running.ca.onDemand.attend();
  await running.ca.onDemand.settle();
  expect(names()).toEqual([]);
});

test("a place that is none keeps the CA from starting, by its setting's name", async () => {
  await expect(startTestCa({ settings: { publish: "s3://Not A Bucket" } })).rejects.toThrow(/publish is refused: .* names no bucket/);
});
