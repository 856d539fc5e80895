import { parseCheckpoint } from "../audit/checkpoint.ts";
import { parseNote } from "../audit/note.ts";
import { newFeedEpoch } from "../first-start.ts";
import { copyTables, type Copied, type CopyProgress, type Row, type TablePage, type TableTarget } from "../store/table-copy.ts";
import type { CarriedFile } from "./backup.ts";
import { BackupError } from "./errors.ts";
import { decodeRecords, type BackupRecord } from "./records.ts";
import { openStream } from "./sealed-stream.ts";

export interface RestoreRequest {
  readonly sealed: AsyncIterable<Uint8Array>;
  readonly passphrase: string;
  /** Opened when the passphrase is known to be right. */
  readonly target: () => Promise<TableTarget>;
  /** Called when everything has arrived and verifies, before the target is committed. */
  readonly saveFiles: (files: readonly CarriedFile[]) => void;
  /** Checkpoints kept elsewhere: a backup whose log does not contain them is refused. */
  readonly checkpoints: readonly string[];
  readonly onProgress?: (progress: CopyProgress) => void;
}

export interface Restored extends Copied {
  readonly trustDomain: string;
  readonly createdAt: string;
}

/**
 * Fills an empty store from a backup. Nothing is in it before all of the backup was read, found authentic and verified.
 * @throws {BackupError} format_unknown | passphrase_wrong | backup_damaged | restore_refused; {StoreError}
 */
export async function restore({ sealed, passphrase, target: openTarget, saveFiles, checkpoints, onProgress }: RestoreRequest): Promise<Restored> {
  const records = decodeRecords(openStream(passphrase, sealed));
  const { value: first } = await records.next();
  if (first === undefined || first.kind !== "backup") throw new BackupError("format_unknown", "this backup does not begin with what it is of");
  const { size } = parseCheckpoint(parseNote(first.checkpoint));
  for (const note of checkpoints) {
    const witnessed = parseCheckpoint(parseNote(note));
    if (witnessed.size > size) {
      throw new BackupError("restore_refused", `this backup is older than a checkpoint you keep: its log ends at ${size} entries, and ${witnessed.size} were ` +
        "witnessed. What was issued and revoked in between would be forgotten. Take a newer backup; if there is none, restore without " +
        "--checkpoint, and the start will ask you to accept the loss");
    }
  }
  const target = await openTarget();
  try {
    const files: CarriedFile[] = [];
    const copied = await copyTables({
      pages: pagesOf(records, files), target, checkpoint: first.checkpoint, witnessed: checkpoints,
      beforeCommit: () => saveFiles(files),
      ...(onProgress && { onProgress }),
    });
    return { ...copied, trustDomain: first.trustDomain, createdAt: first.createdAt };
  } finally {
    await target.close();
  }
}

/** The rows, and aside from them the files. */
async function* pagesOf(records: AsyncIterable<BackupRecord>, files: CarriedFile[]): AsyncGenerator<TablePage> {
  let ended = false;
  for await (const record of records) {
    if (record.kind === "file") files.push({ name: record.name, content: record.content });
    if (record.kind === "rows") yield { table: record.table, rows: record.table === "ca_state" ? record.rows.map(withNewFeed) : record.rows };
    ended = record.kind === "end";
  }
  if (!ended) throw new BackupError("backup_damaged", "the backup ends too early. Nothing was restored; take another copy of it");
}

/** The feed starts over: its numbers may go back to before what proxies have seen. */
function withNewFeed(state: Row): Row {
  return { ...state, feedEpoch: newFeedEpoch() };
}
