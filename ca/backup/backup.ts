import { everyPage, type CopyProgress, type TableSource } from "../store/table-copy.ts";
import { BackupError } from "./errors.ts";
import { encodeRecord, type BackupRecord } from "./records.ts";
import { sealStream } from "./sealed-stream.ts";

/** A file that is carried along: the sealing key, without which the store's keys cannot be opened. */
export interface CarriedFile {
  readonly name: string;
  readonly content: string;
}

export interface BackupRequest {
  readonly source: TableSource;
  readonly files: readonly CarriedFile[];
  readonly passphrase: string;
  readonly now: Date;
  readonly onProgress?: (progress: CopyProgress) => void;
}

/**
 * The whole of a CA as sealed bytes: every row of every table at one instant, and the files.
 * @throws {BackupError} passphrase_unfit | store_empty; {StoreError}
 */
export function backup(request: BackupRequest): AsyncIterable<Uint8Array> {
  return sealStream(request.passphrase, encoded(records(request)));
}

async function* records({ source, files, now, onProgress = () => {} }: BackupRequest): AsyncGenerator<BackupRecord> {
  const [state, checkpoint] = await Promise.all([source.reads.state(), source.reads.checkpoint()]);
  if (state === undefined || checkpoint === undefined) throw new BackupError("store_empty", "there is no CA in the store; is --store or --data-dir the right one?");
  yield { kind: "backup", trustDomain: state.trustDomain, createdAt: now.toISOString(), checkpoint: checkpoint.note };
  for (const { name, content } of files) yield { kind: "file", name, content };
  let done = 0;
  let of = "";
  for await (const { table, rows, total = 0 } of everyPage(source)) {
    yield { kind: "rows", table, rows };
    done = table === of ? done + rows.length : rows.length;
    onProgress({ stage: of = table, done, total });
  }
  yield { kind: "end" };
}

async function* encoded(source: AsyncIterable<BackupRecord>): AsyncGenerator<Uint8Array> {
  for await (const record of source) yield encodeRecord(record);
}
