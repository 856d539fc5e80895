import { PkiError } from "./errors.ts";

/** All a proxy needs to get its first certificate (DESIGN 6). */
export interface Bootstrap {
  /** `https://host:port` of the CA. */
  readonly caUrl: string;
  /** The join token: one use, so the string is worthless once redeemed. */
  readonly token: string;
  /** SHA-256 of the root certificate's DER, lower-case hex: the only thing trusted before the first certificate. */
  readonly rootFingerprint: string;
  readonly trustDomain: string;
}

/** The one string `countersign token create` prints: a prefix secret scanners can know, then base64url of JSON. */
export function encodeBootstrap({ caUrl, token, rootFingerprint, trustDomain }: Bootstrap): string {
  return prefix + Buffer.from(JSON.stringify([caUrl, token, rootFingerprint, trustDomain])).toString("base64url");
}

/**
 * Reads a bootstrap string; surrounding white space is forgiven, since people paste it.
 * @throws {PkiError} bootstrap_malformed; the message never repeats the string, which holds a secret
 */
export function parseBootstrap(text: string): Bootstrap {
  const trimmed = text.trim();
  if (trimmed.length > maxLength) throw malformed(`it is longer than ${maxLength} characters`);
  if (!trimmed.startsWith(prefix)) throw malformed(`it does not begin with "${prefix}"`);
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(trimmed.slice(prefix.length), "base64url").toString("utf8"));
  } catch {
    throw malformed("it is cut off or altered");
  }
  if (!Array.isArray(parts) || parts.length !== 4 || !parts.every((part) => typeof part === "string")) {
    throw malformed("it is cut off or altered");
  }
  const [caUrl, token, rootFingerprint, trustDomain] = parts as [string, string, string, string];
  if (!URL.canParse(caUrl) || new URL(caUrl).protocol !== "https:") throw malformed("its CA URL is not an https URL");
  if (!/^[0-9a-f]{64}$/.test(rootFingerprint)) throw malformed("its root fingerprint is not a SHA-256 in hex");
  return { caUrl, token, rootFingerprint, trustDomain };
}

function malformed(detail: string): PkiError {
  return new PkiError("bootstrap_malformed", `not a bootstrap string: ${detail}; make a new one with "countersign token create"`);
}

const prefix = "countersign_join_";
/** A URL, a token, a fingerprint and a trust domain of 255 characters stay well below this. */
const maxLength = 4096;
