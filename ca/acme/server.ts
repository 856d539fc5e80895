import { createPublicKey, type webcrypto } from "node:crypto";
import type { JWK } from "jose";
import type { AcmeConfig } from "../config/acme.ts";
import type { RevocationReason } from "../contract/revocations.ts";
import type { Log } from "../log.ts";
import { parseCertificate } from "../pki/certificate.ts";
import { encodePem } from "../pki/pem.ts";
import type { RateLimits } from "../rate-limits.ts";
import { Refusal } from "../refusal.ts";
import type { Revoker } from "../revocation/revoke.ts";
import type { Store } from "../store/store.ts";
import { acmeAccounts } from "./accounts.ts";
import { AcmeError, problemOf } from "./error.ts";
import { parsePayload, verifyRequest, type SignedRequest } from "./jws.ts";
import { nonceMaker } from "./nonces.ts";
import { acmeOrders, type OrderDeps, type OrderView } from "./orders.ts";
import { acmeRecords, type Account, type Authorization, type Challenge, type Read } from "./records.ts";
import { certificateBy, suggestedWindow } from "./renewal-info.ts";
import { challengeValidator, type Validate } from "./validate.ts";

export interface AcmeDeps extends Pick<OrderDeps, "issueTo" | "trustDomain" | "reservedDnsNames" | "now" | "onProved"> {
  readonly config: AcmeConfig;
  readonly store: Store;
  readonly publicUrl: () => string;
  readonly chainBehind: (authorityId: string) => string;
  readonly revoke: (serialNumber: string, reason: RevocationReason, caller: Revoker) => Promise<unknown>;
  readonly limits: Pick<RateLimits, "workload" | "applicant" | "opening">;
  readonly log: Log;
  /** Default: as the configuration has it. */
  readonly validate?: Validate;
}

export interface AcmeRequest {
  readonly method: string;
  /** Behind `/acme/`. */
  readonly path: string;
  readonly contentType: string;
  readonly body: string;
  /** Whose share of what is meant for strangers it takes from. */
  readonly address: string;
}

export interface AcmeAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Null for none. */
  readonly body: string | null;
}

/** ACME: certificates for DNS names, by whoever proves them. @source RFC 8555, RFC 8737, RFC 9773 */
export function acmeServer(deps: AcmeDeps): (request: AcmeRequest) => Promise<AcmeAnswer> {
  const { config, store, publicUrl, now, limits, log } = deps;
  const records = acmeRecords(store, now);
  const nonces = nonceMaker(store, records, now);
  const accounts = acmeAccounts(records, config, now);
  const orders = acmeOrders({
    ...deps, records, accounts, validate: deps.validate ?? challengeValidator(config), serialOf: async (id) => (await certificateBy(store, id))?.serialNumber,
  });
  const urlOf = (...path: readonly string[]): string => [`${publicUrl()}/acme`, ...path].join("/");

  const get: Readonly<Record<string, (id: string) => AcmeAnswer | Promise<AcmeAnswer>>> = {
    directory: () => json(200, {
      newNonce: urlOf("new-nonce"), newAccount: urlOf("new-account"), newOrder: urlOf("new-order"), revokeCert: urlOf("revoke-cert"), keyChange: urlOf("key-change"), renewalInfo: urlOf("renewal-info"),
      meta: { externalAccountRequired: config.externalAccountsFile !== undefined },
    }),
    "new-nonce": async () => ({ status: 204, headers: { "replay-nonce": await nonces.make(), "cache-control": "no-store" }, body: null }),
    async "renewal-info"(id) {
      const row = await certificateBy(store, id);
      if (row === undefined) throw new AcmeError("malformed", "There is no such certificate of this CA.", { status: 404 });
      return json(200, { suggestedWindow: suggestedWindow(row, now().getTime()) }, { "retry-after": String(ariRetrySeconds) });
    },
  };

  interface Call extends SignedRequest {
    readonly account: string;
    readonly by: Read<Account>;
    readonly url: string;
  }

  const post: Readonly<Record<string, (call: Call, ids: readonly string[]) => AcmeAnswer | Promise<AcmeAnswer>>> = {
    async account({ by, payload }, [id]) {
      if (id !== by.id) throw new AcmeError("unauthorized", "This is another account.");
      return accountAnswer(200, payload === "" ? by : await accounts.update(by, parsePayload(payload)));
    },
    async "key-change"({ by, payload, account, url }) {
      return accountAnswer(200, await accounts.changeKey(by, parsePayload(payload), account, url));
    },
    async "new-order"({ by, payload }) {
      return orderAnswer(201, await orders.create(parsePayload(payload), by));
    },
    async order({ by, payload }, [id = "", action]) {
      if (action === "finalize") return orderAnswer(200, await orders.finalize(id, parsePayload(payload), by));
      requireEmpty(payload);
      return orderAnswer(200, await orders.view(id, by.id));
    },
    async authorization({ by, payload }, [id = ""]) {
      if (payload !== "" && parsePayload(payload)["status"] !== "deactivated") throw new AcmeError("malformed", "An authorization can be deactivated and nothing else.");
      return json(200, authorizationOf(payload === "" ? await orders.authorization(id, by.id) : await orders.deactivate(id, by.id)));
    },
    async challenge({ by, payload }, [id = "", type = ""]) {
      const found = payload === "" ? await orders.authorization(id, by.id) : await orders.respond(id, type, by);
      const challenge = found.value.challenges.find((one) => one.type === type);
      if (challenge === undefined) throw new AcmeError("malformed", "There is no such challenge.", { status: 404 });
      return json(200, challengeOf(id, challenge), { link: `<${urlOf("authorization", id)}>;rel="up"` });
    },
    async certificate({ by, payload }, [id = ""]) {
      requireEmpty(payload);
      const { order: { value: { serialNumber } } } = await orders.view(id, by.id);
      const row = serialNumber === undefined ? undefined : await store.certificate(serialNumber);
      if (row === undefined) throw new AcmeError("malformed", "There is no such certificate of this account.", { status: 404 });
      return { status: 200, headers: { "content-type": "application/pem-certificate-chain" }, body: encodePem("CERTIFICATE", row.certificate) + deps.chainBehind(row.authorityId) };
    },
  };

  async function newAccount({ jwk, payload }: SignedRequest, url: string, address: string): Promise<AcmeAnswer> {
    const { account, created } = await accounts.create(jwk, parsePayload(payload), url, () => refuseExcess(limits.opening(address)));
    return accountAnswer(created ? 201 : 200, account);
  }

  /** By the account that ordered it, or by the certificate's own key. */
  async function revokeCert({ account, jwk, payload }: SignedRequest): Promise<AcmeAnswer> {
    const { certificate, reason = 0 } = parsePayload(payload);
    const named = typeof reason === "number" ? reasons.get(reason) : undefined;
    if (named === undefined) throw new AcmeError("badRevocationReason", `The reason is none of ${[...reasons.keys()].join(", ")}.`);
    const der = Buffer.from(typeof certificate === "string" ? certificate : "", "base64url");
    const leaf = parsedOrRefused(der);
    const row = await store.certificate(leaf.serialNumber);
    const held = await records.read("certificate", leaf.serialNumber);
    const byKey = account === undefined && spkiOf(jwk).equals(leaf.spki);
    const byAccount = account !== undefined && held?.value.account === account.slice(account.lastIndexOf("/") + 1);
    if (row === undefined || held === undefined || Buffer.compare(row.certificate, der) !== 0 || !(byKey || byAccount)) {
      throw new AcmeError("unauthorized", "The certificate is none that this account ordered, and the key is not its own.");
    }
    try {
      await deps.revoke(row.serialNumber, named, { actor: `acme:${held.value.account}`, name: "acme", role: "operator", scope: [row.spiffeId] });
    } catch (error) {
      if (error instanceof Refusal && error.code === "already_revoked") throw new AcmeError("alreadyRevoked", "The certificate was revoked before.");
      throw error;
    }
    return { status: 200, headers: {}, body: null };
  }

  async function answerPost({ path, contentType, body, address }: AcmeRequest): Promise<AcmeAnswer> {
    const [resource = "", ...ids] = path.split("/");
    const handler = Object.hasOwn(post, resource) ? post[resource] : undefined;
    if (handler === undefined && resource !== "new-account" && resource !== "revoke-cert") {
      throw new AcmeError("malformed", "There is nothing here that can be posted to.", { status: Object.hasOwn(get, resource) ? 405 : 404 });
    }
    if (!/^application\/jose\+json(?:;|$)/.test(contentType)) throw new AcmeError("malformed", "The content type has to be application/jose+json.", { status: 415 });
    const url = urlOf(path);
    let by: Read<Account> | undefined;
    const keyOf = async (kid: string): Promise<JWK> => {
      const prefix = urlOf("account", "");
      if (!kid.startsWith(prefix)) throw new AcmeError("accountDoesNotExist", "The account is none of this CA.");
      by = await accounts.of(kid.slice(prefix.length));
      return by.value.jwk;
    };
    const applicant = (): void => refuseExcess(limits.applicant(address));
    const signed = await verifyRequest(body, url, resource === "new-account" ? "key" : resource === "revoke-cert" ? "either" : "account", { of: keyOf, brought: applicant }).catch((error: unknown) => {
      // Whose account is named has not been shown to ask.
      if (by !== undefined) applicant();
      throw error;
    });
    if (by !== undefined) refuseExcess(limits.workload(`acme:${by.id}`));
    await nonces.spend(signed.nonce);
    if (resource === "new-account") return newAccount(signed, url, address);
    if (resource === "revoke-cert" || handler === undefined || by === undefined || signed.account === undefined) return revokeCert(signed);
    return handler({ ...signed, account: signed.account, by, url }, ids);
  }

  async function answerGet({ method, path, address }: AcmeRequest): Promise<AcmeAnswer> {
    const [resource = "", id = "", ...more] = path.split("/");
    const handler = more.length === 0 && Object.hasOwn(get, resource) ? get[resource] : undefined;
    if (handler === undefined) {
      const known = Object.hasOwn(post, resource) || resource === "new-account" || resource === "revoke-cert";
      throw new AcmeError("malformed", known ? "This is read by POST-as-GET." : "There is nothing here; see the directory.", { status: known ? 405 : 404 });
    }
    refuseExcess(limits.applicant(address));
    const answer = await handler(id);
    return method === "HEAD" && answer.status === 204 ? { ...answer, status: 200 } : answer;
  }

  return async (request) => {
    const link = `<${urlOf("directory")}>;rel="index"`;
    try {
      if (request.method !== "POST") return await answerGet(request);
      const answer = await answerPost(request);
      const links = [answer.headers["link"], link].filter((one) => one !== undefined).join(", ");
      return { ...answer, headers: { ...answer.headers, link: links, "replay-nonce": await nonces.make() } };
    } catch (error) {
      const known = error instanceof AcmeError ? error : new AcmeError("serverInternal", "The CA cannot do this now; its log says why.", { status: error instanceof Refusal ? 503 : 500, cause: error });
      if (!(error instanceof AcmeError)) log.error({ err: error, path: request.path.split("/")[0] }, "a request of ACME's failed");
      const nonce = request.method === "POST" ? await nonces.make().catch(() => undefined) : undefined;
      const headers = { "content-type": "application/problem+json", link, ...known.headers, ...(nonce !== undefined && { "replay-nonce": nonce }) };
      return { status: known.status, headers, body: JSON.stringify(problemOf(known)) };
    }
  };

  function accountAnswer(status: number, { id, value: { status: state, contact } }: Read<Account>): AcmeAnswer {
    return json(status, { status: state, contact, orders: urlOf("account", id, "orders") }, { location: urlOf("account", id) });
  }

  function orderAnswer(status: number, { order: { id, value }, status: state }: OrderView): AcmeAnswer {
    return json(status, {
      status: state, expires: new Date(value.expiresAtMs).toISOString(), identifiers: value.names.map((name) => ({ type: "dns", value: name })),
      authorizations: value.authorizations.map((one) => urlOf("authorization", one)), finalize: urlOf("order", id, "finalize"),
      ...(state === "valid" && { certificate: urlOf("certificate", id) }), ...(value.error && { error: value.error }), ...(value.replaces !== undefined && { replaces: value.replaces }),
    }, { location: urlOf("order", id), ...(state === "processing" && { "retry-after": "1" }) });
  }

  function authorizationOf({ id, value: { name, status, expiresAtMs, challenges } }: Read<Authorization>): object {
    const expired = status === "pending" && now().getTime() > expiresAtMs;
    const shown = status === "pending" ? challenges : challenges.filter((one) => one.status !== "pending");
    return { status: expired ? "expired" : status, expires: new Date(expiresAtMs).toISOString(), identifier: { type: "dns", value: name }, challenges: shown.map((one) => challengeOf(id, one)) };
  }

  function challengeOf(id: string, { type, token, status, validatedAtMs, error }: Challenge): object {
    return { type, url: urlOf("challenge", id, type), token, status, ...(validatedAtMs !== undefined && { validated: new Date(validatedAtMs).toISOString() }), ...(error && { error }) };
  }
}

function json(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): AcmeAnswer {
  return { status, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(value) };
}

function refuseExcess(excess: Refusal | undefined): void {
  if (excess !== undefined) throw new AcmeError("rateLimited", "These requests come too often.", { headers: { "retry-after": String(excess.retryAfterSeconds ?? 1) } });
}

function requireEmpty(payload: string): void {
  if (payload !== "") throw new AcmeError("malformed", "This is read by POST-as-GET, with an empty payload.");
}

function spkiOf(jwk: JWK): Buffer {
  try {
    return createPublicKey({ key: jwk as webcrypto.JsonWebKey, format: "jwk" }).export({ format: "der", type: "spki" });
  } catch (cause) {
    throw new AcmeError("badPublicKey", "The key is incomplete.", { cause });
  }
}

function parsedOrRefused(der: Uint8Array) {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw new AcmeError("malformed", "The certificate is none in DER.", { cause });
  }
}

/** @source RFC 5280 section 5.3.1 */
const reasons: ReadonlyMap<number, RevocationReason> = new Map([[0, "unspecified"], [1, "keyCompromise"], [3, "affiliationChanged"], [4, "superseded"], [5, "cessationOfOperation"]]);
const ariRetrySeconds = 3600;
