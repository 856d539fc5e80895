import { PkiError } from "./errors.ts";

/** The labels we read and write. @source RFC 7468 section 4 */
export type PemLabel = "CERTIFICATE" | "CERTIFICATE REQUEST" | "PUBLIC KEY" | "PRIVATE KEY" | "X509 CRL";

export interface DecodePemOptions {
  /** Allow text before, between and behind the blocks, as openssl writes into bundles. Default false: blank lines only. */
  readonly allowText?: boolean;
  /** Most blocks to accept. Default 64. */
  readonly maxBlocks?: number;
  /** Longest text to look at, in characters. Default 1 MiB. */
  readonly maxChars?: number;
}

/**
 * Reads one or more PEM blocks that all carry `label`: 64 columns, canonical base64, no headers, LF or CRLF.
 * @returns the DER of each block, in order; never empty
 * @throws {PkiError} pem_malformed | pem_limit_exceeded
 * @source RFC 7468 section 3, the strict grammar
 */
export function decodePem(text: string, label: PemLabel, options: DecodePemOptions = {}): Uint8Array[] {
  const { allowText = false, maxBlocks = defaultMaxBlocks, maxChars = defaultMaxChars } = options;
  if (text.length > maxChars) throw limitExceeded(`${text.length} characters, the limit is ${maxChars}`);
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const blocks: Uint8Array[] = [];
  let body: string[] | undefined;
  for (const rawLine of text.split("\n")) {
    const line = rawLine.endsWith("\r") ? rawLine.slice(0, -1) : rawLine;
    if (body !== undefined) {
      if (line !== end) {
        body.push(line);
        continue;
      }
      blocks.push(decodeBody(body));
      body = undefined;
    } else if (line === begin) {
      if (blocks.length === maxBlocks) throw limitExceeded(`more than ${maxBlocks} blocks`);
      body = [];
    } else if (line.includes("-----")) {
      // Another label, or a boundary bent just enough that a laxer reader would see a block here.
      throw malformed(`a boundary line that is not "${begin}"`);
    } else if (!allowText && !/^[ \t]*$/.test(line)) {
      throw malformed("text outside the blocks");
    }
  }
  if (body !== undefined) throw malformed(`no line "${end}"`);
  if (blocks.length === 0) throw malformed(`no line "${begin}"`);
  return blocks;
}

/** Writes one PEM block: 64 columns, LF, a final newline. @source RFC 7468 section 3 */
export function encodePem(label: PemLabel, der: Uint8Array): string {
  const base64 = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString("base64");
  let lines = "";
  for (let offset = 0; offset < base64.length; offset += columns) lines += `${base64.slice(offset, offset + columns)}\n`;
  return `-----BEGIN ${label}-----\n${lines}-----END ${label}-----\n`;
}

function decodeBody(lines: readonly string[]): Uint8Array {
  if (lines.length === 0) throw malformed("a block without content");
  for (const [index, line] of lines.entries()) {
    const last = index === lines.length - 1;
    if (last ? line.length > columns || line.length === 0 : line.length !== columns) {
      throw malformed(`a line that is not ${columns} characters long (only the last may be shorter)`);
    }
  }
  const base64 = lines.join("");
  const der = Buffer.from(base64, "base64");
  // Node skips what is not base64 and ignores stray bits; only canonical text comes back as it went in.
  if (der.toString("base64") !== base64) throw malformed("content that is not canonical base64");
  return der;
}

function malformed(detail: string): PkiError {
  return new PkiError("pem_malformed", `not the expected PEM: ${detail}`);
}

function limitExceeded(detail: string): PkiError {
  return new PkiError("pem_limit_exceeded", `PEM is too large: ${detail}`);
}

const columns = 64;
const defaultMaxBlocks = 64;
const defaultMaxChars = 1024 * 1024;
