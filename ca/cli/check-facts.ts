import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { parseCheckpoint } from "../audit/checkpoint.ts";
import { AuditError } from "../audit/errors.ts";
import { parseNote } from "../audit/note.ts";
import type { CheckFacts, LogFacts } from "../check/facts.ts";
import {
  paths, type AuditEntryPage, type AuthorityList, type CertificateDetail, type CertificatePage, type ConsistencyProof, type InclusionProof, type OperatorList, type ProxyList,
  type Readiness, type Revocation, type RevocationPage, type TokenPage, type TokenSummary, type Vitals,
} from "../contract.ts";
import { ApiError, type Api } from "./api.ts";

/** What is kept apart from the database, and says what its log must be. */
export interface KeptFiles {
  readonly dataDir: string;
  /** Paths. */
  readonly checkpoints: readonly string[];
  /** The log's verifier key. */
  readonly key: string | undefined;
}

/**
 * Asks the CA for all that the checks judge.
 * @throws {ApiError} when it does not answer, or not as a CA
 */
export async function gatherFacts(ca: Api, files: KeptFiles): Promise<CheckFacts> {
  const readiness = await readReadiness(ca);
  const notPermitted: string[] = [];
  /** What the caller may not read is not looked at, and said so. */
  async function permitted<T>(what: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 403) throw error;
      notPermitted.push(what);
      return undefined;
    }
  }
  const { authorities } = await ca.call<AuthorityList>("GET", paths.authorities);
  const vitals = await permitted("its vitals", () => ca.call<Vitals>("GET", paths.vitals));
  const nowMs = Date.now();
  const proxies = await permitted("its proxies", () => ca.call<ProxyList>("GET", paths.proxies));
  return {
    nowMs, version: packageJson.version, readiness, authorities, vitals, proxies, notPermitted,
    newestChain: await readNewestChain(ca),
    revocations: proxies && (await readRevocations(ca, proxies)),
    tokens: await permitted("API tokens", () => readTokens(ca)),
    operators: await permitted("operators", async () => (await ca.call<OperatorList>("GET", paths.operators)).operators),
    log: await permitted("the audit log", () => readLog(ca, files)),
  };
}

async function readReadiness(ca: Api): Promise<Readiness> {
  const { text } = await ca.probe(paths.readyz);
  try {
    return JSON.parse(text) as Readiness;
  } catch (cause) {
    throw new ApiError("what answers there is no CA; is --url right?", { cause });
  }
}

async function readNewestChain(ca: Api): Promise<string | undefined> {
  const { certificates: [newest] } = await ca.call<CertificatePage>("GET", `${paths.certificates}?limit=1&status=valid`);
  return newest && (await ca.call<CertificateDetail>("GET", `${paths.certificates}/${newest.serialNumber}`)).chain;
}

/** From where the proxy that is furthest behind stands: the oldest that it lacks is on the first page. */
async function readRevocations(ca: Api, { proxies }: ProxyList): Promise<readonly Revocation[]> {
  const sequences = proxies.flatMap(({ revocationSequence }) => (revocationSequence === undefined ? [] : [revocationSequence]));
  if (sequences.length === 0) return [];
  return (await ca.call<RevocationPage>("GET", `${paths.revocations}?after=${Math.min(...sequences)}`)).revocations;
}

async function readTokens(ca: Api): Promise<readonly TokenSummary[]> {
  const tokens: TokenSummary[] = [];
  let cursor = "";
  for (let pages = 0; pages < maxTokenPages; pages++) {
    const page: TokenPage = await ca.call<TokenPage>("GET", `${paths.tokens}?limit=1000${cursor}`);
    tokens.push(...page.tokens);
    if (page.nextCursor === undefined) break;
    cursor = `&cursor=${encodeURIComponent(page.nextCursor)}`;
  }
  return tokens;
}

async function readLog(ca: Api, { dataDir, checkpoints, key }: KeptFiles): Promise<LogFacts> {
  const keyPath = join(dataDir, keyFile);
  const verifierKey = key ?? (existsSync(keyPath) ? readKept(keyPath).trim() : undefined);
  const witness = join(dataDir, witnessFile);
  // Read before the newest one is asked for: the log only grows.
  const notes = [...(existsSync(witness) ? [witness] : []), ...checkpoints].map((where) => ({ where, note: readKept(where) }));
  const checkpoint = await ca.fetchPublic(paths.auditCheckpoint, "text/plain");
  const size = sizeOf(checkpoint);
  if (size === undefined || size === 0) return { checkpoint, verifierKey, kept: [] };
  const { entries: [entry] } = await ca.call<AuditEntryPage>("GET", `${paths.auditEntries}?start=${size - 1}&limit=1`);
  const proof = await ca.call<InclusionProof>("GET", `${paths.auditProof}?index=${size - 1}&size=${size}`);
  const kept = await Promise.all(notes.map(async (one) => ({ ...one, proof: await readConsistency(ca, sizeOf(one.note), size) })));
  return { checkpoint, verifierKey, kept, ...(entry && { newest: { entry, proof } }) };
}

async function readConsistency(ca: Api, oldSize: number | undefined, size: number): Promise<ConsistencyProof | undefined> {
  if (oldSize === undefined || oldSize > size) return undefined;
  return ca.call<ConsistencyProof>("GET", `${paths.auditProof}?oldSize=${oldSize}&size=${size}`);
}

/** Undefined for what is no checkpoint, which the check says. */
function sizeOf(note: string): number | undefined {
  try {
    return parseCheckpoint(parseNote(note)).size;
  } catch (error) {
    if (error instanceof AuditError) return undefined;
    throw error;
  }
}

function readKept(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new ApiError(`${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? "unknown error"})`, { cause });
  }
}

const keyFile = "audit-log.vkey";
const witnessFile = "witnessed-checkpoint";
/** 10 000 tokens. */
const maxTokenPages = 10;
