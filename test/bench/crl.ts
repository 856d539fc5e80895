import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request, type RequestOptions } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { encodeEntry } from "../../ca/audit/event.ts";
import type { CertificatePage } from "../../ca/contract/certificates.ts";
import { paths } from "../../ca/contract/paths.ts";
import { logKeyName, logOrigin } from "../../ca/first-start.ts";
import { loadSealing } from "../../ca/signer/sealing.ts";
import { openStore } from "../../ca/store/open.ts";
import { crlPath } from "../../ca/status-paths.ts";
import { adminTokenOf, startCa, type RunningCa } from "../../infra/demo/processes.ts";
import { issueAll, type Run, type Target } from "./issue.ts";
import { median, printTable } from "./load.ts";

/**
 * A CRL of 100 000 entries: how long it takes to sign after a revocation, the first time after a start and later, and what the
 * signing does to issuing meanwhile. The certificates and revocations are put into the database of a CA that is stopped.
 */
export async function benchCrl(): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  let ca = await startCa({ dataDir });
  try {
    const issuerId = await fillWithRevocations(ca);
    ca = await startCa({ dataDir });
    const root = readFileSync(ca.rootPemPath);
    const authorization = `Bearer ${adminTokenOf(ca)}`;
    const target: Target = {
      name: "countersign", pid: ca.pid, url: `${ca.url}${paths.certificates}`, root, headers: { authorization },
      body: (csr) => ({ csr: Buffer.from(csr).toString("base64"), attestation: { type: "operator", spiffeId: `spiffe://${ca.trustDomain}/ns/bench/sa/app` } }),
    };
    const fetchCrl = async () => {
      const started = performance.now();
      const { length } = await call(`${ca.url}${crlPath(issuerId, "full.crl")}`, { ca: root });
      return { ms: performance.now() - started, bytes: length };
    };
    await issueAll(target, warmUpCount, 64);
    const page = await call(`${target.url}?limit=500&status=valid`, { ca: root, headers: { authorization } });
    const serials = (JSON.parse(page.toString()) as CertificatePage).certificates.map(({ serialNumber }) => serialNumber);
    const revokeOne = () => call(
      `${target.url}/${serials.pop()}/revoke`, { method: "POST", ca: root, headers: { authorization, "content-type": "application/json" } }, { reason: "superseded" },
    );
    const first = await fetchCrl();
    const again: number[] = [];
    for (let run = 0; run < 5; run++) {
      await revokeOne();
      await setTimeout(resignPauseMs);
      again.push((await fetchCrl()).ms);
    }
    console.log(
      `\nA CRL of ${entryCount} entries, ${(first.bytes / 1e6).toFixed(1)} MB, asked for over HTTPS: ${first.ms.toFixed(0)} ms the first time after a start ` +
      `(the revocations are read and encoded), ${median(again).toFixed(0)} ms after a revocation (median of ${again.length}).`,
    );
    const rows: string[][] = [];
    for (const [connections, count] of [[16, 4000]] as const) {
      const before: Run[] = [];
      const during: Run[] = [];
      let signed = 0;
      for (let run = 0; run < repetitions; run++) {
        before.push(await issueAll(target, count, connections));
        let running = true;
        // Meanwhile something is revoked and the list is asked for, as often as it is ever signed anew.
        const signing = (async () => {
          for (; running; signed++) {
            await revokeOne();
            await fetchCrl();
            await setTimeout(resignPauseMs);
          }
        })();
        during.push(await issueAll(target, count, connections));
        running = false;
        await signing;
      }
      const [p99Before, p99During] = [median(before.map(({ p99Ms }) => p99Ms)), median(during.map(({ p99Ms }) => p99Ms))];
      rows.push([
        String(connections), p99Before.toFixed(2), p99During.toFixed(2), `${(p99During / p99Before).toFixed(2)} x`, String(signed),
        median(before.map(({ perSecond }) => perSecond)).toFixed(0), median(during.map(({ perSecond }) => perSecond)).toFixed(0),
      ]);
    }
    printTable(
      `Issuing while a CRL of ${entryCount} entries is signed every ${(resignPauseMs / 1000).toFixed(1)} s (median of ${repetitions} runs in turn)`,
      ["connections", "p99 ms before", "p99 ms during", "ratio", "CRLs signed", "certificates/s before", "during"],
      rows,
    );
  } finally {
    await ca.stop();
    rmSync(dataDir, { recursive: true });
  }
}

/** As many certificates and revocations, committed like any other but not signed. @returns the ID of their issuer */
async function fillWithRevocations(ca: RunningCa): Promise<string> {
  await ca.stop();
  const store = await openStore({ url: `sqlite:${join(ca.dataDir, "countersign.db")}` });
  try {
    const { trustDomain, sealedLogKey } = (await store.state())!;
    const sealing = loadSealing({ sealingKey: undefined, sealingKeyPath: join(ca.dataDir, "sealing.key") }, { create: false });
    await store.unlock({ origin: logOrigin(trustDomain), privateKeyPkcs8: sealing.unseal(logKeyName, sealedLogKey) });
    const authorityId = (await store.authorities()).find(({ type }) => type === "issuer")!.id;
    const nowMs = Date.now();
    const entries: readonly [string] = [encodeEntry({ type: "request.denied", code: "bench", method: "GET", path: "/" }, "system", nowMs)];
    for (let count = 0; count < entryCount; count += actsAtOnce) {
      await Promise.all(Array.from({ length: actsAtOnce }, async () => {
        const serialNumber = `7f${randomBytes(15).toString("hex")}`;
        const names = { spiffeId: `spiffe://${trustDomain}/ns/bench/sa/app`, dnsNames: [], attestation: "operator" } as const;
        const times = { notBeforeMs: nowMs, notAfterMs: nowMs + 86_400_000, issuedAtMs: nowMs };
        await store.commit({ kind: "issue", certificate: { serialNumber, ...names, ...times, authorityId, certificate: randomBytes(600), keyFingerprint: randomBytes(32) }, entries });
        await store.commit({ kind: "revoke", serialNumber, reason: "keyCompromise", revokedAtMs: nowMs, entries });
      }));
    }
    return authorityId;
  } finally {
    await store.close();
  }
}

/** One request of its own, to its last byte. */
function call(url: string, options: RequestOptions, body?: object): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", reject)
        .on("end", () => response.statusCode === 200 ? resolve(Buffer.concat(chunks)) : reject(new Error(`${url} was answered ${response.statusCode}`)));
    });
    outgoing.on("error", reject).end(body && JSON.stringify(body));
  });
}

const entryCount = 100_000;
const actsAtOnce = 1000;
const warmUpCount = 3000;
const repetitions = 3;
/** A list is not signed anew within a second. */
const resignPauseMs = 1100;
