import type { Row } from "../store/table-copy.ts";
import { BackupError } from "./errors.ts";

/** What a backup is made of, one JSON text a line; the last is `end`. */
export type BackupRecord =
  | { readonly kind: "backup"; readonly trustDomain: string; readonly createdAt: string; readonly checkpoint: string }
  /** A file of the data folder. */
  | { readonly kind: "file"; readonly name: string; readonly content: string }
  | { readonly kind: "rows"; readonly table: string; readonly rows: readonly Row[] }
  | { readonly kind: "end" };

/** Writes a record as one line of JSON. */
export function encodeRecord(record: BackupRecord): Uint8Array {
  return Buffer.from(`${JSON.stringify(record, encodeBytes)}\n`);
}

/** @throws {BackupError} backup_damaged */
export async function* decodeRecords(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<BackupRecord> {
  let parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const part of bytes) {
    let rest = Buffer.from(part.buffer, part.byteOffset, part.length);
    for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
      yield JSON.parse(Buffer.concat([...parts, rest.subarray(0, end)]).toString(), decodeBytes) as BackupRecord;
      [parts, sizeBytes, rest] = [[], 0, rest.subarray(end + 1)];
    }
    parts.push(rest);
    sizeBytes += rest.length;
    if (sizeBytes > maxRecordBytes) throw new BackupError("backup_damaged", "the backup holds a record that no version of ours writes");
  }
}

/** Bytes as `{"$bytes": base64}`: no row has such a value. */
function encodeBytes(this: unknown, key: string, value: unknown): unknown {
  // Buffers have turned themselves into something else by the time a replacer sees them.
  const original: unknown = (this as Record<string, unknown>)[key];
  return original instanceof Uint8Array ? { $bytes: Buffer.from(original).toString("base64") } : value;
}

function decodeBytes(_key: string, value: unknown): unknown {
  const bytes = typeof value === "object" && value !== null && "$bytes" in value ? value.$bytes : undefined;
  return typeof bytes === "string" ? Buffer.from(bytes, "base64") : value;
}

const newline = 10;
/** A page of a thousand rows is some 3 MB; a row of a large CRL may be more. */
const maxRecordBytes = 256 * 1024 * 1024;
