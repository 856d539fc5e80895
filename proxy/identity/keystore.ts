import { closeSync, fsyncSync, lstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "../../ca/settings/folder.ts";

/** What a restart needs to go on as who it was. */
export interface StoredIdentity {
  /** PKCS#8. */
  readonly privateKeyPem: string;
  /** Leaf first. */
  readonly chainPem: string;
  /** Trust domain -> bundle text. */
  readonly bundles: Readonly<Record<string, string>>;
  /** Own trust domain. */
  readonly trustDomain: string;
  readonly caUrl: string;
  /** SHA-256 of the bootstrap string it descends from: another string means a new beginning. */
  readonly bootstrapHash: string | undefined;
}

/** A first request that was sent, or is about to be: its answer may be all that the token was good for. */
export interface StoredRequest {
  /** PKCS#8. */
  readonly privateKeyPem: string;
  /** Base64. */
  readonly csr: string;
  readonly idempotencyKey: string;
  readonly bootstrapHash: string;
}

/** What is revoked, as far as it was known. */
export interface StoredRevocations {
  /** Serial number, and when its certificate would have expired, ms since the epoch. */
  readonly entries: readonly (readonly [serialNumber: string, notAfterMs: number])[];
  /** Where to read on. */
  readonly sequence: number;
  /** Milliseconds since the epoch. */
  readonly completeAtMs: number;
  /** Whose CA's sequence it is; see StoredIdentity. */
  readonly bootstrapHash: string | undefined;
  /** Of the feed that `sequence` belongs to; absent in a file of an earlier version, as is `lastEventId`. */
  readonly feedEpoch?: string | undefined;
  /** Where the stream is resumed; the bundle that came before it is stored too. */
  readonly lastEventId?: string | undefined;
}

/** Who may call this workload, as far as it was known. */
export interface StoredPolicy {
  /** As the CA told it. */
  readonly text: string;
  /** Of the feed that its sequence belongs to; undefined: not known. */
  readonly feedEpoch?: string | undefined;
  /** Whose CA told it; see StoredIdentity. */
  readonly bootstrapHash: string | undefined;
}

/** Every method throws KeystoreError. */
export interface Keystore {
  /** Undefined when nothing was saved yet. */
  load(): StoredIdentity | undefined;
  /** When it returns, the whole of it is on disk; if we die before, the identity of before is. */
  save(identity: StoredIdentity): void;
  /** Undefined when there is none, or when its answer has arrived: an identity was saved after it. */
  loadRequest(): StoredRequest | undefined;
  /** When it returns, the whole of it is on disk. */
  saveRequest(request: StoredRequest): void;
  /** Undefined when none was saved yet. */
  loadRevocations(): StoredRevocations | undefined;
  /** When it returns, the whole of it is on disk; if we die before, the list of before is. */
  saveRevocations(revocations: StoredRevocations): void;
  /** Undefined when none was saved yet. */
  loadPolicy(): StoredPolicy | undefined;
  /** When it returns, the whole of it is on disk; if we die before, the policy of before is. */
  savePolicy(policy: StoredPolicy): void;
}

/** `keystore_exposed`: others could have read the key. */
export type KeystoreErrorCode = "keystore_exposed" | "keystore_unreadable" | "keystore_unwritable";

/** Why there is no telling, or no keeping, who we are; the message never quotes a file. */
export class KeystoreError extends Error {
  override readonly name = "KeystoreError";
  readonly code: KeystoreErrorCode;

  constructor(code: KeystoreErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/**
 * A folder of our own (0700, made if missing) with files that are replaced whole (0600).
 * @throws {KeystoreError} keystore_exposed | keystore_unwritable
 */
export function openKeystore(dir: string): Keystore {
  const identityPath = join(dir, "identity.json");
  const requestPath = join(dir, "request.json");
  const revocationsPath = join(dir, "revocations.json");
  const policyPath = join(dir, "policy.json");
  try {
    makeFolder(dir, 0o700);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === "EEXIST" ? "a file is there" : code;
    throw new KeystoreError("keystore_unwritable", `cannot make the folder ${dir} (${why}); name one that this user may write with --state-dir`, { cause });
  }
  refuseExposed(dir, "chmod 700", "folder");

  return {
    load: () => read(identityPath, isStoredIdentity),
    save(identity) {
      replace(dir, identityPath, identity);
      // If we die here, the request is sent again at the next start only when there is no identity, so never.
      rmSync(requestPath, { force: true });
    },
    loadRequest: () => read(requestPath, isStoredRequest),
    saveRequest: (request) => replace(dir, requestPath, request),
    loadRevocations: () => read(revocationsPath, isStoredRevocations),
    saveRevocations: (revocations) => replace(dir, revocationsPath, revocations),
    loadPolicy: () => read(policyPath, isStoredPolicy),
    savePolicy: (policy) => replace(dir, policyPath, policy),
  };
}

function read<T extends object>(path: string, isValid: (value: Record<string, unknown>) => boolean): T | undefined {
  if (!exists(path)) return undefined;
  refuseExposed(path, "chmod 600", "file");
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    // Without the cause: V8 quotes what it could not parse, and that may be the key.
    throw new KeystoreError(
      "keystore_unreadable", `${path} is not readable: ${(cause as NodeJS.ErrnoException).code ?? "not JSON"}; ${fresh}`,
    );
  }
  const fields = typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  if (fields["version"] !== formatVersion || !isValid(fields)) {
    throw new KeystoreError("keystore_unreadable", `${path} is not of this version; ${fresh}`);
  }
  return fields as T;
}

function replace(dir: string, path: string, content: object): void {
  const temporary = `${path}.new`;
  try {
    rmSync(temporary, { force: true });
    const file = openSync(temporary, "wx", 0o600);
    try {
      writeFileSync(file, JSON.stringify({ version: formatVersion, ...content }));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    // If we die before the rename, the file of before is whole; after it, the new one is.
    renameSync(temporary, path);
    syncFolder(dir);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

/** A rename is on disk only when its folder is. */
function syncFolder(dir: string): void {
  const folder = openSync(dir, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function exists(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw new KeystoreError(
      "keystore_unreadable", `cannot look at ${path}: ${(error as NodeJS.ErrnoException).code}`, { cause: error },
    );
  }
}

function refuseExposed(path: string, remedy: string, kind: "file" | "folder"): void {
  const stats = lstatSync(path);
  const own = process.getuid === undefined || stats.uid === process.getuid();
  const rightKind = kind === "file" ? stats.isFile() : stats.isDirectory();
  if (!rightKind) throw new KeystoreError("keystore_exposed", `${path} is refused: it is not a plain ${kind}`);
  if (!own) {
    throw new KeystoreError(
      "keystore_exposed", `${path} is refused: it belongs to another user; give it to the one the proxy runs as`,
    );
  }
  if ((stats.mode & 0o077) !== 0) {
    const mode = (stats.mode & 0o777).toString(8);
    throw new KeystoreError("keystore_exposed",
      `${path} is refused: with mode ${mode} others may read a private key in it; run ${remedy} ${path}, ` +
        "and delete it and make a new token if they could have");
  }
}

function isStoredIdentity({ privateKeyPem, chainPem, bundles, trustDomain, caUrl, bootstrapHash }: Record<string, unknown>): boolean {
  return [privateKeyPem, chainPem, trustDomain, caUrl].every((text) => typeof text === "string") &&
    (bootstrapHash === undefined || typeof bootstrapHash === "string") &&
    typeof bundles === "object" && bundles !== null && Object.values(bundles).every((text) => typeof text === "string");
}

function isStoredRequest({ privateKeyPem, csr, idempotencyKey, bootstrapHash }: Record<string, unknown>): boolean {
  return [privateKeyPem, csr, idempotencyKey, bootstrapHash].every((text) => typeof text === "string");
}

function isStoredRevocations({ entries, sequence, completeAtMs, bootstrapHash, feedEpoch, lastEventId }: Record<string, unknown>): boolean {
  return Array.isArray(entries) && entries.every(isStoredRevocation) && [sequence, completeAtMs].every(isCount) &&
    [bootstrapHash, feedEpoch, lastEventId].every((text) => text === undefined || typeof text === "string");
}

function isStoredPolicy({ text, feedEpoch, bootstrapHash }: Record<string, unknown>): boolean {
  return typeof text === "string" && [feedEpoch, bootstrapHash].every((value) => value === undefined || typeof value === "string");
}

function isStoredRevocation(entry: unknown): boolean {
  return Array.isArray(entry) && entry.length === 2 && typeof entry[0] === "string" && /^[0-9a-f]{2,40}$/.test(entry[0]) && isCount(entry[1]);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function unwritable(path: string, cause: unknown): KeystoreError {
  return new KeystoreError(
    "keystore_unwritable",
    `cannot write ${path} (${(cause as NodeJS.ErrnoException).code ?? "unknown"}); what should be there is in memory only`,
    { cause },
  );
}

const formatVersion = 1;
const fresh = "delete it and start with a new bootstrap string";
