import { generateKeyPairSync, hash, randomBytes } from "node:crypto";
import { checkpointSigner, type CheckpointSigner } from "../../ca/audit/checkpoint.ts";
import { encodeEntry, type AuditEvent } from "../../ca/audit/event.ts";
import { appendLeaf, emptyRange, hashLeaf, rootOf, type CompactRange } from "../../ca/audit/merkle.ts";
import type { RevocationReason } from "../../ca/contract.ts";
import type { CaState, CertificateRow, CheckpointRow, EntryRow, RevocationRow, Store } from "../../ca/store/store.ts";

/** The reading half of a store that `verifyLog` and proofs need, kept in arrays that a test may tamper with. */
export interface MemoryLog {
  readonly signer: CheckpointSigner;
  readonly store: MemoryLogReader;
  readonly rows: MemoryRows;
  /** Appends entries and seals them, as a commit does. */
  append(...bodies: readonly string[]): void;
  /** One act: appends the entry of the event. */
  record(event: AuditEvent): void;
  /** A certificate of random bytes with its row and its entry. @returns its serial number */
  issue(spiffeId?: string): string;
  revoke(serialNumber: string, reason: RevocationReason): void;
}

export type MemoryLogReader = Pick<
  Store, "state" | "entries" | "checkpoint" | "checkpoints" | "subtreeHashes" | "certificate" | "certificates" | "revocations"
>;

export interface MemoryRows {
  state: CaState | undefined;
  entries: EntryRow[];
  checkpoints: CheckpointRow[];
  /** Keys `level/index`. */
  subtrees: Map<string, Uint8Array>;
  certificates: CertificateRow[];
  revocations: RevocationRow[];
}

export function memoryLog({ origin = "countersign.dev/east/log" }: { readonly origin?: string } = {}): MemoryLog {
  const signer = checkpointSigner({
    origin, privateKeyPkcs8: generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" }),
  });
  const rows: MemoryRows = {
    state: { trustDomain: "east", bundleSequence: 1, logVerifierKey: signer.verifierKey, sealedLogKey: new Uint8Array(1), createdAtMs: startMs },
    entries: [], checkpoints: [], subtrees: new Map(), certificates: [], revocations: [],
  };
  let range: CompactRange = emptyRange;

  const append = (...bodies: readonly string[]) => {
    for (const body of bodies) {
      const leafHash = hashLeaf(body);
      rows.entries.push({ index: range.size, body, leafHash });
      range = appendLeaf(range, leafHash, (level, index, root) => rows.subtrees.set(`${level}/${index}`, root));
    }
    rows.checkpoints.push({ size: range.size, note: signer.sign(range.size, rootOf(range)) });
  };
  const nowMs = () => startMs + range.size * 1000;
  const record = (event: AuditEvent) => append(encodeEntry(event, "system", nowMs()));
  record({ type: "ca.initialized", trustDomain: "east", logKey: signer.verifierKey });

  return {
    signer, rows, append, record, store: readerOf(rows),
    issue(spiffeId = "spiffe://east/ns/shop/sa/cart") {
      const row: CertificateRow = {
        serialNumber: randomBytes(16).toString("hex"), spiffeId, dnsNames: ["cart.shop"], notBeforeMs: nowMs(), notAfterMs: nowMs() + dayMs,
        authorityId: "aa".repeat(20), attestation: "join-token", certificate: randomBytes(64), keyFingerprint: randomBytes(32),
        issuedAtMs: nowMs(), logIndex: range.size,
      };
      rows.certificates.push(row);
      record(issuedEvent(row));
      return row.serialNumber;
    },
    revoke(serialNumber, reason) {
      const index = rows.certificates.findIndex((row) => row.serialNumber === serialNumber);
      const row = { ...rows.certificates[index]!, revokedAtMs: nowMs(), revocationReason: reason };
      rows.certificates[index] = row;
      rows.revocations.push({ sequence: range.size + 1, serialNumber, reason, revokedAtMs: row.revokedAtMs, notAfterMs: row.notAfterMs });
      record({ type: "certificate.revoked", serialNumber, spiffeId: row.spiffeId, reason });
    },
  };
}

/** The event an issuance of this row is recorded with. */
export function issuedEvent(row: CertificateRow): AuditEvent {
  return {
    type: "certificate.issued",
    serialNumber: row.serialNumber,
    spiffeId: row.spiffeId,
    dnsNames: row.dnsNames,
    fingerprint: hash("sha256", row.certificate),
    keyFingerprint: Buffer.from(row.keyFingerprint).toString("hex"),
    notBefore: new Date(row.notBeforeMs).toISOString(),
    notAfter: new Date(row.notAfterMs).toISOString(),
    authorityId: row.authorityId,
    attestation: row.attestation,
  };
}

function readerOf(rows: MemoryRows): MemoryLogReader {
  const ascending = <Row>(all: readonly Row[], keyOf: (row: Row) => number, from: number, limit: number) =>
    all.filter((row) => keyOf(row) >= from).sort((one, other) => keyOf(one) - keyOf(other)).slice(0, limit);
  return {
    state: async () => rows.state,
    entries: async ({ start, limit }) => ascending(rows.entries, (row) => row.index, start, limit),
    checkpoint: async () => ascending(rows.checkpoints, (row) => row.size, 0, Infinity).at(-1),
    checkpoints: async ({ after, limit }) => ascending(rows.checkpoints, (row) => row.size, after + 1, limit),
    async subtreeHashes({ level, start, limit }) {
      const of = [...rows.subtrees].map(([key, root]) => ({ at: key.split("/").map(Number), root })).filter(({ at }) => at[0] === level);
      return ascending(of, ({ at }) => at[1]!, start, limit).map(({ root }) => root);
    },
    certificate: async (serialNumber) => rows.certificates.find((row) => row.serialNumber === serialNumber),
    certificates: async ({ limit, before = Infinity }) =>
      rows.certificates.filter((row) => row.logIndex < before).sort((one, other) => other.logIndex - one.logIndex).slice(0, limit),
    revocations: async ({ after, limit }) => ascending(rows.revocations, (row) => row.sequence, after + 1, limit),
  };
}

const startMs = Date.UTC(2026, 0, 1);
const dayMs = 24 * 60 * 60 * 1000;
