import type { WriteStream } from "node:tty";
import type { Ask } from "./prompt.ts";

/** What a command sees of the world besides its arguments; `main.ts` gives it the process's own. */
export interface CliIo {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** True when stderr is a terminal, where a line may be written over: progress is shown there only. */
  readonly isTerminal?: boolean;
  /** True when stdout is a terminal that shows colours, and nobody asked for none. */
  readonly hasColour?: boolean;
  /** What is drawn on, where stdout is a terminal. */
  readonly screen?: Screen | undefined;
  /** All of standard input. @throws {RangeError} when it is longer than `maxBytes` */
  readonly readStdin?: (maxBytes: number) => Promise<Uint8Array>;
  /** Undefined where nobody could answer. */
  readonly ask?: Ask | undefined;
}

/** A terminal's screen. */
export interface Screen {
  size(): { readonly columns: number; readonly rows: number };
  /** @returns what ends it */
  onResize(listener: () => void): () => void;
}

/** The screen behind a stream; undefined where there is none, or one that cannot be drawn on. */
export function screenOf(stream: WriteStream, env: CliIo["env"]): Screen | undefined {
  if (!stream.isTTY || env["TERM"] === "dumb") return undefined;
  return {
    size: () => ({ columns: stream.columns, rows: stream.rows }),
    onResize(listener) {
      stream.on("resize", listener);
      return () => void stream.off("resize", listener);
    },
  };
}
