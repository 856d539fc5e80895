import { encodeBundle, parseBundle } from "../pki/bundle.ts";
import { PkiError } from "../pki/errors.ts";
import type { Documents } from "../documents.ts";
import type { Log } from "../log.ts";
import type { CaMetrics } from "../metrics.ts";
import type { Fence } from "../store/rows/leases.ts";
import { relationshipsOf, type HeldRelationship } from "./documents.ts";
import type { EndpointStream } from "./endpoint.ts";
import { FederationError } from "./errors.ts";
import { peerApiUrl } from "./peer-api.ts";

export interface PeerStreamsDeps {
  readonly documents: Pick<Documents, "current">;
  /** Undefined while another replica does this. */
  readonly hold: () => Promise<Fence | undefined>;
  /** Opens a peer's stream, from behind an event. @throws {FederationError} */
  readonly open: (relationship: HeldRelationship, lastEventId: string | undefined, signal: AbortSignal) => Promise<EndpointStream>;
  /** Its bundle is not the one that is held here. */
  readonly onChange: (trustDomain: string) => void;
  /** Its stream ended: from now on its bundle is looked for as often as it asks for. */
  readonly onEnd: (trustDomain: string) => void;
  readonly metrics: Pick<CaMetrics, "peerStreams" | "peerStreamEnded">;
  readonly log: Log;
  readonly random?: () => number;
  readonly streamLimits?: Partial<Readonly<Record<keyof typeof defaultLimits, number>>>;
}

/** Follows the feeds of federated Countersign CAs, so that a change of their keys is known at once. What it tells is looked for as ever. */
export interface PeerStreams {
  /** Opens streams to who is new and ends those to who is gone. @returns whether there is nothing to do here */
  tick(): Promise<boolean>;
  /** Whether all that this peer changes is told. */
  isLive(trustDomain: string): boolean;
  close(): void;
}

interface Following {
  readonly stop: AbortController;
  /** Whether its answer came, and is still coming. */
  live: boolean;
}

/** One stream a peer, opened a few at once, anew when it ends, later and later after failures; without it the peer is polled. */
export function peerStreams(deps: PeerStreamsDeps): PeerStreams {
  const { documents, hold, metrics, log, random = Math.random } = deps;
  const limits = { ...defaultLimits, ...deps.streamLimits };
  const following = new Map<string, Following>();
  let opening = 0;
  const waiting: (() => void)[] = [];
  let closed = false;

  async function follow(trustDomain: string, self: Following, spreadMs: number): Promise<void> {
    const { signal } = self.stop;
    let failures = 0;
    let lastEventId: string | undefined;
    await pause(spreadMs * random(), signal);
    while (!signal.aborted) {
      const openedAtMs = performance.now();
      const ended = await read().catch((error: unknown) => error as Error);
      if (self.live) deps.onEnd(trustDomain);
      self.live = false;
      count();
      if (signal.aborted) break;
      const why = ended instanceof FederationError ? ended.code : ended === undefined ? "ended" : "failed";
      metrics.peerStreamEnded(trustDomain, why);
      if (ended !== undefined && !(ended instanceof FederationError)) log.error({ err: ended, trustDomain }, "following a federated CA failed; tried again");
      failures = performance.now() - openedAtMs >= limits.stableMs ? 0 : failures + 1;
      if (failures === 1 && ended !== undefined) log.info({ err: ended, trustDomain }, "no stream from a federated CA; its bundle is polled meanwhile");
      const backoffMs = Math.min(limits.retryMs * 2 ** Math.max(failures - 1, 0), limits.maxRetryMs);
      await pause(backoffMs * (1 - random() / 2), signal);
    }

    async function read(): Promise<undefined> {
      const relationship = relationshipsOf(await documents.current()).get(trustDomain);
      if (relationship === undefined) return undefined;
      // A connection proves who is behind it when it is opened, and so from time to time anew.
      const atMost = AbortSignal.timeout(Math.round(limits.maxAgeMs * (1 - random() / 5)));
      const silence = new AbortController();
      let timer: NodeJS.Timeout | undefined;
      try {
        await turn(signal);
        const stream = await deps.open(relationship, lastEventId, AbortSignal.any([signal, atMost, silence.signal])).finally(leave);
        self.live = true;
        count();
        const alive = (): void => {
          clearTimeout(timer);
          timer = setTimeout(() => silence.abort(new FederationError("endpoint_unreachable", "its stream was silent")), limits.silenceMs).unref();
        };
        alive();
        for await (const event of eventsOf(stream, limits.maxEvents, alive)) {
          lastEventId = event.id ?? lastEventId;
          if (event.name === "bundle" && await isNews(trustDomain, event.data)) deps.onChange(trustDomain);
        }
      } catch (error) {
        if (silence.signal.aborted) throw silence.signal.reason;
        if (!atMost.aborted) throw error;
      } finally {
        clearTimeout(timer);
      }
      return undefined;
    }
  }

  /** Whether the bundle is another one than is held; what cannot be read is for the look to refuse. */
  async function isNews(trustDomain: string, text: string): Promise<boolean> {
    const { held } = relationshipsOf(await documents.current()).get(trustDomain) ?? {};
    try {
      const { refreshHintSeconds: _, ...bundle } = parseBundle(trustDomain, text);
      return encodeBundle(bundle) !== held?.bundle;
    } catch (error) {
      if (error instanceof PkiError) return true;
      throw error;
    }
  }

  /** Waits until few enough are being opened. */
  async function turn(signal: AbortSignal): Promise<void> {
    if (opening >= limits.maxOpening) await new Promise<void>((resolve) => void waiting.push(resolve));
    opening += 1;
    if (signal.aborted) {
      leave();
      signal.throwIfAborted();
    }
  }

  function leave(): void {
    opening -= 1;
    waiting.shift()?.();
  }

  function end(trustDomain: string): void {
    following.get(trustDomain)?.stop.abort();
    following.delete(trustDomain);
    count();
  }

  function count(): void {
    metrics.peerStreams([...following.values()].filter(({ live }) => live).length);
  }

  return {
    async tick() {
      const peers = closed ? [] : [...relationshipsOf(await documents.current()).values()].filter((one) => one.held !== undefined && peerApiUrl(one) !== undefined);
      const wanted = new Set(peers.length > 0 && await hold() !== undefined ? peers.slice(0, limits.maxStreams).map(({ trustDomain }) => trustDomain) : []);
      for (const trustDomain of [...following.keys()]) if (!wanted.has(trustDomain)) end(trustDomain);
      for (const trustDomain of wanted) {
        if (following.has(trustDomain)) continue;
        const self: Following = { stop: new AbortController(), live: false };
        following.set(trustDomain, self);
        void follow(trustDomain, self, Math.min(wanted.size * limits.spreadEachMs, limits.maxSpreadMs));
      }
      return wanted.size === 0;
    },
    isLive: (trustDomain) => following.get(trustDomain)?.live === true,
    close() {
      closed = true;
      for (const trustDomain of [...following.keys()]) end(trustDomain);
    },
  };
}

interface FeedEvent {
  readonly name: string;
  readonly data: string;
  readonly id: string | undefined;
}

/**
 * Whole events of a stream; comments show that it lives. What is not whole yet is looked at once, however small the pieces that it comes in.
 * @source HTML Standard 9.2.6
 */
async function* eventsOf({ chunks }: EndpointStream, maxEvents: number, onChunk: () => void): AsyncGenerator<FeedEvent> {
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  let length = 0;
  let count = 0;
  for await (const chunk of chunks) {
    onChunk();
    const text = decoder.decode(chunk, { stream: true });
    if (text === "") continue;
    const endsOne = text.includes("\n\n") || (text.startsWith("\n") && pieces.at(-1)?.endsWith("\n") === true);
    pieces.push(text);
    length += text.length;
    if (endsOne) {
      const frames = pieces.join("").split("\n\n");
      const rest = frames.pop() ?? "";
      [pieces, length] = [rest === "" ? [] : [rest], rest.length];
      for (const frame of frames) {
        if (++count > maxEvents) throw new FederationError("endpoint_answer", `its stream told more than ${maxEvents} events`);
        const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, "m").exec(frame)?.[1];
        const data = field("data");
        if (data !== undefined) yield { name: field("event") ?? "message", data, id: field("id") };
      }
    }
    if (length > maxEventChars) throw new FederationError("endpoint_answer", `an event of its stream is longer than ${maxEventChars} characters`);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms).unref();
    signal.addEventListener("abort", done);
  });
}

const defaultLimits = {
  /** Each has a connection here, some 100 KiB (measured with 500, Node 26.10), and one at the peer; those above are polled. */
  maxStreams: 1_000,
  /** How many are opened at once. */
  maxOpening: 16,
  /** After a start they are not all opened at once: so long for each. */
  spreadEachMs: 20,
  maxSpreadMs: 10_000,
  retryMs: 2_000,
  maxRetryMs: 600_000,
  /** One that ends sooner was none. */
  stableMs: 10_000,
  /** Three signs of life. */
  silenceMs: 45_000,
  maxAgeMs: 3_600_000,
  /** Of one stream, which lives an hour: a sign of life each 15 s, and changes. More of them would keep us busy with one peer. */
  maxEvents: 2_000,
} as const;
/** As much as a bundle may have. */
const maxEventChars = 1024 * 1024;
