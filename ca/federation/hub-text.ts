import { AuditError } from "../audit/errors.ts";
import { parseVerifierKey } from "../audit/note.ts";
import { Refusal } from "../refusal.ts";
import { requireEndpointUrl } from "./endpoint.ts";
import { FederationError } from "./errors.ts";

/** All a cluster needs to subscribe to a hub. No secret, but whoever could change it on its way would decide whom the cluster believes. */
export interface HubParts {
  /** `https`, ending in a slash: below it are the list of members and their bundles. */
  readonly url: string;
  /** C2SP verifier key of the hub. */
  readonly key: string;
}

/** The one string that `countersign federation hub create` prints. */
export function encodeHubText({ url, key }: HubParts): string {
  return prefix + Buffer.from(JSON.stringify([url, key])).toString("base64url");
}

/** @throws {Refusal} federation_refused */
export function parseHubText(text: string): HubParts {
  const trimmed = text.trim();
  if (!trimmed.startsWith(prefix) || trimmed.length > maxLength) throw malformed(`it does not begin with "${prefix}"`);
  try {
    const parts: unknown = JSON.parse(Buffer.from(trimmed.slice(prefix.length), "base64url").toString("utf8"));
    if (!Array.isArray(parts) || parts.length !== 2 || !parts.every((part) => typeof part === "string")) throw malformed("it is cut off or altered");
    const [url, key] = parts as [string, string];
    requireHubUrl(url);
    hubName(key);
    return { url, key };
  } catch (cause) {
    if (cause instanceof SyntaxError || cause instanceof TypeError) throw malformed("it is cut off or altered", cause);
    if (cause instanceof FederationError || cause instanceof AuditError) throw malformed(cause.message, cause);
    throw cause;
  }
}

/** @throws {FederationError | TypeError} for what is no place of a hub */
export function requireHubUrl(url: string): void {
  const parsed = new URL(url);
  requireEndpointUrl(parsed);
  if (!parsed.pathname.endsWith("/") || parsed.search !== "") throw new FederationError("hub_refused", "the URL of a hub ends in a slash");
}

/** By which a CA knows the hub: its key's name. @throws {AuditError | FederationError} */
export function hubName(key: string): string {
  const { name } = parseVerifierKey(key);
  if (!hubNameForm.test(name)) throw new FederationError("hub_refused", `"${name}" is no name of a hub: letters, digits, dots and dashes, up to 64`);
  return name;
}

function malformed(why: string, cause?: unknown): Refusal {
  return new Refusal("federation_refused", `This is no hub's subscription: ${why}. The hub's owner shows it with "countersign federation hub show".`, { cause });
}

export const hubNameForm = /^[a-z0-9][a-z0-9.-]{0,63}$/;
const prefix = "countersign_hub_";
const maxLength = 4096;
