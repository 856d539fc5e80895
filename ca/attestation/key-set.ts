import { readFile } from "node:fs/promises";
import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from "jose";
import type { TokenIssuer } from "../config/attestors.ts";
import { Refusal } from "../refusal.ts";
import { FetchError, type Fetcher } from "./fetch.ts";
import { trustDomainOf } from "./foreign-jwt.ts";

export interface KeySetDeps {
  readonly fetch: Fetcher["fetch"];
  readonly now: () => Date;
}

export interface KeySet {
  /**
   * The issuer's keys.
   * @param afresh  a token names a key that is not among them: looks again, but for the last half minute's sake not at each
   * @throws {Refusal} attestor_unavailable, when none were ever had
   */
  keys(afresh?: boolean): Promise<JWTVerifyGetKey>;
  /** Whether they can be had, without a token: looks where that is due, or failed the last time. */
  look(): Promise<{ readonly trouble: string | undefined; readonly inForce: boolean }>;
}

/** The keys of a token issuer, remembered. When they cannot be had anew, the last good ones stay in use for a day. */
export function keySetOf(name: string, { issuer, keys, caFile }: TokenIssuer, { fetch, now }: KeySetDeps): KeySet {
  let held: { readonly getKey: JWTVerifyGetKey; readonly atMs: number } | undefined;
  let triedAtMs = -Infinity;
  let trouble = "";
  let underWay: Promise<void> | undefined;
  // A bundle has the keys of X.509 and JWT-SVIDs side by side (SPIFFE Trust Domain and Bundle 4.2.2).
  const use = trustDomainOf(issuer) === undefined ? "sig" : "jwt-svid";

  async function get(url: string): Promise<unknown> {
    const { status, text } = await fetch({ url, caFile, headers: { accept: "application/json" } });
    if (status !== 200) throw new FetchError(`${url} answered ${status}${status >= 300 && status < 400 ? ", and redirections are not followed" : ""}`);
    return parse(text, url);
  }

  async function read(): Promise<JSONWebKeySet> {
    if (keys?.kind === "file") return readKeySet(parse(await readFile(keys.path, "utf8"), keys.path), keys.path, use);
    const url = keys?.url ?? (await discover());
    return readKeySet(await get(url), url, use);
  }

  /** What a discovery document names is under the issuer's own name, or an operator has said that it may be elsewhere. */
  async function discover(): Promise<string> {
    const document = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
    const found = await get(document) as { issuer?: unknown; jwks_uri?: unknown } | null;
    if (found?.issuer !== issuer) throw new FetchError(`${document} is of another issuer`);
    const { jwks_uri: uri } = found;
    if (typeof uri !== "string" || !URL.canParse(uri) || new URL(uri).origin !== new URL(issuer).origin) {
      throw new FetchError(`${document} has its keys at another place than its own; if that is right, set keysUrl to it`);
    }
    return uri;
  }

  async function refresh(): Promise<void> {
    triedAtMs = now().getTime();
    try {
      held = { getKey: createLocalJWKSet(await read()), atMs: triedAtMs };
      trouble = "";
    } catch (error) {
      trouble = error instanceof FetchError ? error.message : `its keys cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).name})`;
    }
  }

  async function inForce(afresh: boolean): Promise<typeof held> {
    const nowMs = now().getTime();
    const age = Math.abs(nowMs - (held?.atMs ?? -Infinity));
    if ((afresh || age > freshMs) && Math.abs(nowMs - triedAtMs) >= minIntervalMs) await (underWay ??= refresh().finally(() => (underWay = undefined)));
    else if (held === undefined) await underWay;
    return held !== undefined && Math.abs(nowMs - held.atMs) <= staleMs ? held : undefined;
  }

  return {
    look: async () => {
      const good = await inForce(trouble !== "");
      return { trouble: trouble || undefined, inForce: good !== undefined };
    },
    async keys(afresh = false) {
      const good = await inForce(afresh);
      if (good !== undefined) return good.getKey;
      throw new Refusal("attestor_unavailable", `The attestor "${name}" cannot be asked now: ${trouble || "its keys are being looked up"}. Try again in a minute.`, { retryAfterSeconds: minIntervalMs / 1000 });
    },
  };
}

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new FetchError(`what ${where} has is not JSON`);
  }
}

/** Public keys for signatures, and nothing else: what has a secret in it is no key set. */
function readKeySet(value: unknown, where: string, wanted: "sig" | "jwt-svid"): JSONWebKeySet {
  const keys: unknown = typeof value === "object" && value !== null && "keys" in value ? value.keys : undefined;
  if (!Array.isArray(keys) || keys.length > maxKeys) throw new FetchError(`${where} has no key set of at most ${maxKeys} keys`);
  const usable = keys.filter((key: unknown): key is JSONWebKeySet["keys"][number] => {
    if (typeof key !== "object" || key === null) return false;
    const { kty, use, d, k } = key as Record<string, unknown>;
    return typeof kty === "string" && keyTypes.includes(kty) && (use === wanted || (use === undefined && wanted === "sig")) && d === undefined && k === undefined;
  });
  if (usable.length === 0) throw new FetchError(`${where} has no public key for signatures`);
  // To jose a use is sig or enc.
  return { keys: usable.map(({ use: _use, ...key }) => key) };
}

const keyTypes = ["RSA", "EC", "OKP"];
const freshMs = 10 * 60_000;
/** Whoever makes up key IDs has us look no more often than this. */
const minIntervalMs = 30_000;
const staleMs = 24 * 3_600_000;
/** Microsoft's have a dozen. */
const maxKeys = 64;
