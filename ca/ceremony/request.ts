import { hash } from "node:crypto";
import { parseObject, type JsonObject } from "../pki/json.ts";
import { parseTrustDomain } from "../pki/spiffe-id.ts";
import { CeremonyError } from "./errors.ts";

/** What is asked of a key that is offline. Where `tbs` is there, exactly these octets are to be signed. */
export type CeremonyRequest = Common & (
  /** A new self-signed root for the key that signs. */
  | { readonly kind: "root"; readonly lifetimeSeconds: number }
  | {
      readonly kind: "intermediate";
      /** The root that is to sign, PEM. */
      readonly signer: string;
      /** TBSCertificate, base64. */
      readonly tbs: string;
      /** By the intermediate's key over `possessionStatement`, base64. */
      readonly proof: string;
      /** Where that key is. */
      readonly key: CeremonyKey;
    }
  | {
      readonly kind: "cross-certificate";
      /** The old root, which is to sign. */
      readonly signer: string;
      /** The new root, PEM. */
      readonly root: string;
      readonly tbs: string;
    }
  /** The root's CRL, which lists the authorities that it certified and that were revoked. `tbs` is a TBSCertList. */
  | { readonly kind: "root-crl"; readonly signer: string; readonly tbs: string }
);

export type CeremonyKey =
  | { readonly kind: "sealed" }
  | { readonly kind: "kms"; readonly keyId: string }
  | { readonly kind: "pkcs11"; readonly uri: string };
export type CeremonyKind = CeremonyRequest["kind"];

interface Common {
  readonly format: typeof requestFormat;
  readonly trustDomain: string;
  /** RFC 3339. */
  readonly createdAt: string;
  /** Random: no two requests are the same. */
  readonly nonce: string;
}

/** A request as it was written: its ID is of the exact text. */
export interface WrittenRequest {
  readonly text: string;
  /** SHA-256 of the text, lower-case hex. */
  readonly id: string;
  readonly request: CeremonyRequest;
}

/** Writes a request; a person may read it before it is signed. */
export function writeRequest(request: CeremonyRequest): WrittenRequest {
  const text = `${JSON.stringify(request, null, 2)}\n`;
  return { text, id: hash("sha256", text, "hex"), request };
}

/**
 * Reads a request. What it asks for is judged when it is about to be signed.
 * @throws {CeremonyError} request_malformed
 */
export function readRequest(text: string): WrittenRequest {
  const value = readJson(text, "request_malformed", "ceremony request");
  if (value["format"] !== requestFormat) throw malformed(`its format is not ${requestFormat}`);
  const kind = value["kind"];
  const members = typeof kind === "string" && Object.hasOwn(membersOf, kind) ? membersOf[kind as CeremonyKind] : undefined;
  if (members === undefined) throw malformed(`its kind is none of ${Object.keys(membersOf).join(", ")}`);
  requireMembers(value, [...commonMembers, ...members], malformed);
  try {
    parseTrustDomain(value["trustDomain"] as string);
  } catch (cause) {
    throw malformed(`its trust domain is refused: ${(cause as Error).message}`);
  }
  // Shown on a terminal: nothing in it may move the cursor.
  if (!/^[\d:.TZ-]{20,24}$/.test(value["createdAt"] as string)) throw malformed("it does not say when it was made");
  if (kind === "intermediate") checkKey(value["key"]);
  return { text, id: hash("sha256", text, "hex"), request: value as unknown as CeremonyRequest };
}

/**
 * What a person compares and types: 80 bits of the request's hash, or of a new root's, which nobody finds another one for.
 * @returns e.g. `1f2e-3d4c-5b6a-7988-9abc`
 */
export function fingerprintOf({ id }: Pick<WrittenRequest, "id">): string {
  return (id.slice(0, fingerprintDigits).match(/.{4}/g) ?? []).join("-");
}

/** Whether what was typed is the request's fingerprint; dashes, blanks and case do not matter. */
export function isFingerprint(typed: string, request: Pick<WrittenRequest, "id">): boolean {
  return typed.replaceAll(/[\s-]/g, "").toLowerCase() === request.id.slice(0, fingerprintDigits);
}

/** What an intermediate's key signs to show that it is there. */
export function possessionStatement(tbs: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from("countersign ceremony: proof of possession\n"), tbs]);
}

/** Parses JSON that is an object and not longer than a ceremony's files are. */
export function readJson(text: string, code: "request_malformed" | "answer_malformed", what: string): JsonObject {
  if (text.length > maxFileChars) throw new CeremonyError(code, `this is no ${what}: it is longer than ${maxFileChars} characters`);
  const value = parseObject(text);
  if (value === undefined) throw new CeremonyError(code, `this is no ${what}: it is not one JSON object`);
  return value;
}

/** Refuses members that are missing, of another type, or not known: what nobody reads must not be in what somebody signs. */
export function requireMembers(value: Record<string, unknown>, members: readonly Member[], refuse: (detail: string) => CeremonyError): void {
  const names = members.map(([name]) => name);
  for (const name of Object.keys(value)) if (!names.includes(name)) throw refuse(`it has a member "${name}" that means nothing`);
  for (const [name, type] of members) if (typeof value[name] !== type) throw refuse(`its "${name}" is not a ${type}`);
}

export type Member = readonly [name: string, type: "string" | "number" | "object"];

function checkKey(key: unknown): void {
  const { kind, keyId, uri } = (key ?? {}) as Record<string, unknown>;
  const isName = (text: unknown): boolean => typeof text === "string" && /^[\x21-\x7e]{1,2048}$/.test(text);
  if (kind === "sealed" || (kind === "kms" && isName(keyId)) || (kind === "pkcs11" && isName(uri))) return;
  throw malformed("it does not say where the key is");
}

function malformed(detail: string): CeremonyError {
  return new CeremonyError("request_malformed", `this is no ceremony request that can be signed: ${detail}`);
}

export const requestFormat = "countersign.dev/ceremony-request/1";
const commonMembers: readonly Member[] = [
  ["format", "string"], ["kind", "string"], ["trustDomain", "string"], ["createdAt", "string"], ["nonce", "string"],
];
const membersOf: Readonly<Record<CeremonyKind, readonly Member[]>> = {
  root: [["lifetimeSeconds", "number"]],
  intermediate: [["signer", "string"], ["tbs", "string"], ["proof", "string"], ["key", "object"]],
  "cross-certificate": [["signer", "string"], ["root", "string"], ["tbs", "string"]],
  "root-crl": [["signer", "string"], ["tbs", "string"]],
};
const fingerprintDigits = 20;
/** A root CRL of 10 000 entries in base64 has 500 KiB. */
const maxFileChars = 1024 * 1024;
