import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { verifyLog } from "../../ca/audit/verify.ts";
import type { IssuedCertificate } from "../../ca/contract/certificates.ts";
import { openStore } from "../../ca/store/open.ts";
import { parseBootstrap } from "../../ca/pki/bootstrap.ts";
import { functionPackage } from "../../infra/bundle.ts";
import { trainFunction } from "../../infra/train-function.ts";
import { startKmsServer, type KmsServer } from "../support/kms-server.ts";
import { frontEnds, type EventRequest } from "../support/lambda-events.ts";
import { lambdaRuntime, type LambdaRuntime } from "../support/lambda-runtime.ts";
import { createDatabase } from "../support/postgres.ts";
import { chainOf, newCsr, proofFor } from "../support/running-ca.ts";

const web = "spiffe://east/ns/shop/sa/web";
const node24 = process.env["COUNTERSIGN_TEST_NODE24"];
if (node24 === undefined) console.warn("Tests of the function on Node.js 24 are skipped: COUNTERSIGN_TEST_NODE24 names none (npm install --prefix FOLDER node@24).");

for (const { name, node, managed } of [
  { name: "as its own runtime, on our Node.js", node: process.execPath, managed: false },
  { name: "in AWS's runtime, on Node.js 24", node: node24, managed: true },
]) describe.skipIf(node === undefined)(`the function ${name}`, () => {
  let folder: string;
  let kms: KmsServer;
  let lambda: LambdaRuntime;
  let store: string;
  let env: Readonly<Record<string, string>>;
  let adminToken: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "countersign-lambda-"));
    await functionPackage(folder);
    kms = await startKmsServer();
    store = await createDatabase();
    env = {
      ...kms.env, COUNTERSIGN_TRUST_DOMAIN: "east", COUNTERSIGN_STORE: store, COUNTERSIGN_PUBLIC_URL: "https://ca.example",
      COUNTERSIGN_SEALING: `kms:${kms.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").keyId}`, COUNTERSIGN_KMS_ENDPOINT: kms.endpoint,
    };
    await trainFunction(folder, { ...env, COUNTERSIGN_STORE: await createDatabase() }, node);
    lambda = lambdaRuntime({ file: join(folder, "lambda.mjs"), env, node, managed });
  });
  afterAll(async () => {
    await lambda.kill();
    await kms.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("a function that was not started for the first time says so to everybody, and gives its admin token to who starts it, once", async () => {
    const refused = await call({ method: "GET", path: "/v1/bundle" });
    expect([refused.status, refused.json["code"]]).toEqual([503, "issuer_unavailable"]);
    expect((await call({ method: "GET", path: "/healthz" })).status).toBe(200);
    const first = (await lambda.invoke({ countersign: "first-start" })) as { readonly adminToken: string; readonly rootFingerprint: string };
    ({ adminToken } = first);
    await expect(lambda.invoke({ countersign: "first-start" })).rejects.toThrow(/was started before/);
    await lambda.kill();
    await expect(lambda.invoke({ countersign: "first-start" })).rejects.toThrow(/was started before/);
    await expect(lambda.invoke({ hello: "world" })).rejects.toThrow(/none of a Function URL/);
    expect(lambda.lines.filter((line) => line.includes("compiles anew")), "what V8 compiled when the package was built is used").toEqual([]);
    const { bootstrap } = await created({ type: "join", spiffeId: web });
    expect(parseBootstrap(bootstrap!)).toMatchObject({ caUrl: "https://ca.example", rootFingerprint: first.rootFingerprint });
  });

  test.each(["kill", "freeze"] as const)("a process that Lambda %ss after each answer issues, renews by proof, revokes and signs the CRL", async (after) => {
    lambda.after.each = after;
    const { token } = await created({ type: "join", spiffeId: web });
    const { csr, privateKey } = newCsr();
    const first = await issued({ csr, attestation: { type: "join-token", token } });
    const next = newCsr();
    const proof = proofFor(first, privateKey, next.der, Date.now());
    const renewed = await issued({ csr: next.csr, attestation: { type: "svid", proof } });
    const revoked = await call({ method: "POST", path: `/v1/certificates/${renewed.serialNumber}/revoke`, headers: asAdmin(), body: '{"reason":"keyCompromise"}' });
    expect(revoked.status).toBe(200);
    const { json: { authorities } } = await call({ method: "GET", path: "/v1/authorities", headers: asAdmin() });
    const issuer = (authorities as { id: string; type: string }[]).find(({ type }) => type === "issuer")!;
    const crl = await call({ method: "GET", path: `/crl/${issuer.id}/full.crl` });
    expect(crl.status).toBe(200);
    expect(crl.body.includes(Buffer.from(renewed.serialNumber, "hex"))).toBe(true);
    expect(chainOf(renewed)).toHaveLength(2);
  });

  describe("a process that Lambda freezes", () => {
    test("keeps no stream: who asks for one is told to poll, and can", async () => {
      const watch = await call({ method: "GET", path: "/v1/watch", headers: { accept: "text/event-stream" } });
      expect([watch.status, watch.json["code"], watch.headers["retry-after"]]).toEqual([503, "watchers_full", "600"]);
      expect(watch.json["detail"]).toContain("GET /v1/revocations");
      const polled = await call({ method: "GET", path: "/v1/revocations", query: "after=0" });
      expect([polled.status, (polled.json["revocations"] as unknown[]).length > 0]).toEqual([200, true]);
    });

    test("is looked after by its schedule, as often as it comes", async () => {
      for (const event of [{ countersign: "maintenance" }, { source: "aws.events", "detail-type": "Scheduled Event" }, { source: "aws.scheduler" }]) {
        expect(await lambda.invoke(event)).toEqual({ pruned: 0 });
      }
    });
  });

  test("what it serves is the same behind each front end", async () => {
    lambda.after.each = "keep";
    const answers = [];
    for (const event of Object.values(frontEnds)) {
      const { statusCode, body } = (await lambda.invoke(event({ method: "GET", path: "/v1/bundle" }))) as RawAnswer;
      answers.push([statusCode, body]);
    }
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(answers[0]![0]).toBe(200);
  });

  test("a certificate that a front end hands on makes nobody anybody", async () => {
    const { csr } = newCsr();
    for (const event of Object.values(frontEnds)) {
      const { statusCode } = (await lambda.invoke(event({
        method: "POST", path: "/v1/certificates", headers: { "content-type": "application/json", "x-forwarded-client-cert": `URI=${web}`, "x-amzn-mtls-clientcert": "x" },
        body: JSON.stringify({ csr, attestation: { type: "operator", spiffeId: web } }),
      }))) as RawAnswer;
      expect(statusCode).toBe(401);
    }
  });

  test("no timer is left between two requests, and nothing of Node.js was loaded for them that they do not need", async () => {
    const watched = lambdaRuntime({ file: join(folder, "lambda.mjs"), env, node, managed, nodeArgs: ["--import", timersLeft] });
    await watched.invoke({ countersign: "maintenance" });
    await watched.invoke(frontEnds["a Function URL"]({ method: "GET", path: "/v1/certificates", headers: asAdmin() }));
    process.kill(watched.pid()!, "SIGUSR2");
    const left = await vi.waitFor(() => {
      const found = watched.lines.find((line) => line.startsWith(prefix));
      if (found === undefined) throw new Error("not yet");
      return JSON.parse(found.slice(prefix.length)) as string[];
    }, { timeout: 20_000 });
    // The bound of a call that was answered: nobody hears of it when it fires.
    expect(left.filter((place) => !place.includes("AbortSignal.timeout"))).toEqual([]);
    // Nor the client behind `fetch` and `Request`. What AWS's runtime loads is its own business.
    if (!managed) expect(watched.lines.find((line) => line.startsWith("modules: "))).toMatch(/NativeModule net"(?!.*undici)/);
    await watched.kill();
  });

  test("when the database breaks every connection while it is frozen, the next request is answered", async () => {
    lambda.after.each = "freeze";
    await call({ method: "GET", path: "/v1/certificates", headers: asAdmin() });
    const { default: pg } = await import("pg");
    const other = new pg.Client({ connectionString: store });
    await other.connect();
    await other.query("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()");
    await other.end();
    const starts = lambda.starts;
    expect((await call({ method: "GET", path: "/v1/certificates", headers: asAdmin() })).status).toBe(200);
    expect(lambda.starts).toBe(starts);
  });

  test("the audit log holds it all and verifies", async () => {
    await lambda.kill();
    const opened = await openStore({ url: store, readOnly: true });
    try {
      expect(await verifyLog({ store: opened })).toMatchObject({ ok: true });
      expect((await opened.certificates({ limit: 100, nowMs: 0 })).filter(({ spiffeId }) => spiffeId === web)).toHaveLength(4);
    } finally {
      await opened.close();
    }
  });

  async function call(request: EventRequest) {
    const { statusCode, headers, body, isBase64Encoded } = (await lambda.invoke(frontEnds["a Function URL"](request))) as RawAnswer;
    const bytes = Buffer.from(body, isBase64Encoded ? "base64" : "utf8");
    const json = /json/.test(headers["content-type"] ?? "") ? JSON.parse(bytes.toString()) as Record<string, unknown> : {};
    return { status: statusCode, headers, body: bytes, json };
  }

  async function created(token: object): Promise<{ readonly token: string; readonly bootstrap?: string }> {
    const { status, json } = await call({ method: "POST", path: "/v1/tokens", headers: asAdmin(), body: JSON.stringify(token) });
    expect(status).toBe(201);
    return json as unknown as { token: string; bootstrap?: string };
  }

  async function issued(request: object): Promise<IssuedCertificate> {
    const { status, json } = await call({ method: "POST", path: "/v1/certificates", headers: { "content-type": "application/json" }, body: JSON.stringify(request) });
    expect([status, json["detail"]]).toEqual([201, undefined]);
    return json as unknown as IssuedCertificate;
  }

  function asAdmin(): Record<string, string> {
    return { authorization: `Bearer ${adminToken}`, "content-type": "application/json" };
  }
});

interface RawAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly isBase64Encoded: boolean;
}

const prefix = "timers left: ";
const timersLeft = fileURLToPath(new URL("../support/timers-left.ts", import.meta.url));
