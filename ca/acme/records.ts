import { randomBytes } from "node:crypto";
import type { JWK } from "jose";
import type { Store } from "../store/store.ts";
import { AcmeError } from "./error.ts";

export interface Account {
  readonly jwk: JWK;
  readonly status: "valid" | "deactivated";
  readonly contact: readonly string[];
  /** Of the external account it is bound to. */
  readonly externalAccount?: string;
  readonly createdAtMs: number;
}

export interface Order {
  readonly account: string;
  /** `ready` is not stored: it follows from the authorizations. */
  readonly status: "pending" | "processing" | "valid" | "invalid";
  readonly names: readonly string[];
  readonly authorizations: readonly string[];
  readonly expiresAtMs: number;
  readonly processingSinceMs?: number;
  readonly serialNumber?: string;
  /** ARI's identifier of the certificate that this one is instead of. */
  readonly replaces?: string;
  readonly error?: object;
}

export interface Authorization {
  readonly account: string;
  readonly name: string;
  readonly status: "pending" | "valid" | "invalid" | "deactivated";
  readonly expiresAtMs: number;
  readonly challenges: readonly Challenge[];
}

export interface Challenge {
  readonly type: "http-01" | "dns-01" | "tls-alpn-01";
  readonly token: string;
  readonly status: "pending" | "valid" | "invalid";
  readonly validatedAtMs?: number;
  readonly error?: object;
}

/** Whose a certificate is. */
export interface Holding {
  readonly account: string;
  readonly names: readonly string[];
  /** Order that replaces it. */
  readonly replacedBy?: string;
}

export interface Kinds {
  readonly account: Account;
  /** By a key's thumbprint: its account. */
  readonly key: { readonly account: string };
  readonly order: Order;
  readonly authorization: Authorization;
  readonly certificate: Holding;
  readonly secret: { readonly key: string };
}

/** What was read, with what it takes to swap it. */
export interface Read<T> {
  readonly id: string;
  readonly version: number;
  readonly value: T;
  readonly untilMs: number;
}

export interface AcmeRecords {
  read<Kind extends keyof Kinds>(kind: Kind, id: string): Promise<Read<Kinds[Kind]> | undefined>;
  /** @returns false when it is there already */
  add<Kind extends keyof Kinds>(kind: Kind, id: string, value: Kinds[Kind], untilMs: number): Promise<boolean>;
  /** @throws {AcmeError} serverInternal: somebody was faster */
  swap<Kind extends keyof Kinds>(kind: Kind, read: Read<Kinds[Kind]>, value: Kinds[Kind]): Promise<Read<Kinds[Kind]>>;
}

/** Keeps ACME's records as rows of the store, each good until it expires. */
export function acmeRecords(store: Pick<Store, "acmeRecord" | "putAcmeRecord">, now: () => Date): AcmeRecords {
  return {
    async read(kind, id) {
      const row = idForm.test(id) ? await store.acmeRecord(`${kind}:${id}`, now().getTime()) : undefined;
      return row && { id, version: row.version, value: JSON.parse(row.body) as never, untilMs: row.untilMs };
    },
    add: (kind, id, value, untilMs) => store.putAcmeRecord({ id: `${kind}:${id}`, version: 0, body: JSON.stringify(value), untilMs }, now().getTime()),
    async swap(kind, { id, version, untilMs }, value) {
      const done = await store.putAcmeRecord({ id: `${kind}:${id}`, version, body: JSON.stringify(value), untilMs }, now().getTime());
      if (done) return { id, version: version + 1, value, untilMs };
      throw new AcmeError("serverInternal", "This changed while it was looked at; try again.", { status: 503, headers: { "retry-after": "1" } });
    },
  };
}

/** 128 random bits. */
export function newId(): string {
  return randomBytes(16).toString("base64url");
}

const idForm = /^[A-Za-z0-9_-]{1,64}$/;
