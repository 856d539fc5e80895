import { generateKeyPairSync } from "node:crypto";
import { checkpointSigner } from "../../ca/audit/checkpoint.ts";
import { appendLeaf, emptyRange, hashLeaf, rootOf, type CompactRange } from "../../ca/audit/merkle.ts";
import type { LogReader } from "../../ca/audit/verify.ts";
import type { Act } from "../../ca/store/acts.ts";
import type { AuthorityRow } from "../../ca/store/rows/authorities.ts";
import type { CaState } from "../../ca/store/rows/ca-state.ts";
import type { CeremonyRow } from "../../ca/store/rows/ceremonies.ts";
import type { CertificateRow } from "../../ca/store/rows/certificates.ts";
import type { CrlRow } from "../../ca/store/rows/crls.ts";
import type { DocumentRow } from "../../ca/store/rows/documents.ts";
import type { AnnouncementRow } from "../../ca/store/rows/feed.ts";
import type { CheckpointRow, EntryRow } from "../../ca/store/rows/log.ts";
import type { RevocationRow } from "../../ca/store/rows/revocations.ts";
import type { TokenRow } from "../../ca/store/rows/tokens.ts";

/** The tables of a store that the log tells of, as arrays that a test may tamper with. */
export interface MemoryRows {
  state: CaState | undefined;
  entries: EntryRow[];
  checkpoints: CheckpointRow[];
  /** Keys `level/index`. */
  subtrees: Map<string, Uint8Array>;
  certificates: CertificateRow[];
  revocations: RevocationRow[];
  tokens: TokenRow[];
  authorities: AuthorityRow[];
  documents: DocumentRow[];
  crls: CrlRow[];
  ceremonies: CeremonyRow[];
  announcements: AnnouncementRow[];
}

export interface MemoryLog {
  readonly verifierKey: string;
  readonly privateKeyPkcs8: Uint8Array;
  readonly rows: MemoryRows;
  /** Does what a store does with a group of acts none of which is refused. */
  commit(acts: readonly Act[]): void;
  /** Signs like the log. */
  sign(size: number, root: Uint8Array): string;
}

export function memoryLog(origin = "countersign.dev/east/log"): MemoryLog {
  const privateKeyPkcs8 = generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
  const { verifierKey, sign } = checkpointSigner({ origin, privateKeyPkcs8 });
  const rows: MemoryRows = {
    state: undefined, entries: [], checkpoints: [], subtrees: new Map(), certificates: [], revocations: [], tokens: [], authorities: [], documents: [],
    crls: [], ceremonies: [], announcements: [],
  };
  let range: CompactRange = emptyRange;
  return {
    verifierKey, privateKeyPkcs8, sign, rows,
    commit(acts) {
      for (const act of acts) {
        takeEffect(act, rows, range.size);
        for (const body of act.entries) {
          const leafHash = hashLeaf(body);
          rows.entries.push({ index: range.size, body, leafHash });
          range = appendLeaf(range, leafHash, (level, index, hash) => rows.subtrees.set(`${level}/${index}`, hash));
        }
      }
      rows.checkpoints.push({ size: range.size, note: sign(range.size, rootOf(range)) });
    },
  };
}

/** Reads the rows as a store does. */
export function memoryReader(rows: MemoryRows): LogReader {
  const ascending = <Row>(all: readonly Row[], keyOf: (row: Row) => number, from: number, limit: number) =>
    all.filter((row) => keyOf(row) >= from).sort((one, other) => keyOf(one) - keyOf(other)).slice(0, limit);
  return {
    state: async () => rows.state,
    entries: async ({ start, limit }) => ascending(rows.entries, (row) => row.index, start, limit),
    checkpoint: async () => ascending(rows.checkpoints, (row) => row.size, 0, Infinity).at(-1),
    checkpoints: async ({ after, limit }) => ascending(rows.checkpoints, (row) => row.size, after + 1, limit),
    async subtreeHashes({ level, start, limit }) {
      const all = [...rows.subtrees].map(([key, hash]) => ({ at: key.split("/").map(Number), hash })).filter(({ at }) => at[0] === level);
      return ascending(all, ({ at }) => at[1]!, start, limit).map(({ hash }) => hash);
    },
    certificate: async (serialNumber) => rows.certificates.find((row) => row.serialNumber === serialNumber),
    certificates: async ({ limit, before = Infinity }) =>
      rows.certificates.filter((row) => row.logIndex < before).sort((one, other) => other.logIndex - one.logIndex).slice(0, limit),
    revocations: async ({ after, limit }) => ascending(rows.revocations, (row) => row.sequence, after + 1, limit),
    async tokens({ limit, before }) {
      const newestFirst = rows.tokens.filter((row) => row.deletedAtMs === undefined).reverse();
      const start = before === undefined ? 0 : newestFirst.findIndex(({ id }) => id === before) + 1;
      return newestFirst.slice(start, start + limit);
    },
    authorities: async () => rows.authorities,
    crls: async () => rows.crls,
    ceremonies: async ({ limit }) => rows.ceremonies.slice(0, limit),
    announcements: async ({ after, nowMs, limit }) => ascending(rows.announcements.filter(({ expiresAtMs }) => expiresAtMs > nowMs), (row) => row.sequence, after + 1, limit),
    documents: async ({ after }) => ascending(rows.documents, (row) => row.sequence, after + 1, Infinity),
  };
}

function takeEffect(act: Act, rows: MemoryRows, logIndex: number): void {
  if (act.announce) rows.announcements.push({ ...act.announce, sequence: logIndex + 1 });
  for (const ceremony of act.answers?.ceremonies ?? []) edit(rows.ceremonies, ({ id }) => id === ceremony, (row) => ({ ...row, closedAtMs: act.answers!.closedAtMs }));
  switch (act.kind) {
    case "initialize":
      rows.state = act.state;
      rows.authorities.push(...act.authorities);
      rows.tokens.push(...act.tokens);
      return;
    case "issue":
      rows.certificates.push({ ...act.certificate, logIndex });
      if (act.redeem) edit(rows.tokens, ({ id }) => id === act.redeem!.tokenId, (token) => ({ ...token, redeemedAtMs: act.certificate.issuedAtMs }));
      return;
    case "revoke": {
      const { serialNumber, reason, revokedAtMs } = act;
      const { notAfterMs, authorityId } = rows.certificates.find((row) => row.serialNumber === serialNumber)!;
      rows.revocations.push({ sequence: logIndex + 1, serialNumber, reason, revokedAtMs, notAfterMs, authorityId });
      return;
    }
    case "create-token":
      rows.tokens.push(act.token);
      return;
    case "delete-token":
      edit(rows.tokens, ({ id }) => id === act.tokenId, (token) => ({ ...token, deletedAtMs: act.deletedAtMs }));
      return;
    case "change-authorities":
      if (act.bundleSequence) rows.state = { ...rows.state!, bundleSequence: act.bundleSequence.to };
      for (const { authorityId, to } of act.changes ?? []) edit(rows.authorities, ({ id }) => id === authorityId, (row) => ({ ...row, state: to }));
      rows.authorities.push(...act.add ?? []);
      for (const [index, revocation] of act.revocations?.entries() ?? []) rows.revocations.push({ ...revocation, sequence: logIndex + index + 1 });
      return;
    case "change-documents":
      for (const change of act.changes) {
        rows.documents = [...rows.documents.filter(({ kind, name }) => kind !== change.kind || name !== change.name), { ...change, sequence: logIndex + 1 }];
      }
      return;
    case "publish-crl":
      rows.crls = [...rows.crls.filter(({ authorityId, list }) => authorityId !== act.crl.authorityId || list !== act.crl.list), act.crl];
      return;
    case "request-ceremony":
      rows.ceremonies.push(act.ceremony);
      return;
    case "reseal":
    case "record":
      return;
  }
}

/** Replaces the first row that fits. */
export function edit<Row>(rows: Row[], fits: (row: Row) => boolean, change: (row: Row) => Row): void {
  const at = rows.findIndex(fits);
  if (at < 0) throw new Error("no such row to edit");
  rows[at] = change(rows[at]!);
}
