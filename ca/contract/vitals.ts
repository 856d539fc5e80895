import type { AuthoritySummary } from "./authorities.ts";

/** `GET /readyz`; the status is 503 when `ready` is false. */
export interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  /** What works now and will not for ever, e.g. a root's key that does not answer. */
  readonly warnings?: readonly string[];
}

/** `GET /v1/vitals`: what one replica knows of its own health, and of the store that all of them share. */
export interface Vitals {
  /** By the clock that certificates are dated with. */
  readonly time: string;
  readonly trustDomain: string;
  readonly version: string;
  /** True when others than this machine reach the API. */
  readonly listensBeyondLoopback: boolean;
  /** What bootstrap strings carry. */
  readonly publicUrl: string;
  readonly store: StoreVitals & { readonly answeredInMs: number };
  /** Of the authorities that sign, or will. */
  readonly keys: readonly KeyVitals[];
  /** What seals the private keys in the store; `here`: a key that this process was given. */
  readonly sealing?: { readonly location: "kms" | "here"; readonly keyId?: string | undefined } | undefined;
  /** The newest CRL of each list. */
  readonly crls: readonly CrlVitals[];
  /** Who else vouches for workloads, as this replica reaches them. */
  readonly attestors: readonly AttestorVitals[];
  /** Undefined: ACME is not spoken. */
  readonly acme?: AcmeVitals;
  /** `witnessedSize`: of the checkpoint kept beside the database. */
  readonly log: { readonly size: number; readonly witnessedSize?: number };
  /** The CA above this one, where there is one. */
  readonly upstream?: UpstreamVitals | undefined;
  /** Processes that share the database, this one among them; undefined on SQLite. */
  readonly replicas?: readonly ReplicaVitals[] | undefined;
  /** Of the Web PKI, for those who know the bundle endpoint by its host name; undefined: none is set. */
  readonly webCertificate?: WebCertificateVitals;
}

/** A replica, as it last said of itself in the database. */
export interface ReplicaVitals {
  /** Name of its host, and port. */
  readonly address: string;
  readonly version: string;
  readonly startedAt: string;
  /** When it last said so; it does four times a minute. */
  readonly heardAt: string;
  /** The one that made this answer. */
  readonly answers: boolean;
  /** Not heard of for a minute. */
  readonly silent: boolean;
  /** What one replica does at a time, and this one does now: `authority` is rotation. */
  readonly leases: readonly string[];
}

export interface WebCertificateVitals {
  /** DNS names that it is shown for. */
  readonly names: readonly string[];
  readonly notBefore: string;
  readonly notAfter: string;
  /** What is wrong with the files, so that the one before stays. */
  readonly trouble?: string;
}

/** The CA that signs this one's issuers, and how the last look at it went. */
export interface UpstreamVitals {
  readonly url: string;
  readonly trustDomain: string;
  readonly succeededAt?: string | undefined;
  /** Looks that failed since. */
  readonly failures: number;
  readonly error?: string | undefined;
}

export interface StoreVitals {
  readonly kind: "sqlite" | "postgres";
  /** Migrations: those the database has had, and those that this version knows. */
  readonly schema: { readonly applied: number; readonly known: number };
  /** Whether what was committed survives a power cut, as far as the database's settings say. */
  readonly durable: boolean;
  /** Of the file system with the database, where it is on this machine. */
  readonly disk?: { readonly freeBytes: number; readonly totalBytes: number };
  /** Of the database itself, where its disk is another machine's: SQL tells nothing of what is free there. */
  readonly sizeBytes?: number;
  /** Streaming replicas of the database; absent where there are none, and none is expected. */
  readonly standbys?: StandbyVitals;
  /** The database's clock less this machine's. */
  readonly clockOffsetMs?: number;
}

export interface StandbyVitals {
  /** Those that are connected. */
  readonly count: number;
  /** How far the last one is behind; absent where the CA's role may not see it. */
  readonly lag?: { readonly seconds: number; readonly bytes: number };
  /** Replication slots that nobody is connected to, and how much of its write-ahead log the database keeps for each. */
  readonly missing: readonly { readonly slot: string; readonly keptBytes: number }[];
}

export interface KeyVitals {
  readonly authorityId: string;
  readonly location: AuthoritySummary["key"];
  /** What it is called there: the ID or alias of a KMS key, the URI of one on a PKCS#11 token. */
  readonly keyId?: string;
  /** What is wrong: it does not answer, or is not the key of the certificate. */
  readonly trouble?: string;
}

export interface AttestorVitals {
  readonly name: string;
  readonly type: "kubernetes" | "oidc" | "x509" | "aws-iam";
  /** What is wrong with it. */
  readonly trouble?: string;
  /** Whether it vouches all the same, by keys that were had before. */
  readonly vouches: boolean;
  /** Of the anchor that ends last, of the type `x509`. */
  readonly notBefore?: string;
  readonly notAfter?: string;
}

export interface AcmeVitals {
  /** What is wrong with the DNS server that names are looked up at. */
  readonly resolver?: string;
  /** What is wrong with the file of external accounts. */
  readonly accounts?: string;
  /** Names that could not be proved to this replica in the last hour, and were not since. */
  readonly failures: readonly { readonly name: string; readonly challenge: string; readonly why: string; readonly at: string }[];
}

export interface CrlVitals {
  readonly authorityId: string;
  readonly list: string;
  readonly number: number;
  readonly thisUpdate: string;
  readonly nextUpdate: string;
}
