/** A server-sent event as a test wants it. */
export interface ReadEvent {
  readonly event: string;
  readonly id: string | undefined;
  /** Parsed. */
  readonly data: Record<string, unknown>;
}

export interface EventReader {
  /** The next event; comments are counted and left out. Rejects when the stream ends first. */
  next(): Promise<ReadEvent>;
  /** Reads on up to the next event of this kind. */
  until(event: string): Promise<ReadEvent>;
  /** Resolves when the stream has ended, whatever came before. */
  ended(): Promise<void>;
  readonly comments: () => number;
  cancel(): Promise<void>;
}

/** Takes an event stream apart, written apart from the proxy's own parser. */
export function eventReader(stream: ReadableStream<Uint8Array>): EventReader {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let comments = 0;

  async function block(): Promise<string | undefined> {
    for (;;) {
      const end = text.indexOf("\n\n");
      if (end >= 0) {
        const found = text.slice(0, end);
        text = text.slice(end + 2);
        return found;
      }
      const { done, value } = await reader.read();
      if (done) return undefined;
      text += decoder.decode(value, { stream: true });
    }
  }

  async function next(): Promise<ReadEvent> {
    for (;;) {
      const found = await block();
      if (found === undefined) throw new Error("the stream ended");
      if (found.startsWith(":")) {
        comments += 1;
        continue;
      }
      const field = (name: string) => found.split("\n").filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      return { event: field("event")[0] ?? "", id: field("id")[0], data: JSON.parse(field("data").join("\n")) as Record<string, unknown> };
    }
  }

  return {
    next,
    async until(event) {
      for (;;) {
        const found = await next();
        if (found.event === event) return found;
      }
    },
    async ended() {
      while ((await block()) !== undefined);
    },
    comments: () => comments,
    cancel: () => reader.cancel(),
  };
}
