import { createHash } from "node:crypto";
import { parseCheckpoint } from "../../ca/audit/checkpoint.ts";
import { parseNote, parseVerifierKey, verifyNote } from "../../ca/audit/note.ts";
import type { EntryRow } from "../../ca/store/rows/log.ts";
import type { Store } from "../../ca/store/store.ts";

/**
 * Whether a store keeps what `store.ts` promises: recomputes the log from its entries' bodies, by the recursive definition of
 * RFC 6962 and without a line of ca/audit/merkle.ts, and holds every stored hash, every checkpoint and every row against it.
 * @returns the entries' bodies
 * @throws if anything does not fit
 */
export async function verifyStore(store: Store, verifierKey: string): Promise<readonly string[]> {
  const entries = await store.entries({ start: 0, limit: 1_000_000 });
  entries.forEach((entry, index) => claim(entry.index === index, `entry ${index} is missing`));
  for (const { index, body, leafHash } of entries) claim(sha256(Buffer.of(0), Buffer.from(body)).equals(leafHash), `leaf hash ${index}`);

  const checkpoints = await store.checkpoints({ after: 0, limit: 1_000_000 });
  for (const { size, note } of checkpoints) {
    verifyNote(parseNote(note), [parseVerifierKey(verifierKey)]);
    const signed = parseCheckpoint(parseNote(note));
    claim(signed.size === size && root(entries, 0, size).equals(signed.root), `checkpoint over ${size}`);
  }
  claim((checkpoints.at(-1)?.size ?? 0) === entries.length, "the newest checkpoint is over all entries");
  claim((await store.checkpoint())?.note === checkpoints.at(-1)?.note, "checkpoint() is the newest");

  const subtrees = await store.subtreeHashes({ level: 1, start: 0, limit: 1_000_000 });
  claim(subtrees.length === Math.floor(entries.length / 256), "one hash for each 256 entries");
  subtrees.forEach((hash, index) => claim(root(entries, index * 256, (index + 1) * 256).equals(hash), `subtree ${index}`));

  const certificates = await store.certificates({ limit: 1_000_000, nowMs: 0 });
  for (const { logIndex, serialNumber } of certificates) {
    claim(entries[logIndex]?.body.includes(serialNumber) === true, `the entry of certificate ${serialNumber}`);
  }
  claim(unique(certificates.map(({ serialNumber }) => serialNumber)), "serial numbers are unique");
  claim(unique(certificates.map(({ keyFingerprint }) => Buffer.from(keyFingerprint).toString("hex"))), "keys are unique");
  const recorded = entries.filter(({ body }) => (JSON.parse(body) as { type: string }).type === "certificate.issued");
  claim(recorded.length === certificates.length, `${recorded.length} issuances in the log, ${certificates.length} certificates`);

  const revocations = await store.revocations({ after: 0, limit: 1_000_000 });
  for (const { sequence, serialNumber } of revocations) {
    claim(entries[sequence - 1]?.body.includes(serialNumber) === true, `the entry of revocation ${sequence}`);
  }
  claim((await store.revocationSequence()) === (revocations.at(-1)?.sequence ?? 0), "revocationSequence() is the newest");
  return entries.map(({ body }) => body);
}

/** RFC 6962 2.1: the left subtree is the largest power of two below the size. */
function root(entries: readonly EntryRow[], start: number, end: number): Buffer {
  const size = end - start;
  if (size === 0) return sha256();
  if (size === 1) return sha256(Buffer.of(0), Buffer.from(entries[start]!.body));
  let left = 1;
  while (left * 2 < size) left *= 2;
  return sha256(Buffer.of(1), root(entries, start, start + left), root(entries, start + left, end));
}

function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function unique(names: readonly string[]): boolean {
  return new Set(names).size === names.length;
}

function claim(holds: boolean, what: string): void {
  if (!holds) throw new Error(`the store does not hold: ${what}`);
}
