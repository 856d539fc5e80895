/** Why a backup was not made or not taken back. */
export type BackupErrorCode =
  | "passphrase_unfit"
  /** There is no CA to back up. */
  | "store_empty"
  | "file_unusable"
  /** Not a backup of ours, or of a version that this one cannot read. */
  | "format_unknown"
  /** Wrong, or the file's beginning was altered. */
  | "passphrase_wrong"
  /** Altered or cut off. */
  | "backup_damaged"
  | "restore_refused";

/** A backup that cannot be made or read. The message never holds what is in it. */
export class BackupError extends Error {
  override readonly name = "BackupError";
  readonly code: BackupErrorCode;

  constructor(code: BackupErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
