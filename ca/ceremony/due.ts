import type { Log } from "../log.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { parseCrl } from "../pki/crl.ts";
import { revocationInfoOf } from "../pki/revocation-info.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { CrlRow } from "../store/rows/crls.ts";
import type { Store } from "../store/store.ts";

/**
 * Of roots whose key is not in the store: which ceremonies have to be held, in time for people to meet: a quarter of an intermediate's or a CRL's life before its end, a
 * fifth of a root's; at once where its CRL lacks what was revoked. Pure.
 * @param crl  the newest one of the active root
 * @returns a sentence for each; empty where the root's key is in the store
 */
export function dueCeremonies(
  rows: readonly AuthorityRow[], crl: Pick<CrlRow, "thisUpdateMs" | "nextUpdateMs" | "crl"> | undefined, nowMs: number,
): readonly string[] {
  const root = outsideRootOf(rows);
  if (root === undefined) return [];
  const due: string[] = [];
  const hasNext = rows.some(({ type, state }) => type === "root" && state === "prepared");
  if (!hasNext && isDue(root, rootPart, nowMs)) due.push(rootDue(root));
  if (root.key.kind !== "offline") return due;
  const below = rows.filter(({ type, parentId }) => type === "intermediate" && parentId === root.id);
  const active = below.find(({ state }) => state === "active");
  if (!below.some(({ state }) => state === "prepared") && (active === undefined || isDue(active, intermediatePart, nowMs))) {
    const why = active === undefined
      ? "the root's key is offline and there is no intermediate" : `the intermediate ${active.id} ends ${at(active.notAfterMs)}`;
    due.push(`${why}: hold a ceremony (countersign ceremony request intermediate)`);
  }
  const unlisted = unlistedBy(root, rows, crl, nowMs);
  if (unlisted.length > 0) {
    due.push(`the CRL of the root ${root.id}, whose key is offline, does not list ${unlisted.join(", ")}, revoked since: have it signed anew (countersign ceremony request root-crl)`);
  } else if (crl !== undefined && isDue({ notBeforeMs: crl.thisUpdateMs, notAfterMs: crl.nextUpdateMs }, crlPart, nowMs)) {
    const when = at(crl.nextUpdateMs);
    due.push(`the CRL of the root ${root.id}, whose key is offline, ends ${when}: have it signed anew (countersign ceremony request root-crl)`);
  }
  return due;
}

export interface CeremonyWatch {
  /** What is due now. @throws {StoreError} */
  due(): Promise<readonly string[]>;
  /** Logs what is due, each once a day. @throws {StoreError} */
  look(): Promise<void>;
  /** Looks now and every hour. */
  start(): void;
  close(): void;
}

/** Watches over the dates by which ceremonies are to be held. */
export function ceremonyWatch({ store, rows, log, now }: {
  readonly store: Pick<Store, "crl">;
  readonly rows: () => readonly AuthorityRow[];
  readonly log: Log;
  readonly now: () => Date;
}): CeremonyWatch {
  let timer: NodeJS.Timeout | undefined;
  const loggedAtMs = new Map<string, number>();

  async function due(): Promise<readonly string[]> {
    const root = outsideRootOf(rows());
    return root === undefined ? [] : dueCeremonies(rows(), await store.crl(root.id, authoritiesList), now().getTime());
  }

  async function look(): Promise<void> {
    const nowMs = now().getTime();
    for (const sentence of await due()) {
      if (nowMs - (loggedAtMs.get(sentence) ?? -Infinity) < logIntervalMs) continue;
      loggedAtMs.set(sentence, nowMs);
      log.warn({}, sentence);
    }
  }

  return {
    due,
    look,
    start() {
      // A database that is away is told of elsewhere.
      const lookQuietly = (): void => void look().catch(() => undefined);
      lookQuietly();
      timer = setInterval(lookQuietly, lookIntervalMs).unref();
    },
    close: () => clearInterval(timer),
  };
}

/** A root of its own whose successor the CA cannot make by itself. */
function outsideRootOf(rows: readonly AuthorityRow[]): AuthorityRow | undefined {
  return rows.find(({ type, state, key }) => type === "root" && state === "active" && key.kind !== "sealed" && key.kind !== "upstream");
}

function rootDue({ id, key: { kind }, notAfterMs }: AuthorityRow): string {
  const where = { offline: "is offline", kms: "is in KMS", pkcs11: "is on a PKCS#11 token", sealed: "is in the store", upstream: "is another CA's" }[kind];
  const place = { offline: "", kms: ", --key kms:KEY-ID at its sign and import", pkcs11: ", --key pkcs11:URI at its sign and import", sealed: "", upstream: "" }[kind];
  return `the root ${id}, whose key ${where}, ends ${at(notAfterMs)}: make another one (countersign ceremony request root${place}${kind === "offline" ? "" : "; or name its key as nextRootKey"})`;
}

/** Serial numbers of what the root signed and its CRL should list by now; where there is none yet, of what says that there is one. */
function unlistedBy(root: AuthorityRow, rows: readonly AuthorityRow[], crl: Pick<CrlRow, "crl"> | undefined, nowMs: number): readonly string[] {
  const revoked = rows.filter(({ id, state }) => state === "revoked" && id !== root.id)
    .flatMap(({ certificate, crossCertificate }) => [certificate, ...(crossCertificate ? [crossCertificate] : [])].map(parseCertificate))
    .filter(({ authorityKeyIdentifier, notAfterMs }) => notAfterMs >= nowMs && Buffer.from(authorityKeyIdentifier ?? []).toString("hex") === root.id);
  const listed = crl?.crl && parseCrl(crl.crl).entries;
  return revoked.filter((certificate) => (listed === undefined ? revocationInfoOf(certificate).crlUrls.length > 0 : !listed.has(certificate.serialNumber)))
    .map(({ serialNumber }) => serialNumber);
}

function isDue({ notBeforeMs, notAfterMs }: Pick<AuthorityRow, "notBeforeMs" | "notAfterMs">, part: number, nowMs: number): boolean {
  return notAfterMs - nowMs < part * (notAfterMs - notBeforeMs);
}

function at(ms: number): string {
  return `at ${new Date(ms).toISOString()}`;
}

const intermediatePart = 1 / 4;
const crlPart = 1 / 4;
const rootPart = 1 / 5;
const lookIntervalMs = 3_600_000;
const logIntervalMs = 24 * 3_600_000;
const authoritiesList = "authorities.crl";
