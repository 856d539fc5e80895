import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { AuditError } from "../audit/errors.ts";
import { noteSigner, type NoteSigner } from "../audit/note-signer.ts";
import { FederationError } from "../federation/errors.ts";
import { maxHubMembers, membersFile, signHubMembers, trustDomainOfKey, type HubMembers } from "../federation/hub-notes.ts";
import { encodeHubText, hubNameForm, requireHubUrl } from "../federation/hub-text.ts";
import type { PlaceOptions } from "../publishing/place.ts";
import { writeAtomically } from "../runtime/write-file.ts";
import { ApiError } from "./api.ts";
import { chooseAction, noMore, required, seconds, UsageError } from "./arguments.ts";
import { openPlace, putIn } from "./federation-hub.ts";
import type { output } from "./output.ts";

/** A hub as its owner has it: whoever has this file says who is in it. */
interface OwnHub {
  readonly name: string;
  readonly url: string;
  /** Folder or bucket. */
  readonly place: string;
  readonly endpoint?: string | undefined;
  /** PEM, PKCS #8, Ed25519. */
  readonly privateKey: string;
  readonly sequence: number;
  /** How long each list holds; absent: it does not end. */
  readonly validSeconds?: number;
  /** C2SP verifier keys of its members. */
  readonly keys: readonly string[];
}

type HubFlags = { readonly [Name in "hub-file" | "hub-url" | "name" | "endpoint" | "valid"]?: string | undefined } & { readonly replace?: boolean | undefined };

/** `countersign federation hub create|admit|expel|renew|show`: asks no CA, so that the key may be anywhere. */
export async function ownHub([action = "", ...rest]: readonly string[], flags: HubFlags, options: PlaceOptions, { print, explain }: ReturnType<typeof output>): Promise<number> {
  const path = flags["hub-file"] ?? "countersign-hub.json";
  switch (chooseAction("federation hub", action, ["create", "admit", "expel", "renew", "show"])) {
    case "create": {
      const [place, ...more] = rest;
      noMore(more);
      const hub = createHub(path, required(place, "the hub's folder or bucket", "s3://bucket/prefix"), flags);
      await save(path, hub, options);
      print(shown(hub), `${subscriptionOf(hub)}\n`);
      explain(`Each cluster subscribes by this string, which is no secret but has to arrive unchanged. Keep ${path} to yourself: whoever has it decides whom all of them believe.\n`);
      return 0;
    }
    case "admit": {
      if (rest.length === 0) throw new UsageError("a key is missing, for example countersign.dev/west/hub+1a2b3c4d+AbC..., as countersign federation hubs shows it.");
      const hub = readHub(path);
      await save(path, { ...hub, keys: admitted(hub, rest, flags.replace === true), sequence: hub.sequence + 1 }, options);
      explain(`Its subscribers know within a minute or two.\n`);
      return 0;
    }
    case "expel": {
      const hub = readHub(path);
      const gone = rest.map((name) => hub.keys.find((key) => trustDomainOfKey(key) === name) ?? fail(`${name} is not in the hub; look at: countersign federation hub show`));
      if (gone.length === 0) throw new UsageError("the trust domain is missing, for example west.");
      await save(path, { ...hub, keys: hub.keys.filter((key) => !gone.includes(key)), sequence: hub.sequence + 1 }, options);
      explain("Its subscribers drop it within a minute or two, and cut what is open; whoever holds the folder or bucket can keep the new list from them.\n");
      return 0;
    }
    case "renew": {
      noMore(rest);
      const hub = readHub(path);
      const next = { ...hub, ...validity(flags), sequence: hub.sequence + 1 };
      await save(path, next, options);
      explain(next.validSeconds === undefined
        ? "Its list is signed anew and does not end; --valid 7d makes whoever keeps the next one back give up those in it after that time.\n"
        : `Its list is signed anew, and holds for ${next.validSeconds} s: have this run well before, by cron for example.\n`);
      return 0;
    }
    case "show": {
      noMore(rest);
      const hub = readHub(path);
      print(shown(hub), `${subscriptionOf(hub)}\n${hub.keys.map((key) => `${key}\n`).join("")}`);
      return 0;
    }
  }
}

/** How long lists hold from now on, where that is said. */
function validity({ valid }: HubFlags): Pick<OwnHub, "validSeconds"> {
  if (valid === undefined) return {};
  const validSeconds = seconds(valid, "--valid");
  if (validSeconds < minValidSeconds) throw new UsageError(`--valid: a list holds for an hour at least, since its subscribers look for the next one every minute or, after failures, every ten.`);
  return { validSeconds };
}

function createHub(path: string, place: string, flags: HubFlags): OwnHub {
  const { "hub-url": url, name, endpoint } = flags;
  if (existsSync(path)) throw new ApiError(`${path} is a hub already; name another file with --hub-file`);
  const at = required(url, "--hub-url", "https://hub.example/fleet/");
  try {
    requireHubUrl(at);
  } catch (cause) {
    throw new UsageError(cause instanceof FederationError ? `--hub-url: ${cause.message}.` : `--hub-url ${at} is no URL.`, { cause });
  }
  const known = name ?? new URL(at).hostname;
  if (!hubNameForm.test(known)) throw new UsageError(`--name: "${known}" is no name of a hub: letters, digits, dots and dashes, up to 64.`);
  const privateKey = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }) as string;
  return { name: known, url: at, place, ...(endpoint !== undefined && { endpoint }), privateKey, ...validity(flags), sequence: 1, keys: [] };
}

function admitted({ keys }: OwnHub, given: readonly string[], replaces: boolean): readonly string[] {
  const all = new Map(keys.map((key) => [trustDomainOfKey(key), key]));
  for (const key of given) {
    const trustDomain = readKey(key);
    if (!replaces && all.has(trustDomain) && all.get(trustDomain) !== key) fail(`${trustDomain} is in the hub with another key; if its CA has this one now, say --replace: whoever has the new key then speaks for ${trustDomain}`);
    all.set(trustDomain, key);
  }
  if (all.size > maxHubMembers) fail(`a hub has up to ${maxHubMembers} members`);
  return [...all].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, key]) => key);
}

function readKey(key: string): string {
  try {
    return trustDomainOfKey(key);
  } catch (cause) {
    if (cause instanceof FederationError) throw new ApiError(`"${key.slice(0, 80)}" is refused: it is no key of a CA for hubs, which countersign federation hubs shows over there`, { cause });
    throw cause;
  }
}

/** First the file, then the hub: if we die in between, or the hub cannot be written to, the same command does the rest. */
async function save(path: string, hub: OwnHub, options: PlaceOptions): Promise<void> {
  const place = openPlace(hub.place, { ...options, endpoint: options.endpoint ?? hub.endpoint });
  writeAtomically(path, `${JSON.stringify(hub, undefined, 2)}\n`, 0o600);
  await putIn(place, membersFile, signHubMembers(listOf(hub, options.now().getTime()), signerOf(hub)));
}

function listOf({ sequence, keys, validSeconds }: OwnHub, signedAtMs: number): HubMembers {
  return { sequence, signedAtMs, ...(validSeconds !== undefined && { validUntilMs: signedAtMs + validSeconds * 1000 }), keys };
}

function readHub(path: string): OwnHub {
  try {
    const hub = JSON.parse(readFileSync(path, "utf8")) as OwnHub;
    signerOf(hub);
    hub.keys.forEach(trustDomainOfKey);
    return hub;
  } catch (cause) {
    // Without what could not be read: there is a key in it.
    const why = (cause as NodeJS.ErrnoException).code;
    throw new ApiError(`cannot read the hub's file ${path}${why === undefined || cause instanceof AuditError ? "" : ` (${why})`}; countersign federation hub create makes one`);
  }
}

function signerOf({ name, privateKey }: OwnHub): NoteSigner {
  return noteSigner(name, createPrivateKey(privateKey));
}

function subscriptionOf(hub: OwnHub): string {
  return encodeHubText({ url: hub.url, key: signerOf(hub).verifierKey });
}

function shown(hub: OwnHub): object {
  const { name, url, place, sequence, validSeconds, keys } = hub;
  return { name, url, place, subscription: subscriptionOf(hub), sequence, ...(validSeconds !== undefined && { validSeconds }), members: keys };
}

function fail(message: string): never {
  throw new ApiError(message);
}

const minValidSeconds = 3_600;
