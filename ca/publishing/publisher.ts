import { hash } from "node:crypto";
import type { LeaseKeeper } from "../authority/lease.ts";
import { mediaType } from "../contract/headers.ts";
import type { Log } from "../log.ts";
import type { PublishPlace } from "./place.ts";
import { Refusal } from "../refusal.ts";
import type { CrlPublisher } from "../revocation/crl-publisher.ts";
import { authorityCertificatePath, crlListName, crlPath } from "../status-paths.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";

export interface DocumentPublisherDeps {
  readonly place: PublishPlace;
  readonly bundle: () => { readonly jwks: string; readonly pem: string };
  readonly authorities: () => readonly AuthorityRow[];
  readonly crls: Pick<CrlPublisher, "current">;
  readonly crlShards: number;
  readonly lease: LeaseKeeper;
  readonly log: Log;
  readonly now: () => Date;
}

/** Puts what is for everybody to read where it is read without the CA: the bundle, CRLs and the certificates of authorities. */
export interface DocumentPublisher {
  /**
   * Puts what changed since this process put it, and all of it once an hour; nothing while another replica does.
   * @throws {Error} the first that was not put, after all others were tried
   */
  tick(): Promise<void>;
  start(): void;
  close(): Promise<void>;
}

/** Documents are named as the API's paths are, so that either can be named in a certificate. */
export function documentPublisher({ place, bundle, authorities, crls, crlShards, lease, log, now }: DocumentPublisherDeps): DocumentPublisher {
  const put = new Map<string, { readonly digest: string; readonly atMs: number }>();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  let failing = false;
  let closed = false;

  async function publish(): Promise<void> {
    if (await lease.hold() === undefined) return put.clear();
    const failures: unknown[] = [];
    for await (const { name, body, ...content } of documents()) {
      const digest = hash("sha256", body);
      const last = put.get(name);
      const nowMs = now().getTime();
      if (last?.digest === digest && Math.abs(nowMs - last.atMs) < everyMs) continue;
      try {
        await place.put(name, body, content);
        put.set(name, { digest, atMs: nowMs });
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  async function* documents(): AsyncGenerator<Document> {
    const { jwks, pem } = bundle();
    yield { name: "bundle.json", body: jwks, type: mediaType.json, cacheControl: maxAge };
    yield { name: "bundle.pem", body: pem, type: mediaType.pem, cacheControl: maxAge };
    for (const row of authorities()) {
      if (row.state === "retired") continue;
      yield { name: nameOf(authorityCertificatePath(row.id)), body: row.certificate, type: mediaType.certificate, cacheControl: maxAge };
      for (const list of listsOf(row)) {
        const crl = await currentCrl(row.id, list);
        if (crl !== undefined) yield { name: nameOf(crlPath(row.id, list)), body: crl, type: mediaType.crl, cacheControl: maxAge };
      }
    }
  }

  function listsOf({ type }: AuthorityRow): readonly string[] {
    if (type !== "issuer") return [crlListName({ kind: "authorities" })];
    return Array.from({ length: crlShards }, (_, shard) => crlListName({ kind: "shard", shard, shards: crlShards }));
  }

  /** Undefined for a list that there is not, and where its key is offline and no ceremony has signed one yet. */
  async function currentCrl(authorityId: string, list: string): Promise<Uint8Array | undefined> {
    try {
      return (await crls.current(authorityId, list))?.der;
    } catch (error) {
      if (error instanceof Refusal && error.code === "issuer_unavailable") return undefined;
      throw error;
    }
  }

  /** One at a time. */
  function tick(): Promise<void> {
    const next = running.then(publish);
    running = next.catch(() => undefined);
    return next;
  }

  async function look(): Promise<void> {
    try {
      await tick();
      if (failing) log.info({ place: place.where }, "bundle and CRLs are published again");
      failing = false;
    } catch (err) {
      if (!failing) log.warn({ err, place: place.where }, "bundle and CRLs could not be published; who reads them there has the last ones; tried again every minute");
      failing = true;
    }
    if (!closed) timer = setTimeout(() => void look(), lookEveryMs).unref();
  }

  return {
    tick,
    start() {
      lease.start();
      void look();
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await running;
      await lease.close();
    },
  };
}

interface Document {
  readonly name: string;
  readonly body: Uint8Array | string;
  readonly type: string;
  readonly cacheControl: string;
}

function nameOf(path: string): string {
  return path.slice(1);
}

/** Little against the half of its life after which a CRL is signed anew. */
const lookEveryMs = 60_000;
/** Also where nothing changed: somebody may have taken it away. */
const everyMs = 3_600_000;
const maxAge = "max-age=60";
