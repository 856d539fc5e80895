import { hash } from "node:crypto";
import { encodeEntry } from "../audit/event.ts";
import type { Linted } from "../lint/rule.ts";
import type { LintRecorder } from "../issuance/lint-failed.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import { encodeCrl } from "../pki/crl-encoding.ts";
import { signatureAlgorithmFor } from "../pki/key.ts";
import { Refusal } from "../refusal.ts";
import type { Signer } from "../signer/signer.ts";
import { StoreError } from "../store/errors.ts";
import type { AuthorityRow } from "../store/rows/authorities.ts";
import type { CrlRow } from "../store/rows/crls.ts";
import type { Store } from "../store/store.ts";
import { crlCeremony, type CrlCeremony } from "./crl-ceremony.ts";
import { crlContent, type CrlRecipe, type CrlTarget } from "./crl-content.ts";
import { lintCrl } from "../lint/crl.ts";
import { revocationIndex } from "./revocation-index.ts";

/** A CRL as it is served. */
export interface PublishedCrl {
  readonly der: Uint8Array;
  readonly number: number;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
}

export interface CrlPublisher {
  /**
   * The CRL of one list of an authority, not older than a second where something was revoked since; signed if there is none yet.
   * @param list  of `crlListName`
   * @returns undefined when there is no such list
   * @throws {Refusal} issuer_unavailable | lint_failed, {StoreError}: the last one is over and there is no new one
   */
  current(authorityId: string, list: string): Promise<PublishedCrl | undefined>;
  /** Signs anew what is due, of the lists that were ever asked for. The timer calls it; tests may. */
  tick(): Promise<void>;
  /** For authorities whose key is offline. */
  readonly ceremony: CrlCeremony;
  /** Something was revoked: looks at the lists soon. */
  revoked(): void;
  start(): void;
  close(): Promise<void>;
}

export interface CrlPublisherDeps {
  readonly store: Pick<Store, "crl" | "crls" | "revocations" | "revocationSequence" | "commit">;
  readonly authorities: () => readonly AuthorityRow[];
  /** Undefined where the key is offline: then its CRLs come by the ceremony. */
  readonly signerOf: (row: AuthorityRow) => Signer | undefined;
  readonly config: { readonly crlLifetimeMs: number; readonly rootCrlLifetimeMs: number; readonly statusUrl: string | undefined };
  readonly lints: LintRecorder;
  readonly metrics: Pick<CaMetrics, "crlSigned">;
  readonly log: Log;
  readonly now: () => Date;
}

/**
 * Signs CRLs when they are asked for and something was revoked since or half of their time is over, so that they never lapse,
 * also where nothing runs in between. Of several replicas the commit decides who signed the next one: `replaces` is a
 * compare-and-swap on its number, and whoever loses serves the winner's, byte for byte.
 */
export function crlPublisher({ store, authorities, signerOf, config, lints, metrics, log, now }: CrlPublisherDeps): CrlPublisher {
  const index = revocationIndex({ store, now, isLive: (id) => authorities().some((row) => row.id === id && content.isLive(row)) });
  const content = crlContent({ index, authorities, statusUrl: config.statusUrl, now });
  const ceremony = crlCeremony({ store, content, refresh: index.refresh, now });
  const held = new Map<string, HeldCrl>();
  const renewing = new Map<string, Promise<HeldCrl>>();
  let timer: NodeJS.Timeout | undefined;
  let soon: NodeJS.Timeout | undefined;
  let ticking: Promise<void> | undefined;
  let looking: Promise<number> | undefined;
  let closed = false;

  async function current(authorityId: string, list: string): Promise<PublishedCrl | undefined> {
    const target = content.target(authorityId, list);
    if (target === undefined) return undefined;
    const known = held.get(target.key);
    const nowMs = now().getTime();
    const isGood = known !== undefined && nowMs < known.nextUpdateMs;
    if (isGood && nowMs >= known.signedAtMs && nowMs - known.signedAtMs < minIntervalMs) return known;
    try {
      // Anybody may ask, however often: those who come meanwhile share one look.
      await (looking ??= index.refresh().finally(() => (looking = undefined)));
      if (isGood && isFresh(target, known)) return known;
      return await renew(target);
    } catch (error) {
      if (!isGood) throw error;
      log.warn({ err: error, authority: authorityId, list }, "a CRL could not be signed anew; the last one is served");
      return known;
    }
  }

  /** Whether it has all that was revoked and is in the first half of its time. */
  function isFresh(target: CrlTarget, crl: HeldCrl): boolean {
    const nowMs = now().getTime();
    // A clock that was set back would keep a CRL from the future for as long.
    if (nowMs >= (crl.thisUpdateMs + crl.nextUpdateMs) / 2 || crl.thisUpdateMs > nowMs + maxAheadMs) return false;
    return content.isComplete(target, crl);
  }

  /** One at a time for each list; whoever asks meanwhile gets the same. */
  function renew(target: CrlTarget): Promise<HeldCrl> {
    let running = renewing.get(target.key);
    if (running === undefined) {
      running = takeOrSign(target).then((crl) => {
        held.set(target.key, crl);
        return crl;
      }).finally(() => renewing.delete(target.key));
      renewing.set(target.key, running);
    }
    return running;
  }

  async function takeOrSign(target: CrlTarget): Promise<HeldCrl> {
    for (let attempt = 1; ; attempt++) {
      const row = await store.crl(target.row.id, target.list);
      const stored = row && await putTogether(target, row);
      if (stored !== undefined && isFresh(target, stored)) return stored;
      const signer = signerOf(target.row);
      if (signer === undefined) {
        // Signed elsewhere: what is there is all there is.
        if (stored !== undefined && now().getTime() < stored.nextUpdateMs) return stored;
        throw new Refusal("issuer_unavailable", "The CRL of this authority is signed elsewhere, and the last one is over: an operator has to bring in a new one.");
      }
      try {
        return await sign(target, signer, row);
      } catch (error) {
        // Another replica was faster: its CRL is in the store now.
        if (!(error instanceof StoreError && error.code === "crl_superseded") || attempt === maxAttempts) throw error;
      }
    }
  }

  async function sign(target: CrlTarget, signer: Signer, previous: CrlRow | undefined): Promise<HeldCrl> {
    const startedAtMs = performance.now();
    const nowMs = now().getTime();
    const thisUpdateMs = Math.floor(nowMs / 1000) * 1000;
    const lifetimeMs = target.scope.kind === "shard" ? config.crlLifetimeMs : config.rootCrlLifetimeMs;
    const choice = {
      sequence: await index.refresh(),
      // What the last CRL listed and what had ended by then was on one CRL past its end (RFC 5280 3.3).
      droppedSequence: previous?.sequence ?? 0, droppedBeforeMs: previous?.thisUpdateMs ?? 0,
    };
    const made: CrlRecipe = {
      // From the clock, so that a store that was put back to an earlier state does not count the same numbers again.
      number: Math.max((previous?.number ?? 0) + 1, nowMs), thisUpdateMs, nextUpdateMs: thisUpdateMs + lifetimeMs, ...choice,
    };
    const { tbs, meant } = content.encode(target, made);
    const linted = await lints(() => lintCrl(tbs, meant));
    const { der, signature } = await signCrl(signer, linted);
    const fingerprint = await fingerprintOf(der);
    const { list, scope, row: { id: authorityId } } = target;
    const row: CrlRow = { authorityId, list, ...made, fingerprint, signature, ...(scope.kind === "authorities" && { crl: der }) };
    const entry = crlSigned(row, meant.count, "system", nowMs);
    // If we die before this lands, the CRL was in our memory only; after it, its number is taken and it can be put together again.
    await store.commit({ kind: "publish-crl", crl: row, replaces: previous?.number, entries: [entry] });
    metrics.crlSigned(authorityId, list, { ...made, entries: meant.count, durationMs: performance.now() - startedAtMs });
    return { der, ...made, fingerprint, signedAtMs: nowMs };
  }

  /** The CRL of a stored row; undefined if it does not come out as it was, e.g. under another status URL. */
  async function putTogether(target: CrlTarget, row: CrlRow): Promise<HeldCrl | undefined> {
    if (row.crl !== undefined) return { ...row, der: row.crl, signedAtMs: 0 };
    if (await index.refresh() < row.sequence) return undefined;
    const { tbs, meant } = content.encode(target, row);
    const der = encodeCrl(tbs, signatureAlgorithmFor(meant.issuer.keyAlgorithm), row.signature);
    return await fingerprintOf(der) === row.fingerprint ? { ...row, der, signedAtMs: 0 } : undefined;
  }

  async function tick(): Promise<void> {
    ticking ??= lookAfterAll().catch((err: unknown) => log.error({ err }, "looking after the CRLs failed; the last ones are served")).finally(() => (ticking = undefined));
    await ticking;
  }

  async function lookAfterAll(): Promise<void> {
    const live = new Set(authorities().filter(content.isLive).map(({ id }) => id));
    index.keepOnly(live);
    for (const key of held.keys()) if (!live.has(key.slice(0, key.indexOf("/")))) held.delete(key);
    for (const { authorityId, list } of await store.crls()) {
      if (!live.has(authorityId)) continue;
      await current(authorityId, list).catch((err: unknown) => log.error({ err, authority: authorityId, list }, "a CRL could not be signed and the last one is over"));
    }
  }

  function schedule(): void {
    if (closed) return;
    timer = setTimeout(() => void tick().finally(schedule), pollIntervalMs * (1 - pollJitter * Math.random())).unref();
  }

  return {
    current,
    tick,
    ceremony: {
      request: ceremony.request,
      async accept(authorityId, der, actor) {
        const row = await ceremony.accept(authorityId, der, actor);
        held.delete(`${authorityId}/${row.list}`);
        return row;
      },
    },
    revoked() {
      if (closed) return;
      soon ??= setTimeout(() => {
        soon = undefined;
        void tick();
      }, minIntervalMs).unref();
    },
    start: schedule,
    async close() {
      closed = true;
      clearTimeout(timer);
      clearTimeout(soon);
      await ticking;
      await Promise.allSettled(renewing.values());
    },
  };
}

/** Signs what the lint let through and puts the signature beside those same bytes. */
export async function signCrl(signer: Signer, tbs: Linted<"crl">): Promise<{ readonly der: Uint8Array; readonly signature: Uint8Array }> {
  const signature = await signer.sign(tbs);
  return { der: encodeCrl(tbs, signatureAlgorithmFor(signer.keyAlgorithm), signature), signature };
}

/** Audit entry of a CRL. */
export function crlSigned({ authorityId, list, number, fingerprint, thisUpdateMs, nextUpdateMs }: CrlRow, entries: number, actor: string, nowMs: number): string {
  const times = { thisUpdate: new Date(thisUpdateMs).toISOString(), nextUpdate: new Date(nextUpdateMs).toISOString() };
  return encodeEntry({ type: "crl.signed", authorityId, list, number, fingerprint, ...times, entries }, actor, nowMs);
}

interface HeldCrl extends PublishedCrl {
  readonly sequence: number;
  /** When this process signed it; 0 for one of another. */
  readonly signedAtMs: number;
}

/** In a thread of libuv's: five megabytes take the event loop longer than a certificate. */
async function fingerprintOf(der: Uint8Array): Promise<string> {
  if (der.length < threadedBytes) return hash("sha256", der, "hex");
  return Buffer.from(await crypto.subtle.digest("SHA-256", der as Uint8Array<ArrayBuffer>)).toString("hex");
}

/** A burst of revocations is listed once, and late by no more than this. */
const minIntervalMs = 1000;
/** How late a replica may notice what another one revoked, where nobody asks. */
const pollIntervalMs = 15_000;
const pollJitter = 0.5;
const maxAttempts = 4;
/** As much as replicas' clocks may differ before a CRL of another one is not believed. */
const maxAheadMs = 60_000;
const threadedBytes = 64 * 1024;
