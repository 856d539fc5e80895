import { Refusal } from "../refusal.ts";

/** All the other CA needs to federate with this one, both ways. */
export interface InvitationParts {
  /** `https://host:port` of the API of the CA that invites. */
  readonly apiUrl: string;
  readonly trustDomain: string;
  /** SHA-256 of its active root, hex: the only thing that is believed at first. */
  readonly rootFingerprint: string;
  readonly id: string;
  /** 256 random bits, base64url: good for one CA that joins. */
  readonly secret: string;
  readonly expiresAt: string;
}

/** The one string that `countersign federation invite` prints: a prefix secret scanners can know, then base64url of JSON. */
export function encodeInvitation({ apiUrl, trustDomain, rootFingerprint, id, secret, expiresAt }: InvitationParts): string {
  return prefix + Buffer.from(JSON.stringify([apiUrl, trustDomain, rootFingerprint, id, secret, expiresAt])).toString("base64url");
}

/** @throws {Refusal} invitation_refused */
export function parseInvitation(text: string): InvitationParts {
  const trimmed = text.trim();
  if (!trimmed.startsWith(prefix) || trimmed.length > maxLength) throw malformed(`it does not begin with "${prefix}"`);
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(trimmed.slice(prefix.length), "base64url").toString("utf8"));
  } catch (cause) {
    throw malformed("it is cut off or altered", cause);
  }
  if (!Array.isArray(parts) || parts.length !== 6 || !parts.every((part) => typeof part === "string")) throw malformed("it is cut off or altered");
  const [apiUrl, trustDomain, rootFingerprint, id, secret, expiresAt] = parts as [string, string, string, string, string, string];
  if (!URL.canParse(apiUrl) || new URL(apiUrl).protocol !== "https:" || !/^[0-9a-f]{64}$/.test(rootFingerprint)) throw malformed("it is cut off or altered");
  return { apiUrl, trustDomain, rootFingerprint, id, secret, expiresAt };
}

function malformed(why: string, cause?: unknown): Refusal {
  return new Refusal("invitation_refused", `This is no invitation: ${why}. Have a new one made with "countersign federation invite".`, { cause });
}

const prefix = "countersign_federate_";
const maxLength = 4096;
