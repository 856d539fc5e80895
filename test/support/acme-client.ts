import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { calculateJwkThumbprint, FlattenedSign, type JWK } from "jose";
import type { Ca } from "../../ca/ca.ts";

/** What an ACME client got. */
export interface AcmeReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, never>> & { readonly [member: string]: unknown };
  readonly text: string;
}

export interface CallOptions {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly nonce?: string;
  readonly key?: KeyObject;
  /** Brings its key in place of the account's URL. */
  readonly byKey?: boolean;
  readonly contentType?: string;
  /** Changes the finished JWS. */
  readonly tamper?: (jws: Record<string, unknown>) => object;
}

/** A client of ACME's that does what a test says, good or not; without a socket. */
export interface AcmeClient {
  readonly key: KeyObject;
  readonly jwk: JWK;
  /** URL; "" before it has one. */
  account: string;
  url(...parts: readonly string[]): string;
  thumbprint(): Promise<string>;
  get(path: string, method?: string): Promise<AcmeReply>;
  nonce(): Promise<string>;
  sign(url: string, payload: object | "", options?: CallOptions): Promise<string>;
  /** By URL, or by what stands behind `/acme/`. */
  post(target: string, payload: object | "", options?: CallOptions): Promise<AcmeReply>;
  send(url: string, body: string, contentType?: string): Promise<AcmeReply>;
  register(payload?: object, options?: CallOptions): Promise<AcmeReply>;
}

/** @param address  from which it comes */
export function acmeClient(ca: Ca, publicUrl: string, key: KeyObject = newKey(), address = "192.0.2.1"): AcmeClient {
  const jwk = jwkOf(key);
  const client: AcmeClient = {
    key, jwk, account: "",
    url: (...parts) => [`${publicUrl}/acme`, ...parts].join("/"),
    thumbprint: () => calculateJwkThumbprint(jwk),
    async get(path, method = "GET") {
      return replyOf(await ca.acme!({ method, path, contentType: "", body: "", address }));
    },
    nonce: async () => (await client.get("new-nonce")).headers["replay-nonce"]!,
    async sign(url, payload, { header = {}, nonce, key: by = client.key, byKey = client.account === "", tamper = (jws: Record<string, unknown>): object => jws } = {}) {
      const signer = new FlattenedSign(Buffer.from(payload === "" ? "" : JSON.stringify(payload)));
      const named = byKey ? { jwk: jwkOf(by) } : { kid: client.account };
      const jws = await signer.setProtectedHeader({ alg: "ES256", nonce: nonce ?? (await client.nonce()), url, ...named, ...header } as never).sign(by, { crit: {} });
      return JSON.stringify(tamper({ ...jws } as Record<string, unknown>));
    },
    async post(target, payload, options = {}) {
      const url = target.startsWith("https:") ? target : client.url(target);
      const body = await client.sign(url, payload, options);
      return client.send(url, body, options.contentType);
    },
    async send(url, body, contentType = "application/jose+json") {
      return replyOf(await ca.acme!({ method: "POST", path: url.slice(client.url("").length), contentType, body, address }));
    },
    async register(payload = {}, options = {}) {
      const reply = await client.post("new-account", payload, { byKey: true, ...options });
      if (reply.status < 300) client.account = reply.headers["location"]!;
      return reply;
    },
  };
  return client;
}

/** An external account binding. */
export async function bindingFor(jwk: JWK, { kid, key, url, alg = "HS256" }: { readonly kid: string; readonly key: string; readonly url: string; readonly alg?: string }): Promise<object> {
  return new FlattenedSign(Buffer.from(JSON.stringify(jwk))).setProtectedHeader({ alg, kid, url } as never).sign(Buffer.from(key, "base64url"));
}

export function newKey(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
}

export function jwkOf(key: KeyObject): JWK {
  return createPublicKey(key).export({ format: "jwk" }) as JWK;
}

function replyOf({ status, headers, body }: { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string | null }): AcmeReply {
  const isJson = /json/.test(headers["content-type"] ?? "") && body !== null;
  return { status, headers, text: body ?? "", body: (isJson ? JSON.parse(body) : {}) as AcmeReply["body"] };
}
