import { generateKeyPairSync, randomInt, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { verifyLog } from "../../ca/audit/verify.ts";
import type { IssuedCertificate } from "../../ca/contract/certificates.ts";
import { paths } from "../../ca/contract/paths.ts";
import { encodeCsr } from "../../ca/pki/csr.ts";
import { openStore } from "../../ca/store/open.ts";
import { adminTokenOf, startCa, type RunningCa } from "../../infra/demo/processes.ts";
import { createDatabase } from "../support/postgres.ts";

describe.each(["sqlite", "postgres"] as const)("a CA on %s that is killed at any moment of issuing", (kind) => {
  let dataDir: string;
  let storeUrl: string;

  beforeEach(async () => {
    dataDir = mkdtempSync(join(tmpdir(), "countersign-crash-"));
    storeUrl = kind === "sqlite" ? `sqlite:${dataDir}/countersign.db` : await createDatabase();
  });
  afterEach(() => rmSync(dataDir, { recursive: true }));

  test("loses no certificate a client received, doubles no serial, and its log verifies after each of 50 kills", async () => {
    const received = new Map<string, IssuedCertificate>();
    for (let round = 0; round < rounds; round++) {
      const ca = await startCa({ dataDir, env: { COUNTERSIGN_STORE: storeUrl } });
      const before = new Set(received.keys());
      const load = issueUntilItDies(ca, received);
      // However slow the machine, every other kill comes after some were issued.
      if (round % 2 === 1) await expect.poll(() => received.size, { interval: 5, timeout: 30_000 }).toBeGreaterThanOrEqual(before.size + 3);
      // A random instant, not a wait for something: where in its work the kill hits is what the rounds sample.
      await delay(randomInt(10, 120));
      await ca.stop("SIGKILL");
      await load;
      await everythingReceivedIsKept(storeUrl, [...received.values()].filter(({ serialNumber }) => !before.has(serialNumber)));
    }
    expect(received.size).toBeGreaterThan(rounds);
    await everythingReceivedIsKept(storeUrl, [...received.values()]);
  }, 1_500_000);
});

/** A few clients that issue as fast as they can until the CA is gone; what they received in full is remembered. */
async function issueUntilItDies(ca: RunningCa, received: Map<string, IssuedCertificate>): Promise<void> {
  const agent = new Agent({ keepAlive: true, ca: readFileSync(ca.rootPemPath) });
  const authorization = `Bearer ${adminTokenOf(ca)}`;
  const client = async () => {
    for (;;) {
      const issued = await issue(ca, agent, authorization).catch(() => undefined);
      if (issued === undefined) return;
      expect(received.has(issued.serialNumber), `serial ${issued.serialNumber} was given out twice`).toBe(false);
      received.set(issued.serialNumber, issued);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  agent.destroy();
}

function issue(ca: RunningCa, agent: Agent, authorization: string): Promise<IssuedCertificate> {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const csr = Buffer.from(encodeCsr({ privateKey })).toString("base64");
  const body = JSON.stringify({ csr, attestation: { type: "operator", spiffeId: `spiffe://${ca.trustDomain}/ns/crash/sa/app` } });
  return new Promise((resolve, reject) => {
    request(`${ca.url}${paths.certificates}`, { method: "POST", agent, headers: { authorization, "content-type": "application/json" } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk)).on("error", reject).on("close", () => {
        if (!response.complete) return reject(new Error("cut off"));
        if (response.statusCode === 201) return resolve(JSON.parse(text) as IssuedCertificate);
        reject(new Error(`${response.statusCode} ${text}`));
      });
    }).on("error", reject).end(body);
  });
}

async function everythingReceivedIsKept(url: string, received: readonly IssuedCertificate[]): Promise<void> {
  const store = await openStore({ url, readOnly: true });
  try {
    expect(await verifyLog({ store })).toMatchObject({ ok: true });
    for (const { serialNumber, chain, logIndex } of received) {
      const row = await store.certificate(serialNumber);
      expect(row?.logIndex, `certificate ${serialNumber} is not in the store`).toBe(logIndex);
      expect(Buffer.compare(row!.certificate, new X509Certificate(chain).raw)).toBe(0);
    }
  } finally {
    await store.close();
  }
}

const rounds = 50;
const clients = 8;
