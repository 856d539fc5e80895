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
  /** All of standard input. @throws {RangeError} when it is longer than `maxBytes` */
  readonly readStdin?: (maxBytes: number) => Promise<Uint8Array>;
  /** Undefined where nobody could answer. */
  readonly ask?: Ask | undefined;
}
