import { encodeEventId, sourceNames, type Cursor, type SourceName } from "./cursor.ts";
import { encodeFrame, heartbeatFrame } from "./frame.ts";
import type { Told } from "./sources.ts";

/** Why a stream ended: its reader went, took nothing for too long, had to give up its place, or we could not go on. */
export type WatchEnd = "left" | "slow" | "displaced" | "failed" | "blind" | "restored" | "closing";

export interface WatcherDeps {
  readonly feedEpoch: string;
  readonly from: Cursor;
  /** What is told; default: everything. */
  readonly names?: readonly SourceName[] | undefined;
  /** How far there is something to read. */
  readonly newest: () => Cursor;
  readonly read: (name: SourceName, after: number) => Promise<Told>;
  readonly onEnd: (why: WatchEnd) => void;
}

/** One stream. It reads on by itself until it has caught up; from then on it is live and told what is new. */
export interface Watcher {
  readonly stream: ReadableStream<Uint8Array>;
  isLive(): boolean;
  /** Gives a live one what is new of a source. One whose reader has not taken what is waiting reads it later by itself: nothing piles up here. */
  push(name: SourceName, frames: readonly Uint8Array[], cursor: Cursor): void;
  /** There is more than one push: each reads it by itself. */
  fallBehind(name: SourceName): void;
  /** Shows that the connection lives, and ends one whose reader has taken nothing since the last time. */
  heartbeat(): void;
  end(why: WatchEnd): void;
}

/** Begins with the epoch; then comes what is behind `from`. */
export function openWatcher({ feedEpoch, from, names = sourceNames, newest, read, onEnd }: WatcherDeps): Watcher {
  const unread = new Set<SourceName>(names);
  let cursor = from;
  let live = false;
  let advancing = false;
  let ended = false;
  let taken = 0;
  let takenBefore = -1;
  let controller!: ReadableStreamDefaultController<Uint8Array>;

  const stream = new ReadableStream<Uint8Array>({
    start(given) {
      controller = given;
      controller.enqueue(encodeFrame("epoch", JSON.stringify({ feedEpoch })));
    },
    pull() {
      taken += 1;
      void advance();
    },
    cancel: () => finish("left"),
  }, new ByteLengthQueuingStrategy({ highWaterMark: maxWaitingBytes }));

  function hasRoom(): boolean {
    return !ended && (controller.desiredSize ?? 0) > 0;
  }

  async function advance(): Promise<void> {
    if (advancing || live) return;
    advancing = true;
    try {
      while (hasRoom()) {
        const name = names.find((one) => unread.has(one) || cursor[one] < newest()[one]);
        if (name === undefined) {
          live = true;
          break;
        }
        const { data, sequence } = await read(name, cursor[name]);
        if (ended) break;
        unread.delete(name);
        cursor = { ...cursor, [name]: sequence };
        for (const frame of framesOf(feedEpoch, name, data, cursor)) controller.enqueue(frame);
      }
    } catch {
      end("failed");
    } finally {
      advancing = false;
    }
  }

  function finish(why: WatchEnd): void {
    if (ended) return;
    ended = true;
    live = false;
    onEnd(why);
  }

  function end(why: WatchEnd): void {
    if (ended) return;
    finish(why);
    // What waits for a reader that takes nothing would keep the connection.
    if (why === "slow") controller.error(new Error("the reader of the feed took nothing for too long"));
    else controller.close();
  }

  return {
    stream,
    isLive: () => live,
    push(name, frames, next) {
      if (!live || !names.includes(name)) return;
      if (!hasRoom()) {
        live = false;
        return;
      }
      for (const frame of frames) controller.enqueue(frame);
      cursor = next;
    },
    fallBehind(name) {
      if (!names.includes(name)) return;
      live = false;
      void advance();
    },
    heartbeat() {
      if (hasRoom()) controller.enqueue(heartbeatFrame);
      else if (taken === takenBefore) end("slow");
      takenBefore = taken;
    },
    end,
  };
}

/** Events of one source; the last one says where the reader is then, so that an interrupted reader is told all of them again. */
export function framesOf(feedEpoch: string, name: SourceName, data: readonly string[], cursor: Cursor): readonly Uint8Array[] {
  const id = encodeEventId(feedEpoch, cursor);
  return data.map((one, index) => encodeFrame(name, one, index === data.length - 1 ? id : undefined));
}

/** What may wait in memory for one reader before it is left to read by itself; one more event may come on top. */
const maxWaitingBytes = 64 * 1024;
