import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startCa, type Ca, type CaDeps } from "../../ca/ca.ts";
import { readConfig } from "../../ca/config/config.ts";
import type { IssuedCertificate } from "../../ca/contract/certificates.ts";
import type { Caller } from "../../ca/http/services.ts";
import type { Log } from "../../ca/log.ts";
import { encodeCsr } from "../../ca/pki/csr.ts";
import { decodePem } from "../../ca/pki/pem.ts";
import { encodeRenewalProof } from "../../ca/pki/renewal-proof.ts";
import { openStore } from "../../ca/store/open.ts";
import type { Store } from "../../ca/store/store.ts";

/** A CA on a real SQLite file in a folder of its own, with a clock that stands still until it is set. */
export interface TestCa {
  readonly ca: Ca;
  readonly store: Store;
  readonly admin: Caller;
  readonly clock: { nowMs: number };
  readonly dataDir: string;
  readonly logged: readonly string[];
  close(): Promise<void>;
}

export interface TestCaOptions {
  readonly settings?: Readonly<Record<string, string>>;
  readonly dataDir?: string;
  readonly nowMs?: number;
  /** Stands between the CA and its store. */
  readonly wrapStore?: (store: Store) => Store;
  readonly deps?: Partial<CaDeps>;
  readonly env?: Readonly<Record<string, string>>;
}

export async function startTestCa({ settings = {}, dataDir, nowMs = Date.now(), wrapStore, deps, env = {} }: TestCaOptions = {}): Promise<TestCa> {
  const folder = dataDir ?? mkdtempSync(join(tmpdir(), "countersign-ca-"));
  const config = readConfig({ file: { trustDomain: "east", dataDir: folder, ...settings }, env });
  const opened = await openStore({ url: config.storeUrl });
  const store = wrapStore?.(opened) ?? opened;
  const clock = { nowMs };
  const logged: string[] = [];
  const remove = (): void => {
    if (dataDir === undefined) rmSync(folder, { recursive: true, force: true });
  };
  let ca: Ca;
  try {
    ca = await startCa({ config, store, log: recordingLog(logged), now: () => new Date(clock.nowMs), ...deps });
  } catch (error) {
    await opened.close();
    remove();
    throw error;
  }
  const admin: Caller = { actor: "token:0000000000000000", name: "test-admin", role: "admin", scope: ["spiffe://east/*"] };
  return {
    ca, store, clock, admin, logged, dataDir: folder,
    async close() {
      await ca.close();
      await opened.close();
      remove();
    },
  };
}

/** An API caller that is not the admin. */
export function callerWith(overrides: Partial<Caller>): Caller {
  return { actor: "token:1111111111111111", name: "test-operator", role: "operator", scope: [], ...overrides };
}

/** A key and a CSR for it, base64 of DER. */
export function newCsr(key: KeyObject = newKey()): { readonly csr: string; readonly der: Uint8Array; readonly privateKey: KeyObject } {
  const der = encodeCsr({ privateKey: key });
  return { csr: Buffer.from(der).toString("base64"), der, privateKey: key };
}

export function newKey(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
}

/** DER of an issued chain, leaf first. */
export function chainOf(issued: Pick<IssuedCertificate, "chain">): Uint8Array[] {
  return decodePem(issued.chain, "CERTIFICATE");
}

/** A renewal proof for a CSR by the key of an issued certificate. */
export function proofFor(
  issued: Pick<IssuedCertificate, "chain">, privateKey: KeyObject, csr: Uint8Array, nowMs: number, audience = "east",
): string {
  return encodeRenewalProof({ chain: chainOf(issued), privateKey, csr, audience, nowMs });
}

/** All entries of the audit log, parsed. */
export async function auditEvents(store: Store): Promise<Record<string, unknown>[]> {
  const entries = await store.entries({ start: 0, limit: 1000 });
  return entries.map(({ body }) => JSON.parse(body) as Record<string, unknown>);
}

export const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;

function recordingLog(logged: string[]): Log {
  const record = (fields: object, message: string): void => {
    const err = "err" in fields && fields.err instanceof Error ? ` ${fields.err.message}` : "";
    logged.push(message + err);
  };
  return { info: record, warn: record, error: record };
}
