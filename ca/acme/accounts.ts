import { createSecretKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { JWK } from "jose";
import type { AcmeConfig } from "../config/acme.ts";
import { AcmeError } from "./error.ts";
import { parsePayload, publicJwk, readInner, thumbprintOf, verifyBy, verifyWith } from "./jws.ts";
import { newId, type Account, type AcmeRecords, type Read } from "./records.ts";

export interface Accounts {
  /** @throws {AcmeError} accountDoesNotExist | unauthorized: it was deactivated */
  of(id: string): Promise<Read<Account>>;
  /**
   * @param opensToAnybody  called before an account is made for somebody whom no external account vouches for; may throw
   * @returns the account of the key, made unless it was there; `created` says which
   */
  create(jwk: JWK, payload: Readonly<Record<string, unknown>>, url: string, opensToAnybody: () => void): Promise<{ readonly account: Read<Account>; readonly created: boolean }>;
  update(account: Read<Account>, payload: Readonly<Record<string, unknown>>): Promise<Read<Account>>;
  /** @param url  of the account; `at` of the resource */
  changeKey(account: Read<Account>, payload: Readonly<Record<string, unknown>>, url: string, at: string): Promise<Read<Account>>;
  /** The patterns of names that it may have, beside those of the settings. @throws {AcmeError} unauthorized: its external account is gone */
  namesOf(account: Account): Promise<readonly string[] | undefined>;
}

/** Accounts: a key that was bound to an external account, or anybody's where the operator lets everybody in. @source RFC 8555 section 7.3 */
export function acmeAccounts(records: AcmeRecords, { externalAccountsFile }: Pick<AcmeConfig, "externalAccountsFile">, now: () => Date): Accounts {
  async function find(jwk: JWK): Promise<Read<Account> | undefined> {
    const key = await records.read("key", await thumbprintOf(jwk));
    return key && records.read("account", key.value.account);
  }

  /** The external account that vouches for a new key. */
  async function bind(binding: unknown, jwk: JWK, url: string, file: string): Promise<string> {
    if (binding === undefined) throw new AcmeError("externalAccountRequired", "Accounts are for those who have an external account here; ask the CA's operator for a key identifier and its key.");
    const { jws, header: { alg, kid, url: boundUrl, nonce } } = readInner(binding);
    if (typeof alg !== "string" || !macAlgorithms.includes(alg) || typeof kid !== "string" || nonce !== undefined) throw new AcmeError("malformed", "The externalAccountBinding's header is not a MAC's, with kid and url and no nonce.");
    if (boundUrl !== url) throw new AcmeError("unauthorized", "The externalAccountBinding was made for another URL.");
    const known = (await readExternal(file)).get(kid);
    // Of an unknown one the MAC is wrong, too: which of them exist is nobody's business.
    const secret = createSecretKey(known?.key ?? Buffer.alloc(32));
    const payload = await verifyWith(jws, secret, [alg]).catch((cause: unknown) => {
      throw new AcmeError("unauthorized", "The externalAccountBinding is not by the key of an external account.", { cause });
    });
    if (known === undefined || (await thumbprintOf(publicJwk(parsePayload(payload)))) !== (await thumbprintOf(jwk))) throw new AcmeError("unauthorized", "The externalAccountBinding is not by the key of an external account, or for another account key.");
    return kid;
  }

  return {
    async of(id) {
      const account = await records.read("account", id);
      if (account === undefined) throw new AcmeError("accountDoesNotExist", "There is no such account; register one (newAccount).");
      if (account.value.status !== "valid") throw new AcmeError("unauthorized", "The account was deactivated; register another key.");
      return account;
    },
    async create(jwk, { onlyReturnExisting, contact, externalAccountBinding }, url, opensToAnybody) {
      const known = await find(jwk);
      if (known !== undefined && (await thumbprintOf(known.value.jwk)) !== (await thumbprintOf(jwk))) throw new AcmeError("unauthorized", "This key was replaced by another one; register a new key.");
      if (known?.value.status === "deactivated") throw new AcmeError("unauthorized", "The account of this key was deactivated; register another key.");
      if (known !== undefined) return { account: known, created: false };
      if (onlyReturnExisting === true) throw new AcmeError("accountDoesNotExist", "This key has no account.");
      const externalAccount = externalAccountsFile === undefined ? undefined : await bind(externalAccountBinding, jwk, url, externalAccountsFile);
      if (externalAccount === undefined) opensToAnybody();
      const thumbprint = await thumbprintOf(jwk);
      const createdAtMs = now().getTime();
      const untilMs = createdAtMs + accountLifetimeMs;
      // If we die after this, the account is made under the same ID by the next attempt.
      await records.add("key", thumbprint, { account: newId() }, untilMs);
      const id = (await records.read("key", thumbprint))?.value.account ?? "";
      const value: Account = { jwk, status: "valid", contact: readContact(contact), createdAtMs, ...(externalAccount !== undefined && { externalAccount }) };
      const created = await records.add("account", id, value, untilMs);
      return { account: (await records.read("account", id))!, created };
    },
    async update(account, { contact, status }) {
      if (status !== undefined && status !== "deactivated") throw new AcmeError("malformed", "An account's status can be set to deactivated and nothing else.");
      if (contact === undefined && status === undefined) return account;
      return records.swap("account", account, { ...account.value, ...(contact !== undefined && { contact: readContact(contact) }), ...(status === "deactivated" && { status }) });
    },
    async changeKey(account, payload, url, at) {
      const { jws, header: { alg, jwk, url: boundUrl, nonce } } = readInner(payload);
      if (typeof alg !== "string" || boundUrl !== at || nonce !== undefined) throw new AcmeError("malformed", "The inner JWS's header has to have alg, jwk, the same url, and no nonce.");
      const next = publicJwk(jwk);
      const inner = parsePayload(await verifyBy(jws, next, alg));
      if (inner["account"] !== url || (await thumbprintOf(publicJwk(inner["oldKey"]))) !== (await thumbprintOf(account.value.jwk))) throw new AcmeError("malformed", "The inner JWS names another account or key.");
      const thumbprint = await thumbprintOf(next);
      const added = await records.add("key", thumbprint, { account: account.id }, account.untilMs);
      // Its own where we died before the account had it, or where it was the account's once.
      if (!added && (await records.read("key", thumbprint))?.value.account !== account.id) {
        const holder = await find(next);
        throw new AcmeError("malformed", "The new key is in use.", { status: 409, headers: holder === undefined ? {} : { location: url.replace(account.id, holder.id) } });
      }
      return records.swap("account", account, { ...account.value, jwk: next });
    },
    async namesOf({ externalAccount }) {
      if (externalAccountsFile === undefined) return undefined;
      const known = (await readExternal(externalAccountsFile)).get(externalAccount ?? "");
      if (known === undefined) throw new AcmeError("unauthorized", "The external account that this one is bound to is no more; ask the CA's operator.");
      return known.names;
    },
  };
}

interface ExternalAccount {
  readonly key: Buffer;
  readonly names: readonly string[] | undefined;
}

/** Whether the file of external accounts can be read. @returns what is wrong */
export async function lookAtExternalAccounts(path: string): Promise<string | undefined> {
  try {
    await readExternal(path);
    return undefined;
  } catch (error) {
    if (error instanceof AcmeError) return error.message;
    throw error;
  }
}

/** Read at each use: whoever is taken out of it gets nothing from then on. */
async function readExternal(path: string): Promise<ReadonlyMap<string, ExternalAccount>> {
  try {
    const entries = Object.entries(JSON.parse(await readFile(path, "utf8")) as Record<string, { readonly key?: unknown; readonly names?: unknown }>);
    return new Map(entries.map(([kid, { key, names }]) => {
      const secret = Buffer.from(String(key), "base64url");
      if (secret.length < minSecretBytes) throw new RangeError(`${kid} has a short key`);
      if (names !== undefined && !(Array.isArray(names) && names.every((name) => typeof name === "string"))) throw new RangeError(`${kid} has names that are no list`);
      return [kid, { key: secret, names: names as readonly string[] | undefined }];
    }));
  } catch (error) {
    // Without the cause: what could not be parsed may be a key.
    const why = error instanceof RangeError ? error.message : (error as NodeJS.ErrnoException).code ?? "it is not JSON";
    throw new AcmeError("serverInternal", `The CA cannot read its external accounts (${why}); tell its operator.`);
  }
}

/** @throws {AcmeError} unsupportedContact | invalidContact */
function readContact(contact: unknown): readonly string[] {
  const list: unknown[] = contact === undefined || contact === null ? [] : Array.isArray(contact) ? contact : [""];
  if (list.length > maxContacts) throw new AcmeError("invalidContact", `An account has at most ${maxContacts} contacts.`);
  return list.map((one) => {
    if (typeof one !== "string" || !one.startsWith("mailto:")) throw new AcmeError("unsupportedContact", "A contact is a mailto URL.");
    if (!/^mailto:[^\s,?@]{1,64}@[A-Za-z0-9.-]{1,253}$/.test(one)) throw new AcmeError("invalidContact", "A contact is one mail address, without anything behind it.");
    return one;
  });
}

const macAlgorithms = ["HS256", "HS384", "HS512"];
const minSecretBytes = 16;
const maxContacts = 4;
const accountLifetimeMs = 3650 * 86_400_000;
