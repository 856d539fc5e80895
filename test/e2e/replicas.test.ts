import { spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes, randomInt, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeEntry, type RecordedEvent } from "../../ca/audit/event.ts";
import { verifyLog } from "../../ca/audit/verify.ts";
import type { IssuedCertificate } from "../../ca/contract/certificates.ts";
import { paths } from "../../ca/contract/paths.ts";
import { encodeCsr } from "../../ca/pki/csr.ts";
import { openStore } from "../../ca/store/open.ts";
import type { Store } from "../../ca/store/store.ts";
import { adminTokenOf, startCa, type RunningCa } from "../../infra/demo/processes.ts";
import { newSealer } from "../ca/store/acts.ts";
import { startPostgres, type PostgresServer } from "../support/postgres-server.ts";

let postgres: PostgresServer;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

describe("three replicas on one Postgres", () => {
  const folder = mkdtempSync(join(tmpdir(), "countersign-replicas-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("killed and stopped at random under 64 clients, Postgres restarted twice: nothing lost, nothing doubled, one rotation at a time", async () => {
    const storeUrl = await postgres.createDatabase();
    const replicas = await startReplicas(folder, storeUrl);
    const load = startLoad(replicas);
    try {
      for (const how of ["fast", "immediate"] as const) {
        await moment();
        const killed = replicas[randomInt(3)]!;
        const stopped = replicas.filter((replica) => replica !== killed)[randomInt(2)]!;
        await killed.kill();
        stopped.signal("SIGSTOP");
        await moment();
        await load.issues();
        const back = killed.start();
        await moment();
        await Promise.all([back, postgres.restart(how)]);
        const sinceMs = performance.now();
        await load.issues();
        expect(performance.now() - sinceMs, "ms from the database's return to the next certificate").toBeLessThan(20_000);
        stopped.signal("SIGCONT");
        await load.issues();
      }
    } finally {
      for (const replica of replicas) replica.signal("SIGCONT");
      await load.stop();
      await Promise.all(replicas.map((replica) => replica.stop()));
    }
    await verifyEverything(storeUrl, load.received);
  }, 900_000);
});

describe("a replica that is stopped while it holds a lease", () => {
  test("cannot act on it any more when it goes on after another has taken it", async () => {
    const url = await postgres.createDatabase();
    const { sealer } = newSealer();
    const store = await openStore({ url, sealer });
    const key = Buffer.from(sealer.privateKeyPkcs8).toString("base64");
    const child = spawn(process.execPath, [leaseHolder, url, sealer.origin, key], { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe("holds the lease under token 1");
    child.kill("SIGSTOP");
    // Its ttl is half a second; nobody asks how long we wait for it.
    let taken = false;
    while (!taken) taken = (await store.acquireLease({ name: "work", holder: "another", ttlMs: leaseMs })).held;
    child.kill("SIGCONT");
    child.stdin.end("act\n");
    expect((await lines.next()).value).toBe("lease_lost");
    await once(child, "exit");
    expect(await store.checkpoint()).toBeUndefined();
    await store.close();
  });
});

interface Replica {
  /** Undefined while it is down. */
  running(): RunningCa | undefined;
  start(): Promise<void>;
  kill(): Promise<void>;
  stop(): Promise<void>;
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
  /** Its last words, if it ended though nobody told it to. */
  diedOf(): string | undefined;
}

async function startReplicas(folder: string, storeUrl: string): Promise<readonly Replica[]> {
  const env = {
    COUNTERSIGN_STORE: storeUrl,
    COUNTERSIGN_SEALING_KEY: randomBytes(32).toString("base64"),
    // The issuer is due every few seconds.
    COUNTERSIGN_CERTIFICATE_LIFETIME: "60s", COUNTERSIGN_CERTIFICATE_LIFETIME_MAX: "60s", COUNTERSIGN_CLOCK_SKEW: "1s",
    COUNTERSIGN_ISSUER_RENEW_BEFORE: "62s", COUNTERSIGN_ISSUER_LIFETIME: "64s",
  };
  const replicas = Array.from({ length: 3 }, (_, index): Replica => {
    const dataDir = join(folder, `replica-${index}`);
    let running: RunningCa | undefined;
    let ending = false;
    return {
      running: () => running,
      diedOf: () => (running === undefined || ending || (running.child.exitCode ?? running.child.signalCode) === null ? undefined : running.output()),
      async start() {
        // Where the database is away at that moment the process ends, and whatever supervises it starts it again.
        for (let attempt = 1; running === undefined; attempt++) {
          running = await startCa({ dataDir, env }).catch((error: unknown) => {
            if (attempt === maxStarts) throw error;
            return undefined;
          });
        }
      },
      async kill() {
        const { stop } = running!;
        running = undefined;
        await stop("SIGKILL");
      },
      async stop() {
        ending = true;
        await running?.stop();
      },
      signal: (signal) => void running?.child.kill(signal),
    };
  });
  await Promise.all(replicas.map((replica) => replica.start()));
  return replicas;
}

interface Load {
  /** What clients received in full. */
  readonly received: ReadonlyMap<string, IssuedCertificate>;
  /** Resolves when the next ten certificates were received. */
  issues(): Promise<void>;
  /** Each client ends once it has what it asked for last. */
  stop(): Promise<void>;
}

/** Clients that each want one certificate after another, and ask any replica until they have it. */
function startLoad(replicas: readonly Replica[]): Load {
  const first = replicas.map((replica) => replica.running()!).find(({ adminTokenPath }) => readable(adminTokenPath))!;
  const authorization = `Bearer ${adminTokenOf(first)}`;
  const agent = new Agent({ keepAlive: true, ca: readFileSync(first.rootPemPath) });
  const received = new Map<string, IssuedCertificate>();
  let stopping = false;

  async function ask(body: string, idempotencyKey: string): Promise<IssuedCertificate> {
    for (let attempt = 1; ; attempt++) {
      const replica = replicas[randomInt(replicas.length)]!.running();
      try {
        if (replica !== undefined) return await post(`${replica.url}${paths.certificates}`, body, { authorization, "idempotency-key": idempotencyKey }, agent);
      } catch (error) {
        // Unavailable, cut off or stopped, any of which may have issued; what is refused for good is a fault.
        if (!/^(5|Error|timeout)/.test(String((error as Error).message)) || attempt > maxAttempts) throw error;
      }
      await delay(randomInt(50, 150));
    }
  }

  const clients = Array.from({ length: clientCount }, async (_, client) => {
    while (!stopping) {
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const csr = Buffer.from(encodeCsr({ privateKey })).toString("base64");
      const body = JSON.stringify({ csr, attestation: { type: "operator", spiffeId: `spiffe://countersign.local/ns/load/sa/${client}` } });
      const issued = await ask(body, randomBytes(16).toString("hex"));
      expect(received.has(issued.serialNumber), `serial ${issued.serialNumber} was given out twice`).toBe(false);
      received.set(issued.serialNumber, issued);
      await delay(randomInt(100, 400));
    }
  });
  const ended = Promise.all(clients);
  ended.catch(() => undefined);
  return {
    received,
    async issues() {
      const until = received.size + 10;
      while (received.size < until) {
        await Promise.race([delay(5), ended]);
        for (const replica of replicas) expect(replica.diedOf(), "a replica ended by itself").toBeUndefined();
      }
    },
    async stop() {
      stopping = true;
      await ended;
      agent.destroy();
    },
  };
}

function readable(path: string): boolean {
  try {
    return readFileSync(path, "utf8") !== "";
  } catch {
    return false;
  }
}

function post(url: string, body: string, headers: Readonly<Record<string, string>>, agent: Agent): Promise<IssuedCertificate> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: "POST", agent, timeout: requestTimeoutMs, headers: { ...headers, "content-type": "application/json" } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk)).on("error", () => undefined).on("close", () => {
        if (!response.complete) return reject(new Error("Error: cut off"));
        if (response.statusCode === 201) return resolve(JSON.parse(text) as IssuedCertificate);
        reject(new Error(`${response.statusCode} ${text}`));
      });
    });
    asked.on("timeout", () => asked.destroy(new Error("timeout"))).on("error", (error) => reject(new Error(`Error: ${error.message}`))).end(body);
  });
}

async function verifyEverything(url: string, received: ReadonlyMap<string, IssuedCertificate>): Promise<void> {
  const store = await openStore({ url, readOnly: true });
  try {
    expect(await verifyLog({ store })).toMatchObject({ ok: true });
    const rows = (await store.certificates({ limit: 1_000_000, nowMs: 0 })).filter(({ spiffeId }) => spiffeId.includes("/ns/load/"));
    for (const row of rows) {
      const issued = received.get(row.serialNumber);
      // Every client had what it asked for in the end, so a certificate that none has was made for a request that has another.
      expect(issued, `certificate ${row.serialNumber} was issued and nobody received it`).toBeDefined();
      expect(Buffer.compare(row.certificate, new X509Certificate(issued!.chain).raw)).toBe(0);
    }
    expect(rows).toHaveLength(received.size);
    const events = await eventsOf(store);
    const issuers = events.flatMap((event) => event.type === "authority.created" && event.authorityType === "issuer" ? [event.authorityId] : []);
    const replaced = events.flatMap((event) => event.type === "authority.state-changed" && event.to === "retiring" ? [event.authorityId] : []);
    expect(issuers.length).toBeGreaterThan(1);
    // Each but the newest was replaced, once, in the order in which they came.
    expect(replaced).toEqual(issuers.slice(0, -1));
  } finally {
    await store.close();
  }
}

async function eventsOf(store: Store): Promise<readonly RecordedEvent[]> {
  return (await store.entries({ start: 0, limit: 1_000_000 })).map(({ body }) => decodeEntry(body)!);
}

/** A random instant, not a wait for something: where in their work the others are hit is what these sample. */
function moment(): Promise<void> {
  return delay(randomInt(300, 1_500));
}

const clientCount = 64;
const requestTimeoutMs = 3_000;
const maxAttempts = 500;
const maxStarts = 20;
const leaseMs = 500;
const leaseHolder = fileURLToPath(new URL("lease-holder.ts", import.meta.url));
