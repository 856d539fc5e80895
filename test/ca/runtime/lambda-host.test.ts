import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { readConfig } from "../../../ca/config.ts";
import { lambdaHost } from "../../../ca/runtime/lambda-host.ts";
import { startKmsServer } from "../../support/kms-server.ts";
import { frontEnds } from "../../support/lambda-events.ts";
import { createDatabase } from "../../support/postgres.ts";

const silent = pino({ level: "silent" });
const postgres = "postgres://nobody@127.0.0.1:1/none";
const settings = (file: object) => readConfig({ file: { trustDomain: "east", ...file } });

test.each([
  ["its database on its disk", { sealing: "kms:alias/x" }, /store is refused/],
  ["its sealing key on its disk", { store: postgres }, /sealing is refused/],
])("a function does not start with %s", (_, file, message) => {
  expect(() => lambdaHost(settings(file), silent)).toThrow(message);
});

test("while the database is away requests are answered 503, maintenance fails, and each tries again", async () => {
  const host = lambdaHost(settings({ store: postgres, sealing: "kms:alias/x" }), silent);
  for (let times = 0; times < 2; times++) {
    const answer = await host.invoke(frontEnds["an ALB"]({ method: "GET", path: "/v1/bundle" }), Date.now() + 30_000);
    expect(answer).toMatchObject({ statusCode: 503, headers: { "content-type": "application/problem+json", "cache-control": "no-store" } });
    expect(JSON.parse((answer as { body: string }).body)).toMatchObject({ code: "store_unavailable" });
    await expect(host.invoke({ countersign: "maintenance" }, Date.now() + 30_000)).rejects.toMatchObject({ code: "store_unavailable" });
  }
  const alive = await host.invoke(frontEnds["an ALB"]({ method: "GET", path: "/healthz" }), Date.now() + 30_000);
  expect(alive).toMatchObject({ statusCode: 200, body: "ok\n" });
});

test("a first start that fails after the store was filled gives its admin token all the same", async () => {
  const kms = await startKmsServer();
  for (const [name, value] of Object.entries(kms.env)) vi.stubEnv(name, value);
  try {
    const { keyId } = kms.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    const host = lambdaHost(settings({ store: await createDatabase(), sealing: `kms:${keyId}`, rootKey: `kms:${keyId}`, kmsEndpoint: kms.endpoint }), silent);
    const first = await host.invoke({ countersign: "first-start" }, Date.now() + 30_000);
    expect(first).toEqual({ adminToken: expect.any(String), unfinished: expect.stringContaining("key") });
  } finally {
    vi.unstubAllEnvs();
    await kms.close();
  }
});

test("a CA whose root's key is offline does not begin in a function", async () => {
  const host = lambdaHost(settings({ store: postgres, sealing: "kms:alias/x", rootKey: "offline" }), silent);
  await expect(host.invoke({ countersign: "first-start" }, Date.now() + 30_000)).rejects.toThrow("countersign ceremony request root");
});
