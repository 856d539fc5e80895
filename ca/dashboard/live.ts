import { mediaType } from "../contract/headers.ts";
import { cursorAt, encodeEventId } from "../feed/cursor.ts";
import type { Answer } from "../http/answer.ts";
import type { Caller, CaServices } from "../http/services.ts";

/**
 * Server-sent events that say no more than that something changed: each page knows by itself what it shows, and asks for it again. What
 * the feed tells is told at once, the rest when the log has grown, and traffic, which is in neither, now and then.
 * @param callerNow  who the session stands for by now; it ends with it
 */
export async function liveStream(services: Pick<CaServices, "watch" | "store" | "feedEpoch">, caller: Caller, callerNow: () => Promise<Caller | undefined>): Promise<Answer> {
  const from = encodeEventId(services.feedEpoch, cursorAt(await services.store.feedPosition()));
  const feed = (await services.watch(from, { proven: true, name: caller.actor })).getReader();
  let timer: NodeJS.Timeout | undefined;
  let size: number | undefined;
  let ticks = 0;

  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const end = (): void => {
        clearInterval(timer);
        feed.cancel().catch(() => undefined);
        try {
          controller.close();
        } catch {
          // Its reader was faster.
        }
      };
      const look = async (): Promise<void> => {
        ticks += 1;
        if (ticks % ticksOfSession === 0 && (await callerNow()) === undefined) return end();
        const newest = (await services.store.checkpoint())?.size;
        if ((size !== undefined && newest !== size) || ticks % ticksOfTraffic === 0) controller.enqueue(changedFrame);
        size = newest;
      };
      timer = setInterval(() => void look().catch(end), tickMs).unref();
      void pump(feed, () => controller.enqueue(changedFrame)).then(end, end);
    },
    async cancel() {
      clearInterval(timer);
      await feed.cancel();
    },
  });
  return { status: 200, body, contentType: mediaType.eventStream, headers: { "cache-control": "no-store, no-transform", "x-accel-buffering": "no" } };
}

/** From the present on every frame is a change, or a sign of life. */
async function pump(feed: ReadableStreamDefaultReader<Uint8Array>, onFrame: () => void): Promise<void> {
  for (;;) {
    const { done } = await feed.read();
    if (done) return;
    onFrame();
  }
}

const changedFrame: Uint8Array = Buffer.from("event: changed\ndata: {}\n\n");
const tickMs = 2000;
/** Whether the session still is one is looked at each 20 s, and traffic each 10. */
const ticksOfSession = 10;
const ticksOfTraffic = 5;
