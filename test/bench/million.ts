import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { encodeEntry } from "../../ca/audit/event.ts";
import { paths } from "../../ca/contract/paths.ts";
import { logKeyName, logOrigin } from "../../ca/first-start.ts";
import { serialNumbers } from "../../ca/issuance/serial.ts";
import { createSealing } from "../../ca/signer/sealing.ts";
import { openStore } from "../../ca/store/open.ts";
import type { Act } from "../../ca/store/acts.ts";
import type { Store } from "../../ca/store/store.ts";
import { startCa, type RunningCa } from "../../infra/demo/processes.ts";
import { startPostgres } from "../support/postgres-server.ts";
import { issueAll, targetOf, type Target } from "./issue.ts";
import { median, printTable, runLoad } from "./load.ts";

/**
 * A CA with a million certificates in its store beside one with as few as fill a page of each listing, under the same load in turn:
 * issuing, listing, revoking.
 */
export async function benchMillion(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const postgres = await startPostgres();
  try {
    for (const kind of ["SQLite", "Postgres"] as const) {
      const started: RunningCa[] = [];
      for (const name of ["few", "full"]) {
        const dataDir = join(folder, `${kind}-${name}`);
        const url = kind === "SQLite" ? `sqlite:${dataDir}/countersign.db` : await postgres.createDatabase();
        const env = { COUNTERSIGN_STORE: url, COUNTERSIGN_SEALING_KEY: sealingKey.toString("base64") };
        await (await startCa({ dataDir, env })).stop();
        await fill(url, name === "full" ? { count, revokedEvery: 100 } : { count: fewCertificates, revokedEvery: 4 });
        if (kind === "Postgres") await settle(url);
        started.push(await startCa({ dataDir, env }));
      }
      await compare(kind, started.map((ca) => targetOf(ca, ca.dataDir)));
      for (const ca of started) await ca.stop();
    }
  } finally {
    await postgres.stop();
    rmSync(folder, { recursive: true });
  }
}

async function compare(kind: string, targets: readonly Target[]): Promise<void> {
  const rows: string[][] = [];
  for (const [name, measure] of Object.entries(measures)) {
    const p50s = targets.map((): number[] => []);
    const p99s = targets.map((): number[] => []);
    for (let run = 0; run <= repetitions; run++) {
      for (const [index, target] of targets.entries()) {
        const { p50Ms, p99Ms } = await measure(target);
        // The first warms up.
        if (run > 0) [p50s[index]!.push(p50Ms), p99s[index]!.push(p99Ms)];
      }
    }
    const [[few50, full50], [few99, full99]] = [p50s.map(median), p99s.map(median)] as unknown as [[number, number], [number, number]];
    console.error(`${kind}: ${name} measured`);
    rows.push([name, few50.toFixed(2), full50.toFixed(2), (full50 / few50).toFixed(2), few99.toFixed(2), full99.toFixed(2), (full99 / few99).toFixed(2)]);
  }
  printTable(
    `${count} certificates on ${kind} against ${fewCertificates} (median of ${repetitions} runs in turn)`,
    ["", "p50 ms few", "full", "ratio", "p99 ms few", "full", "ratio"], rows,
  );
}

interface Quantiles {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const measures: Readonly<Record<string, (target: Target) => Promise<Quantiles>>> = {
  "issue, 16 at once": (target) => issueAll(target, 1_000, 16),
  "list the newest 100": list("limit=100"),
  "list one ID": list("limit=100&spiffeId=spiffe://countersign.local/ns/bench/sa/app"),
  "list a prefix of the newest": list(`limit=100&spiffeId=${encodeURIComponent("spiffe://countersign.local/ns/bench/*")}`),
  "list a prefix of a tenth": list(`limit=100&spiffeId=${encodeURIComponent("spiffe://countersign.local/ns/n5/*")}`),
  "list a prefix of all": list(`limit=100&spiffeId=${encodeURIComponent("spiffe://countersign.local/ns/*")}`),
  "list valid": list("limit=100&status=valid"),
  "list revoked": list("limit=100&status=revoked"),
  "list expired": list("limit=100&status=expired"),
  "revoke": async (target) => {
    const agent = new Agent({ keepAlive: true, ca: target.root });
    await issueAll(target, revocations, 16);
    const { certificates } = JSON.parse(await ask(target, agent, "GET", `${target.url}?limit=${revocations}&status=valid`)) as { certificates: readonly { serialNumber: string }[] };
    const result = await runLoad(certificates.length, 4, async (index) => {
      await ask(target, agent, "POST", `${target.url}/${certificates[index]!.serialNumber}/revoke`, { reason: "superseded" });
    });
    agent.destroy();
    return result;
  },
};

function list(query: string): (target: Target) => Promise<Quantiles> {
  return async (target) => {
    const agent = new Agent({ keepAlive: true, ca: target.root });
    const result = await runLoad(lists, 2, async () => void await ask(target, agent, "GET", `${new URL(paths.certificates, target.url)}?${query}`));
    agent.destroy();
    return result;
  };
}

function ask({ headers }: Target, agent: Agent, method: string, url: string, body?: object): Promise<string> {
  return new Promise((resolve, reject) => {
    request(url, { method, agent, headers: { ...headers, ...(body && { "content-type": "application/json" }) } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk)).on("error", reject).on("end", () => {
        if ((response.statusCode ?? 0) < 300) resolve(text);
        else reject(new Error(`${method} ${url} was answered ${response.statusCode}: ${text}`));
      });
    }).on("error", reject).end(body && JSON.stringify(body));
  });
}

interface Filling {
  readonly count: number;
  readonly revokedEvery: number;
}

/** A million are what a CA of ten thousand workloads issues in a hundred days; two thirds of them are over. */
async function fill(url: string, filling: Filling): Promise<void> {
  const store = await openStore({ url });
  try {
    const state = (await store.state())!;
    await store.unlock({ origin: logOrigin(state.trustDomain), privateKeyPkcs8: createSealing(sealingKey).unseal(logKeyName, state.sealedLogKey) });
    const authorityId = (await store.authorities()).find(({ type }) => type === "issuer")!.id;
    for (let done = 0; done < filling.count; done += fillGroup) {
      await commitAll(store, Array.from({ length: Math.min(fillGroup, filling.count - done) }, (_, index) => issuance(done + index, authorityId, filling)));
      if (done % (fillGroup * 20) === 0) console.error(`filled ${done} of ${filling.count}`);
    }
  } finally {
    await store.close();
  }
}

async function commitAll(store: Store, acts: readonly (readonly Act[])[]): Promise<void> {
  await Promise.all(acts.flat().map((act) => store.commit(act)));
}

/** What autovacuum and a checkpoint would do for minutes beside the measurement. */
async function settle(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("vacuum analyze");
  await client.query("checkpoint");
  await client.end();
}

const nextSerial = serialNumbers();

function issuance(index: number, authorityId: string, filling: Filling): readonly Act[] {
  const issuedAtMs = Date.now() - 1000 * (filling.count - index);
  const notAfterMs = index % 3 === 0 ? Date.now() + dayMs : issuedAtMs;
  const certificate = {
    serialNumber: Buffer.from(nextSerial(issuedAtMs)).toString("hex"), spiffeId: `spiffe://countersign.local/ns/n${index % 10}/sa/w${index % 10_000}`, dnsNames: [],
    notBeforeMs: issuedAtMs, notAfterMs, authorityId, attestation: "operator", certificate: randomBytes(700), keyFingerprint: randomBytes(32), issuedAtMs,
  } as const;
  const { serialNumber, spiffeId } = certificate;
  const issued = encodeEntry({
    type: "certificate.issued", serialNumber, spiffeId, fingerprint: "0".repeat(64), keyFingerprint: Buffer.from(certificate.keyFingerprint).toString("hex"),
    notBefore: new Date(issuedAtMs).toISOString(), notAfter: new Date(notAfterMs).toISOString(), authorityId, attestation: "operator",
  }, "system", issuedAtMs);
  const issue: Act = { kind: "issue", certificate, entries: [issued] };
  if (index % filling.revokedEvery !== 0) return [issue];
  const revokedEntry = encodeEntry({ type: "certificate.revoked", serialNumber, spiffeId, reason: "superseded" }, "system", issuedAtMs);
  return [issue, { kind: "revoke", serialNumber, reason: "superseded", revokedAtMs: issuedAtMs, entries: [revokedEntry] }];
}

const count = Number(process.env["COUNTERSIGN_BENCH_CERTIFICATES"] ?? 1_000_000);
/** A page of each kind, also of the tenth that one prefix has: a shorter page would cost less for what is not there. */
const fewCertificates = 1_010;
const fillGroup = 2_000;
const repetitions = 3;
const lists = 100;
const revocations = 200;
const dayMs = 86_400_000;
const sealingKey = randomBytes(32);
