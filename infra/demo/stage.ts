import type { RunningProcess } from "./processes.ts";
import type { Showing } from "./showing.ts";

/** What a demo is played on; `main.ts` ends and removes all of it. */
export interface Stage {
  readonly showing: Showing;
  /** For what is written. */
  readonly dataDir: string;
  /** Nobody will look around afterwards. */
  readonly once: boolean;
  /** A process to be ended with the demo. */
  keep<T extends Pick<RunningProcess, "stop">>(process: T): T;
  /** Something to be done when the processes have ended. */
  atEnd(act: () => void): void;
}
