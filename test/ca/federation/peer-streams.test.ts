import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { DocumentSet, PresentDocument } from "../../../ca/documents.ts";
import { FederationError } from "../../../ca/federation/errors.ts";
import { peerStreams, type PeerStreams, type PeerStreamsDeps } from "../../../ca/federation/peer-streams.ts";
import { encodeBundle } from "../../../ca/pki/bundle.ts";
import { testAuthority } from "../../support/test-ca.ts";

const authority = testAuthority({ trustDomain: "any" });
const bundleOf = (sequence: number): string => encodeBundle({ ...authority.bundle(), sequence: BigInt(sequence) });
const row = (kind: PresentDocument["kind"], name: string, document: object): PresentDocument => ({ kind, name, sequence: 1, changedAtMs: 0, changedBy: "system", body: JSON.stringify(document) });

/** Peers that were invited, each held at the sequence 1. */
function federatedWith(names: readonly string[]): DocumentSet {
  const byKind = {
    federation: new Map(names.map((name) => [name, row("federation", name, { trustDomain: name, profile: "https_spiffe", endpointUrl: `https://${name}/`, endpointSpiffeId: `spiffe://${name}/countersign/ca`, apiUrl: `https://${name}/` })])),
    "foreign-bundle": new Map(names.map((name) => [name, row("foreign-bundle", name, { bundle: bundleOf(1) })])),
  };
  return { sequence: 1, sequences: {}, byKind } as unknown as DocumentSet;
}

/** A peer's side of one stream. */
interface Opened {
  readonly trustDomain: string;
  readonly lastEventId: string | undefined;
  readonly signal: AbortSignal;
  tell(text: string): void;
  end(): void;
}

let set: DocumentSet;
let held: boolean;
let opened: Opened[];
let changed: string[];
let ended: string[];
let counts: number[];
let streams: PeerStreams | undefined;
/** What becomes of the next one that is opened. */
let answer: (() => Promise<void>) | undefined;
beforeEach(() => {
  [set, held, opened, changed, ended, counts, answer] = [federatedWith(["west"]), true, [], [], [], [], undefined];
});
afterEach(() => streams?.close());

function start(streamLimits: PeerStreamsDeps["streamLimits"] = {}): PeerStreams {
  streams = peerStreams({
    documents: { current: () => set }, hold: async () => (held ? ({} as never) : undefined), random: () => 0.037,
    async open({ trustDomain }, lastEventId, signal) {
      const { promise: over, resolve: end } = Promise.withResolvers<undefined>();
      signal.addEventListener("abort", () => end(undefined));
      const chunks: (Uint8Array | PromiseLike<undefined>)[] = [];
      let wake = (): void => undefined;
      opened.push({ trustDomain, lastEventId, signal, end: () => end(undefined), tell: (text) => (chunks.push(Buffer.from(text)), wake()) });
      await answer?.();
      return {
        chunks: (async function* () {
          for (;;) {
            const next = chunks.shift();
            if (next !== undefined) yield next as Uint8Array;
            else if (await Promise.race([over.then(() => true), new Promise<boolean>((resolve) => (wake = () => resolve(false)))])) return;
          }
        })(),
      };
    },
    onChange: (name) => void changed.push(name), onEnd: (name) => void ended.push(name),
    metrics: { peerStreams: (count) => void counts.push(count), peerStreamEnded: () => undefined },
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    streamLimits: { retryMs: 5, ...streamLimits },
  });
  return streams;
}
const live = (count: number) => vi.waitFor(() => expect(counts.at(-1)).toBe(count), { timeout: 30_000, interval: 5 });
const openedBy = (count: number) => vi.waitFor(() => expect(opened.length).toBeGreaterThanOrEqual(count), { timeout: 30_000, interval: 5 });

describe("a peer's stream", () => {
  test("tells of a bundle that is not the one that is held, however it is cut into pieces, and of none that is", async () => {
    const followed = start();
    await followed.tick();
    await live(1);
    expect(followed.isLive("west")).toBe(true);
    opened[0]!.tell(`event: epoch\ndata: {}\n\nid: e.1\nevent: bundle\ndata: ${bundleOf(1)}\n\n: alive\n\n`);
    const event = `id: e.2\nevent: bundle\ndata: ${bundleOf(2)}\n\n`;
    opened[0]!.tell(event.slice(0, 30));
    opened[0]!.tell(event.slice(30));
    await vi.waitFor(() => expect(changed).toEqual(["west"]), { timeout: 30_000, interval: 5 });
  });

  test("is read at the same cost in however small pieces it comes", async () => {
    await start().tick();
    await live(1);
    const { tell } = opened[0]!;
    const event = `id: e.2\nevent: bundle\ndata: ${bundleOf(2)}\n\n`;
    // One event of a megabyte: were it read anew with each piece, this would take minutes.
    tell(`: ${"x".repeat(1_000_000)}`);
    for (let piece = 0; piece < 40_000; piece++) tell("x");
    for (const character of `\n\n${event}`) tell(character);
    await vi.waitFor(() => expect(changed).toEqual(["west"]), { timeout: 100_000, interval: 5 });
  });

  test("that tells more than a stream has to tell is given up", async () => {
    await start({ maxEvents: 3 }).tick();
    await live(1);
    opened[0]!.tell(": alive\n\n".repeat(3));
    await sleep(1);
    expect(ended).toEqual([]);
    opened[0]!.tell(": alive\n\n");
    await openedBy(2);
    expect(ended).toEqual(["west"]);
  });

  test("that ends is opened again behind its last event, and its bundle is looked for meanwhile", async () => {
    await start().tick();
    await live(1);
    opened[0]!.tell(`id: e.7\nevent: bundle\ndata: ${bundleOf(1)}\n\n`);
    await sleep(1);
    opened[0]!.end();
    await openedBy(2);
    expect([opened[1]!.lastEventId, ended]).toEqual(["e.7", ["west"]]);
  });

  test("that is silent is given up", async () => {
    await start({ silenceMs: 20 }).tick();
    await openedBy(2);
    expect(opened[0]!.signal.aborted).toBe(true);
  });

  test("is opened anew from time to time, so that its peer proves again who it is", async () => {
    await start({ maxAgeMs: 20 }).tick();
    await openedBy(3);
  });

  test("that cannot be had is asked for later and later", async () => {
    answer = async () => { throw new FederationError("endpoint_answer", "watchers_full"); };
    await start({ retryMs: 20, maxRetryMs: 3_600_000 }).tick();
    await openedBy(3);
    const soFar = opened.length;
    await sleep(100);
    // 20, 40, 80, 160 ms: not one every 20.
    expect(opened.length - soFar).toBeLessThanOrEqual(2);
    expect([ended, streams!.isLive("west")]).toEqual([[], false]);
  });

  test("with an event without an end is given up", async () => {
    await start().tick();
    await live(1);
    opened[0]!.tell("x".repeat(1024 * 1024 + 1));
    await openedBy(2);
  });

  test("ends when its peer is federated with no more, when another replica does this, and with the CA", async () => {
    for (const over of [() => void (set = federatedWith(["north"])), () => void (held = false)]) {
      [set, held, opened] = [federatedWith(["west"]), true, []];
      const followed = start();
      await followed.tick();
      await openedBy(1);
      over();
      await followed.tick();
      expect(opened[0]!.signal.aborted).toBe(true);
      followed.close();
    }
    [set, held, opened] = [federatedWith(["west"]), true, []];
    const followed = start();
    await followed.tick();
    await openedBy(1);
    followed.close();
    expect(opened[0]!.signal.aborted).toBe(true);
    await followed.tick();
    expect(opened.length).toBe(1);
  });
});

test("of a thousand peers a few are opened at once, and no more than there may be", async () => {
  set = federatedWith(Array.from({ length: 40 }, (_, index) => `cluster-${index}`));
  let under = 0;
  let most = 0;
  answer = async () => {
    most = Math.max(most, under += 1);
    await sleep(2);
    under -= 1;
  };
  await start({ maxOpening: 3, maxStreams: 30, spreadEachMs: 0 }).tick();
  await live(30);
  expect([most, opened.length]).toEqual([3, 30]);
});
