import { parseCheckpoint } from "../audit/checkpoint.ts";
import { AuditError } from "../audit/errors.ts";
import { parseNote } from "../audit/note.ts";
import type { AuditEntryPage, ConsistencyProof, InclusionProof } from "../contract/audit.ts";
import type { AuthorityList } from "../contract/authorities.ts";
import type { CertificateDetail, CertificatePage } from "../contract/certificates.ts";
import type { FederationHubs } from "../contract/federation-hubs.ts";
import type { FederationList } from "../contract/federation.ts";
import type { OperatorList } from "../contract/operators.ts";
import { mediaType } from "../contract/headers.ts";
import { paths } from "../contract/paths.ts";
import type { ProxyList, ProxySummary } from "../contract/proxies.ts";
import type { Revocation, RevocationPage } from "../contract/revocations.ts";
import type { TokenPage, TokenSummary } from "../contract/tokens.ts";
import type { Readiness, Vitals } from "../contract/vitals.ts";
import type { CheckFacts, LogFacts } from "./facts.ts";

/** The CA as the checks ask it: over the network, or within its own process. What is refused has the HTTP status as `status`. */
export interface CheckedCa {
  call<T>(method: "GET", path: string): Promise<T>;
  /** A public document as text. */
  fetchPublic(path: string, accept: string): Promise<string>;
  readiness(): Promise<Readiness>;
}

/** What is kept apart from the database, and says what its log must be. */
export interface KeptLog {
  /** The log's key; undefined: nobody here knows it. */
  readonly verifierKey: string | undefined;
  /** Checkpoints, read before the newest one is asked for: the log only grows. */
  readonly notes: readonly { readonly where: string; readonly note: string }[];
}

export interface Gathering {
  readonly kept: KeptLog;
  /** Of the program that judges. */
  readonly version: string;
  readonly now: () => number;
}

/** Asks the CA for all that the checks judge. */
export async function gatherFacts(ca: CheckedCa, { kept, version, now }: Gathering): Promise<CheckFacts> {
  const readiness = await ca.readiness();
  const notPermitted: string[] = [];
  /** What the caller may not read is not looked at, and said so. */
  async function permitted<T>(what: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (!isForbidden(error)) throw error;
      notPermitted.push(what);
      return undefined;
    }
  }
  const { authorities } = await ca.call<AuthorityList>("GET", paths.authorities);
  const vitals = await permitted("its vitals", () => ca.call<Vitals>("GET", paths.vitals));
  const nowMs = now();
  const proxies = await permitted("its proxies", () => readProxies(ca));
  return {
    nowMs, version, readiness, authorities, vitals, proxies, notPermitted,
    newestChain: await readNewestChain(ca),
    revocations: proxies && (await readRevocations(ca, proxies)),
    tokens: await permitted("API tokens", () => readTokens(ca)),
    operators: await permitted("operators", async () => (await ca.call<OperatorList>("GET", paths.operators)).operators),
    federation: await permitted("federation", async () => (await ca.call<FederationList>("GET", paths.federation)).federation),
    hubs: await permitted("hubs", async () => ca.call<FederationHubs>("GET", paths.hubs)),
    bundleSequence: await readSequence(ca),
    acmeDirectory: vitals?.acme && (await readDirectory(ca)),
    log: await permitted("the audit log", () => readLog(ca, kept)),
  };
}

function isForbidden(error: unknown): boolean {
  return error instanceof Error && "status" in error && error.status === 403;
}

async function readNewestChain(ca: CheckedCa): Promise<string | undefined> {
  const { certificates: [newest] } = await ca.call<CertificatePage>("GET", `${paths.certificates}?limit=1&status=valid`);
  return newest && (await ca.call<CertificateDetail>("GET", `${paths.certificates}/${newest.serialNumber}`)).chain;
}

/** Page by page: who serves them, or asks for them, has other things to do between. */
async function readProxies(ca: CheckedCa): Promise<Pick<ProxyList, "proxies" | "truncated">> {
  const proxies = new Map<string, ProxySummary>();
  let page: ProxyList | undefined;
  for (let pages = 0; pages < maxProxyPages && (page === undefined || page.nextCursor !== undefined); pages++) {
    const cursor = page?.nextCursor === undefined ? "" : `&cursor=${encodeURIComponent(page.nextCursor)}`;
    page = await ca.call<ProxyList>("GET", `${paths.proxies}?limit=1000${cursor}`);
    // What is listed is looked for again now and then, and one may come on two pages.
    for (const proxy of page.proxies) proxies.set(proxy.serialNumber, proxy);
  }
  return { proxies: [...proxies.values()], truncated: page?.truncated === true || page?.nextCursor !== undefined };
}

/** From where the proxy that is furthest behind stands: the oldest that it lacks is on the first page. */
async function readRevocations(ca: CheckedCa, { proxies }: Pick<ProxyList, "proxies">): Promise<readonly Revocation[]> {
  const sequences = proxies.flatMap(({ revocationSequence }) => (revocationSequence === undefined ? [] : [revocationSequence]));
  if (sequences.length === 0) return [];
  return (await ca.call<RevocationPage>("GET", `${paths.revocations}?after=${Math.min(...sequences)}`)).revocations;
}

/** Undefined for what is no bundle, which other checks say. */
async function readSequence(ca: CheckedCa): Promise<bigint | undefined> {
  const [, digits] = /"spiffe_sequence": ?(\d{1,20})\b/.exec(await ca.fetchPublic(paths.bundle, mediaType.json)) ?? [];
  return digits === undefined ? undefined : BigInt(digits);
}

/** Undefined for an answer that is none of a CA's: the check says so. */
async function readDirectory(ca: CheckedCa): Promise<string | undefined> {
  try {
    const text = await ca.fetchPublic("/acme/directory", "application/json");
    JSON.parse(text);
    return text;
  } catch (error) {
    if (error instanceof SyntaxError || (error instanceof Error && "status" in error)) return undefined;
    throw error;
  }
}

async function readTokens(ca: CheckedCa): Promise<readonly TokenSummary[]> {
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

async function readLog(ca: CheckedCa, { verifierKey, notes }: KeptLog): Promise<LogFacts> {
  const checkpoint = await ca.fetchPublic(paths.auditCheckpoint, "text/plain");
  const size = sizeOf(checkpoint);
  if (size === undefined || size === 0) return { checkpoint, verifierKey, kept: [] };
  const { entries: [entry] } = await ca.call<AuditEntryPage>("GET", `${paths.auditEntries}?start=${size - 1}&limit=1`);
  const proof = await ca.call<InclusionProof>("GET", `${paths.auditProof}?index=${size - 1}&size=${size}`);
  const kept = await Promise.all(notes.map(async (one) => ({ ...one, proof: await readConsistency(ca, sizeOf(one.note), size) })));
  return { checkpoint, verifierKey, kept, ...(entry && { newest: { entry, proof } }) };
}

async function readConsistency(ca: CheckedCa, oldSize: number | undefined, size: number): Promise<ConsistencyProof | undefined> {
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

/** More than the CA looks at. */
const maxProxyPages = 32;
/** 10 000 tokens. */
const maxTokenPages = 10;
