import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readConfig, type CaConfig } from "../../../ca/config/config.ts";
import { answerWhileSealed } from "../../../ca/runtime/sealing-wait.ts";
import { serveCa } from "../../../ca/runtime/node.ts";
import { startKmsServer, type KmsServer } from "../../support/kms-server.ts";

let server: KmsServer;
let config: CaConfig;
const dataDir = mkdtempSync(join(tmpdir(), "countersign-sealed-"));
beforeAll(async () => {
  server = await startKmsServer();
  Object.assign(process.env, server.env);
  const sealing = `kms:${server.createKey("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").keyId}`;
  config = readConfig({ file: { trustDomain: "east", dataDir, listen: "127.0.0.1:0", sealing, kmsEndpoint: server.endpoint } });
  await (await serveCa(config, pino({ level: "silent" }))).stop();
});
afterAll(async () => {
  await server.close();
  rmSync(dataDir, { recursive: true, force: true });
});

/** A log, and the first warning or error in it, which names the port. */
function listeningLog() {
  const { promise: first, resolve } = Promise.withResolvers<{ readonly port: number }>();
  const log = pino({ level: "warn" }, { write: (line: string) => resolve(JSON.parse(line) as { port: number }) });
  return { log, first };
}

function get(port: number, path: string): Promise<{ readonly status: number; readonly body: string; readonly retryAfter: string | undefined }> {
  return new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port, path, rejectUnauthorized: false, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => (body += text)).on("end", () => resolve({ status: response.statusCode!, body, retryAfter: response.headers["retry-after"] }));
    }).on("error", reject).end();
  });
}

test("a CA that KMS does not unseal lives, is not ready, says why, and serves once KMS is back", async () => {
  await server.down();
  const { log, first } = listeningLog();
  const serving = serveCa(config, log);
  try {
    const { port: at } = await first;
    expect(await get(at, "/healthz")).toMatchObject({ status: 200 });
    expect(await get(at, "/readyz")).toMatchObject({ status: 503, body: expect.stringContaining("waits for KMS") });
    expect(await get(at, "/v1/certificates")).toMatchObject({ status: 503, retryAfter: "30", body: expect.stringContaining('"sealing_key_unavailable"') });
  } finally {
    await server.up();
  }
  const served = await serving;
  expect((await served.ca.readiness()).ready).toBe(true);
  expect(await get(Number(new URL(served.url).port), "/readyz")).toMatchObject({ status: 200 });
  await served.stop();
}, 90_000);

test("asked to stop meanwhile, it says what it waited for and leaves nothing open", async () => {
  await server.down();
  try {
    const { log, first } = listeningLog();
    const stopping = Promise.withResolvers<void>();
    const serving = expect(serveCa(config, log, undefined, stopping.promise)).rejects.toMatchObject({ code: "sealing_key_unavailable", message: expect.stringContaining("KMS") });
    const { port: at } = await first;
    stopping.resolve();
    await serving;
    await expect(get(at, "/healthz")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  } finally {
    await server.up();
  }
}, 90_000);

describe("a CA whose KMS takes connections and never answers", () => {
  test("lives, is not ready, says what it waits for, and serves once KMS answers", async () => {
    const answering = Promise.withResolvers<void>();
    server.faults.hold = answering.promise;
    const { log, first } = listeningLog();
    const serving = serveCa(config, log);
    try {
      const said = await first;
      expect(said).toMatchObject({ waitsFor: expect.stringMatching(/^Decrypt with the KMS key arn:/), seconds: expect.any(Number) });
      expect(await get(said.port, "/healthz")).toMatchObject({ status: 200 });
      expect(await get(said.port, "/readyz")).toMatchObject({ status: 503, body: expect.stringContaining("waits for KMS") });
      expect(await get(said.port, "/v1/certificates")).toMatchObject({ status: 503, body: expect.stringContaining('"sealing_key_unavailable"') });
    } finally {
      answering.resolve();
      server.faults.hold = undefined;
    }
    const served = await serving;
    expect((await served.ca.readiness()).ready).toBe(true);
    await served.stop();
  }, 90_000);

  test("stops when it is asked to, without waiting for the answer", async () => {
    const answering = Promise.withResolvers<void>();
    server.faults.hold = answering.promise;
    try {
      const { log, first } = listeningLog();
      const stopping = Promise.withResolvers<void>();
      const serving = serveCa(config, log, undefined, stopping.promise).catch((error: unknown) => error);
      const { port } = await first;
      stopping.resolve();
      expect(await serving).toMatchObject({ code: "sealing_key_unavailable", message: expect.not.stringContaining("after 6 attempts") });
      await expect(get(port, "/healthz")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    } finally {
      answering.resolve();
      server.faults.hold = undefined;
    }
  }, 90_000);
});

test("what it says meanwhile names no key", async () => {
  for (const path of ["/readyz", "/v1/bundle"]) expect(await answerWhileSealed(new Request(`https://ca${path}`)).text()).not.toContain("arn:");
});
