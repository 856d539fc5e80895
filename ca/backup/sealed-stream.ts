import { createCipheriv, createDecipheriv, createHmac, randomBytes, scrypt, timingSafeEqual, type ScryptOptions } from "node:crypto";
import { BackupError } from "./errors.ts";

/**
 * A stream of bytes sealed with a passphrase, read and written in bounded memory.
 *
 * Version 1: magic | salt (32) | proof (32), then chunks of 64 KiB, each AES-256-GCM with its tag behind it. The nonce is the
 * chunk's number and whether it is the last, so chunks cannot be reordered, removed or cut off unseen. The keys are scrypt's of
 * the passphrase and the salt; the proof tells a wrong passphrase from a damaged file.
 * @param cost  of scrypt; tests spare it
 * @source Hoang, Reyhanitabar, Rogaway, Vizar: Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance (STREAM), as in age
 */
export async function* sealStream(passphrase: string, plain: AsyncIterable<Uint8Array>, cost = scryptCost): AsyncGenerator<Uint8Array> {
  requirePassphrase(passphrase);
  const header = Buffer.concat([magic, randomBytes(saltBytes)]);
  const keys = await deriveKeys(passphrase, header, cost);
  yield Buffer.concat([header, proofOf(keys, header)]);
  let number = 0;
  // One chunk is held back: only at the end is it known to be the last.
  for await (const { chunk, last } of rechunk(plain, chunkBytes)) {
    const cipher = createCipheriv("aes-256-gcm", keys.seal, nonceOf(number, last));
    yield Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
    number += 1;
  }
}

/**
 * Opens what `sealStream` made. What it yields is authentic; that nothing is missing is known when it ends.
 * @throws {BackupError} format_unknown | passphrase_wrong | backup_damaged
 */
export async function* openStream(passphrase: string, sealed: AsyncIterable<Uint8Array>, cost = scryptCost): AsyncGenerator<Uint8Array> {
  const bytes = splitAfter(sealed, headerBytes);
  const head = (await bytes.next()).value ?? Buffer.alloc(0);
  if (head.length < magic.length || !head.subarray(0, magic.length).equals(magic)) {
    throw new BackupError("format_unknown", "this file is not a backup of a countersign CA, or of a version that this one cannot read");
  }
  if (head.length < headerBytes) throw damaged("it ends within its first bytes");
  const header = head.subarray(0, magic.length + saltBytes);
  const keys = await deriveKeys(passphrase, header, cost);
  if (!timingSafeEqual(proofOf(keys, header), head.subarray(header.length))) {
    throw new BackupError("passphrase_wrong", "the passphrase is not the one this backup was sealed with (or the first bytes of the file were altered)");
  }
  let number = 0;
  for await (const { chunk, last } of rechunk(bytes, chunkBytes + tagBytes)) {
    const decipher = createDecipheriv("aes-256-gcm", keys.seal, nonceOf(number, last), { authTagLength: tagBytes });
    if (chunk.length < tagBytes) throw damaged(`it ends within chunk ${number}`);
    decipher.setAuthTag(chunk.subarray(-tagBytes));
    const plain = decipher.update(chunk.subarray(0, -tagBytes));
    try {
      decipher.final();
    } catch (cause) {
      throw damaged(last ? `its end, chunk ${number}, was altered or is missing` : `chunk ${number} was altered`, cause);
    }
    yield plain;
    number += 1;
  }
}

/** @throws {BackupError} passphrase_unfit */
export function requirePassphrase(passphrase: string): void {
  if (passphrase.length >= minPassphraseLength) return;
  throw new BackupError("passphrase_unfit", `the passphrase is shorter than ${minPassphraseLength} characters: whoever guesses it has the CA's keys; take a longer one (openssl rand -base64 24)`);
}

interface Keys {
  readonly seal: Buffer;
  readonly proof: Buffer;
}

function deriveKeys(passphrase: string, header: Buffer, cost: ScryptOptions): Promise<Keys> {
  return new Promise((resolve, reject) => {
    const salt = header.subarray(magic.length);
    scrypt(passphrase.normalize("NFC"), salt, 64, cost, (error, derived) => {
      if (error) reject(error);
      else resolve({ seal: derived.subarray(0, 32), proof: derived.subarray(32) });
    });
  });
}

function proofOf({ proof }: Keys, header: Buffer): Buffer {
  return createHmac("sha256", proof).update(header).digest();
}

function nonceOf(number: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(number, 0, 6);
  nonce[11] = last ? 1 : 0;
  return nonce;
}

/** The same bytes in chunks of one size; the last, which may be shorter or empty, says so. */
async function* rechunk(source: AsyncIterable<Uint8Array>, sizeBytes: number): AsyncGenerator<{ readonly chunk: Buffer; readonly last: boolean }> {
  let held = Buffer.alloc(0);
  for await (const part of source) {
    held = Buffer.concat([held, part]);
    let offset = 0;
    // Never the whole of it: what is left may be the last.
    for (; held.length - offset > sizeBytes; offset += sizeBytes) yield { chunk: held.subarray(offset, offset + sizeBytes), last: false };
    held = held.subarray(offset);
  }
  yield { chunk: held, last: true };
}

/** First that many bytes, as one part, then the rest. */
async function* splitAfter(source: AsyncIterable<Uint8Array>, sizeBytes: number): AsyncGenerator<Buffer> {
  let head: Buffer | undefined = Buffer.alloc(0);
  for await (const part of source) {
    if (head === undefined) {
      yield Buffer.from(part);
      continue;
    }
    head = Buffer.concat([head, part]);
    if (head.length < sizeBytes) continue;
    yield head.subarray(0, sizeBytes);
    yield head.subarray(sizeBytes);
    head = undefined;
  }
  if (head !== undefined) yield head;
}

function damaged(fact: string, cause?: unknown): BackupError {
  return new BackupError("backup_damaged", `the backup is damaged: ${fact}. Nothing was restored; take another copy of it`, { cause });
}

const magic = Buffer.from("countersign backup 1\n");
const saltBytes = 32;
const headerBytes = magic.length + saltBytes + 32;
const chunkBytes = 64 * 1024;
const tagBytes = 16;
/** 128 MB and some 0.4 s for each guess. (OWASP Password Storage Cheat Sheet: N=2^17, r=8, p=1) */
const scryptCost = { N: 2 ** 17, r: 8, p: 1, maxmem: 256 * 1024 * 1024 };
const minPassphraseLength = 12;
