import { createPublicKey, randomBytes, type webcrypto } from "node:crypto";
import type { JWK } from "jose";
import type { AcmeConfig } from "../config/acme.ts";
import type { AttestedIdentity } from "../attestation/identity.ts";
import type { IssuedCertificate } from "../contract/certificates.ts";
import { authorizeNames, isDnsName, type NameRules } from "../issuance/names.ts";
import { permitsDnsName } from "../lint/permitted-names.ts";
import { parseCsr } from "../pki/csr.ts";
import { PkiError } from "../pki/errors.ts";
import { isObject } from "../pki/json.ts";
import { relativeNamesOf } from "../pki/name.ts";
import { nameOid } from "../pki/oid.ts";
import { spiffeId } from "../pki/spiffe-id.ts";
import { Refusal } from "../refusal.ts";
import { StoreError } from "../store/errors.ts";
import type { Accounts } from "./accounts.ts";
import type { Proved } from "./unproved.ts";
import { AcmeError, problemOf } from "./error.ts";
import { thumbprintOf } from "./jws.ts";
import { newId, type Account, type AcmeRecords, type Authorization, type Challenge, type Order, type Read } from "./records.ts";
import type { Validate } from "./validate.ts";

export interface OrderDeps extends NameRules {
  readonly records: AcmeRecords;
  readonly accounts: Pick<Accounts, "namesOf">;
  readonly config: Pick<AcmeConfig, "names">;
  readonly validate: Validate;
  /** Told of each challenge that was looked at. */
  readonly onProved: (proved: Proved) => void;
  readonly issueTo: (identity: AttestedIdentity, spki: Uint8Array) => Promise<IssuedCertificate>;
  /** Serial number of the certificate that an ARI identifier names; undefined: of none of ours. */
  readonly serialOf: (certificateId: string) => Promise<string | undefined>;
  readonly now: () => Date;
}

/** An order as its client sees it. */
export interface OrderView {
  readonly order: Read<Order>;
  readonly status: Order["status"] | "ready";
}

/** Orders, from names to a certificate; each method is for the account that made them. @source RFC 8555 sections 7.4 and 7.5 */
export function acmeOrders(deps: OrderDeps) {
  const { records, accounts, config, validate, now } = deps;

  async function own<Kind extends "order" | "authorization">(kind: Kind, id: string, account: string) {
    const found = await records.read(kind, id);
    if (found === undefined || found.value.account !== account) throw new AcmeError("malformed", `There is no such ${kind} of this account.`, { status: 404 });
    return found;
  }

  async function view(order: Read<Order>): Promise<OrderView> {
    const { status, authorizations, processingSinceMs = 0, expiresAtMs } = order.value;
    if (status === "processing" && now().getTime() > processingSinceMs + maxProcessingMs) {
      // We died in between: the log has the certificate, if there is one.
      return view(await records.swap("order", order, { ...order.value, status: "invalid", error: problemOf(new AcmeError("serverInternal", "The CA stopped while it issued; order anew.")) }));
    }
    if (status !== "pending") return { order, status };
    const found = await Promise.all(authorizations.map((id) => records.read("authorization", id)));
    if (now().getTime() > expiresAtMs || found.some((one) => one === undefined || (one.value.status !== "pending" && one.value.status !== "valid"))) return { order, status: "invalid" };
    return { order, status: found.every((one) => one?.value.status === "valid") ? "ready" : "pending" };
  }

  /** Names in the spelling that certificates have. */
  async function readNames(identifiers: unknown, account: Account): Promise<readonly string[]> {
    if (!Array.isArray(identifiers) || identifiers.length === 0 || identifiers.length > maxNames) throw new AcmeError("malformed", `An order is for 1 to ${maxNames} identifiers.`);
    const permitted = await accounts.namesOf(account);
    const names = identifiers.map((identifier: unknown) => {
      const { type, value } = isObject(identifier) ? identifier : {};
      if (type !== "dns" || typeof value !== "string") throw new AcmeError("unsupportedIdentifier", "Identifiers are of the type dns.");
      const name = value.toLowerCase();
      const fits = isDnsName(name) && !/(^|\.)[0-9]+$/.test(name) && !deps.reservedDnsNames.has(name) && permitsDnsName({ dnsNames: config.names, ipRanges: [] }, name) && permitsDnsName({ dnsNames: permitted, ipRanges: [] }, name);
      if (!fits) throw new AcmeError("rejectedIdentifier", "This CA gives no certificate for a name of this order: only for those that its operator has set, without wildcards.", { members: { identifier: { type: "dns", value: name.slice(0, 253) } } });
      return name;
    });
    return [...new Set(names)];
  }

  async function replaced(replaces: unknown, account: string, names: readonly string[]): Promise<string | undefined> {
    if (replaces === undefined) return undefined;
    const serialNumber = typeof replaces === "string" ? await deps.serialOf(replaces) : undefined;
    const held = serialNumber === undefined ? undefined : await records.read("certificate", serialNumber);
    if (held === undefined || held.value.account !== account || !held.value.names.some((name) => names.includes(name))) throw new AcmeError("malformed", "The certificate that the order replaces is not this account's, or for other names.");
    if (held.value.replacedBy !== undefined) throw new AcmeError("alreadyReplaced", "The certificate was replaced by another order already.");
    return String(replaces);
  }

  return {
    view: async (id: string, account: string) => view(await own("order", id, account)),
    authorization: (id: string, account: string) => own("authorization", id, account),

    async create(payload: Readonly<Record<string, unknown>>, account: Read<Account>): Promise<OrderView> {
      if (payload["notBefore"] !== undefined || payload["notAfter"] !== undefined) throw new AcmeError("malformed", "This CA says how long its certificates last; leave notBefore and notAfter out.");
      const names = await readNames(payload["identifiers"], account.value);
      const replaces = await replaced(payload["replaces"], account.id, names);
      const expiresAtMs = now().getTime() + orderLifetimeMs;
      const authorizations = await Promise.all(names.map(async (name) => {
        const id = newId();
        const challenges = challengeTypes.map((type): Challenge => ({ type, token: randomBytes(24).toString("base64url"), status: "pending" }));
        await records.add("authorization", id, { account: account.id, name, status: "pending", expiresAtMs, challenges }, expiresAtMs + keptMs);
        return id;
      }));
      const id = newId();
      await records.add("order", id, { account: account.id, status: "pending", names, authorizations, expiresAtMs, ...(replaces !== undefined && { replaces }) }, expiresAtMs + keptMs);
      return view(await own("order", id, account.id));
    },

    async deactivate(id: string, account: string): Promise<Read<Authorization>> {
      const found = await own("authorization", id, account);
      return records.swap("authorization", found, { ...found.value, status: "deactivated" });
    },

    /** Looks at once; a challenge that was looked at stays as it is. */
    async respond(id: string, type: string, account: Read<Account>): Promise<Read<Authorization>> {
      const found = await own("authorization", id, account.id);
      const { challenges, name, status, expiresAtMs } = found.value;
      const challenge = challenges.find((one) => one.type === type);
      if (challenge === undefined) throw new AcmeError("malformed", "The authorization has no such challenge.", { status: 404 });
      if (status !== "pending" || challenge.status !== "pending" || now().getTime() > expiresAtMs) return found;
      const outcome = await validate(challenge.type, name, challenge.token, `${challenge.token}.${await thumbprintOf(account.value.jwk)}`).then(
        (): Challenge => {
          deps.onProved({ name, challenge: challenge.type, why: undefined });
          return { ...challenge, status: "valid", validatedAtMs: now().getTime() };
        },
        (error: unknown): Challenge => {
          if (!(error instanceof AcmeError)) throw error;
          deps.onProved({ name, challenge: challenge.type, why: error.message });
          return { ...challenge, status: "invalid", error: problemOf(error) };
        },
      );
      return records.swap("authorization", found, {
        ...found.value, status: outcome.status, challenges: challenges.map((one) => (one === challenge ? outcome : one)),
      });
    },

    async finalize(id: string, payload: Readonly<Record<string, unknown>>, account: Read<Account>): Promise<OrderView> {
      const { order, status } = await view(await own("order", id, account.id));
      if (status === "valid" || status === "processing") return { order, status };
      if (status !== "ready") throw new AcmeError("orderNotReady", `The order is ${status}; prove its names first.`);
      // What was permitted when the order came may not be any more.
      const { names } = order.value;
      await readNames(names.map((value) => ({ type: "dns", value })), account.value);
      const spki = readCsr(payload["csr"], names, account.value.jwk);
      const first = names[0] ?? "";
      const identity: AttestedIdentity = {
        spiffeId: spiffeId(deps.trustDomain, "acme", first), dnsNames: names, method: "acme", actor: `acme:${account.id}`, attestor: "acme", shape: "acme",
        evidence: { account: account.id, ...(account.value.externalAccount !== undefined && { externalAccount: account.value.externalAccount }), order: id },
      };
      authorizeNames(deps, identity.spiffeId, names);
      // From here on nobody else issues for it.
      const processing = await records.swap("order", order, { ...order.value, status: "processing", processingSinceMs: now().getTime() });
      try {
        const { serialNumber, notAfter } = await deps.issueTo(identity, spki);
        await records.add("certificate", serialNumber, { account: account.id, names }, Date.parse(notAfter) + keptMs);
        await markReplaced(order.value.replaces, id);
        return await view(await records.swap("order", { ...processing, untilMs: Date.parse(notAfter) + keptMs }, { ...processing.value, status: "valid", serialNumber }));
      } catch (error) {
        const refusal = refusalOf(error);
        await records.swap("order", processing, refusal === undefined ? { ...processing.value, status: "invalid", error: problemOf(new AcmeError("serverInternal", "The CA could not issue; order anew.")) } : order.value);
        throw refusal ?? error;
      }
    },
  };

  async function markReplaced(replaces: string | undefined, order: string): Promise<void> {
    const serialNumber = replaces === undefined ? undefined : await deps.serialOf(replaces);
    const held = serialNumber === undefined ? undefined : await records.read("certificate", serialNumber);
    if (held !== undefined) await records.swap("certificate", held, { ...held.value, replacedBy: order });
  }
}

/** @returns the key that is certified @throws {AcmeError} badCSR */
function readCsr(text: unknown, names: readonly string[], accountKey: JWK): Uint8Array {
  if (typeof text !== "string") throw new AcmeError("malformed", "There is no csr.");
  try {
    const { spki, dnsSans, uriSans, otherSans, subject } = parseCsr(Buffer.from(text, "base64url"));
    const commonNames = relativeNamesOf(subject).flat().filter(({ type }) => type === nameOid.commonName).map(({ text: name }) => (name ?? "").toLowerCase());
    const asked = new Set([...dnsSans.map((name) => name.toLowerCase()), ...commonNames]);
    if (uriSans.length + otherSans > 0 || asked.size !== names.length || !names.every((name) => asked.has(name))) throw new AcmeError("badCSR", "The CSR is not for exactly the names of the order.");
    const own = createPublicKey({ key: accountKey as webcrypto.JsonWebKey, format: "jwk" }).export({ format: "der", type: "spki" });
    if (Buffer.compare(own, spki) === 0) throw new AcmeError("badCSR", "The CSR's key is the account's; make another one for the certificate.");
    return spki;
  } catch (cause) {
    if (cause instanceof PkiError) throw new AcmeError("badCSR", `The CSR is refused: ${cause.message}.`, { cause });
    throw cause;
  }
}

/** What is the client's to mend; undefined: ours. */
function refusalOf(error: unknown): AcmeError | undefined {
  if (error instanceof StoreError && error.code === "key_reused") return new AcmeError("badCSR", "A certificate for the CSR's key exists already; make a new key for each certificate.", { cause: error });
  if (error instanceof Refusal && (error.code === "csr_refused" || error.code === "dns_name_refused")) return new AcmeError("badCSR", error.message, { cause: error });
  return undefined;
}

const challengeTypes = ["http-01", "dns-01", "tls-alpn-01"] as const;
const maxNames = 16;
const orderLifetimeMs = 24 * 3_600_000;
/** How long what is over can still be looked at. */
const keptMs = 7 * 24 * 3_600_000;
const maxProcessingMs = 60_000;
