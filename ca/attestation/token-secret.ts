import { randomBytes, timingSafeEqual } from "node:crypto";
import { sha256 } from "../pki/sha256.ts";

export type TokenType = "join" | "api";

/** A token as its holder has it: `csjoin_<id>_<secret>` or `csapi_<id>_<secret>`. */
export interface TokenParts {
  readonly type: TokenType;
  /** 16 lower-case hex digits; not secret. */
  readonly id: string;
  /** 256 random bits, 43 characters of base64url. */
  readonly secret: string;
}

export interface NewTokenSecret {
  readonly id: string;
  /** The whole token, to be shown once. */
  readonly token: string;
  /** SHA-256 of the secret, to be stored. A slow hash would add nothing: nobody guesses 256 random bits. */
  readonly secretHash: Uint8Array;
}

/** Makes a token. */
export function createTokenSecret(type: TokenType): NewTokenSecret {
  const id = randomBytes(idBytes).toString("hex");
  const secret = randomBytes(secretBytes).toString("base64url");
  return { id, token: `${prefix[type]}${id}_${secret}`, secretHash: hashSecret(secret) };
}

/** Takes a token apart; undefined for anything that is not of the form. */
export function parseToken(text: string): TokenParts | undefined {
  if (text.length > maxTokenLength) return undefined;
  const [, kind, id = "", secret = ""] = tokenForm.exec(text) ?? [];
  return kind === undefined ? undefined : { type: kind === "csjoin" ? "join" : "api", id, secret };
}

/** Whether the secret is the stored one, in constant time. */
export function isSecretOf(secret: string, secretHash: Uint8Array): boolean {
  const presented = hashSecret(secret);
  return secretHash.length === presented.length && timingSafeEqual(presented, secretHash);
}

function hashSecret(secret: string): Uint8Array {
  return sha256(secret);
}

const prefix: Readonly<Record<TokenType, string>> = { join: "csjoin_", api: "csapi_" };
const tokenForm = /^(csjoin|csapi)_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;
const idBytes = 8;
const secretBytes = 32;
const maxTokenLength = 128;
