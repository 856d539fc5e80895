import type { NoteSigner } from "../audit/note-signer.ts";
import type { WitnessKeys } from "../contract/witness.ts";
import { readInstant, readSigned, refused } from "./hub-notes.ts";

/** What a member of a hub shows of its audit log, and which checkpoints of others' logs it has cosigned, signed by its CA's key for hubs. */
export interface HubLog extends WitnessKeys {
  readonly trustDomain: string;
  readonly signedAtMs: number;
  /** Its newest checkpoint, from what each of its witnesses cosigned last: C2SP `add-checkpoint` requests, the first of them from nothing. */
  readonly checkpoints: readonly string[];
  /** Trust domain -> the newest checkpoint of its log that was cosigned here, with both signatures. */
  readonly cosigned: Readonly<Record<string, string>>;
}

/** Where in a hub a member shows its log. */
export function hubLogFile(trustDomain: string): string {
  return `${trustDomain}.log.note`;
}

/** @param log  with at most `maxShown` checkpoints, and as many cosigned ones */
export function signHubLog({ trustDomain, signedAtMs, ...shown }: HubLog, signer: NoteSigner): string {
  return signer.sign([logKind, trustDomain, new Date(signedAtMs).toISOString(), JSON.stringify(shown), ""].join("\n"));
}

/**
 * Reads what a member shows of its log, by the member's key; nothing in it is verified yet but that the member says so.
 * @throws {FederationError} hub_refused
 */
export function readHubLog(text: string, trustDomain: string, verifierKey: string): HubLog {
  const [kind, name, signedAt = "", shown = "", end, ...more] = readSigned(text, verifierKey, maxLogNoteBytes);
  // One key, one trust domain, one kind of document: none may pass for another.
  if (kind !== logKind || name !== trustDomain || end !== "" || more.length > 0) throw refused(`it shows no log of ${trustDomain}`);
  return { trustDomain, signedAtMs: readInstant(signedAt), ...readShown(shown) };
}

/**
 * The checkpoint that a text holds which a witness published in a hub; whose signatures are on it is not looked at.
 * @returns undefined when the text is none of a hub, or the witness cosigned nothing of this trust domain
 */
export function cosignedIn(text: string, trustDomain: string): string | undefined {
  const [kind, , , shown = ""] = text.split("\n");
  return kind === logKind ? readShown(shown).cosigned[trustDomain] : undefined;
}

function readShown(text: string): Omit<HubLog, "trustDomain" | "signedAtMs"> {
  const { logKey, witnessKey, checkpoints, cosigned } = parsed(text);
  if (typeof logKey !== "string" || typeof witnessKey !== "string" || !Array.isArray(checkpoints) || typeof cosigned !== "object" || cosigned === null) throw refused("what it shows of a log is not whole");
  const [shown, theirs] = [checkpoints as unknown[], Object.values(cosigned as object) as unknown[]];
  const all = [...shown, ...theirs];
  if (Math.max(shown.length, theirs.length) > maxShown || !all.every((each) => typeof each === "string")) throw refused("what it shows of a log is more than a member does");
  return { logKey, witnessKey, checkpoints: checkpoints as string[], cosigned: { __proto__: null, ...cosigned } as unknown as Record<string, string> };
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value as Readonly<Record<string, unknown>> : {};
  } catch (cause) {
    throw refused("what it shows of a log cannot be read", cause);
  }
}

/** How many others cosign a member's log: each looks at so many, however large the hub is. */
export const maxWitnesses = 16;
/** Of checkpoints, and of those of others: some hubs' worth, where a CA came by more than one. */
export const maxShown = 4 * maxWitnesses;
const logKind = "countersign.dev/federation-hub/log/v1";
/** Twice 64 checkpoints with their signatures and proofs: some 180 KiB. */
const maxLogNoteBytes = 256 * 1024;
