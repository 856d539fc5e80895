import { setTimeout as delay } from "node:timers/promises";
import type { RunningProcess } from "../processes.ts";
import { simulatedMs, type Pace } from "./simulated-time.ts";

/** Tells the processes of a demo, all at once, when their time passes faster. */
export interface Timekeeper {
  /** Simulated, in ms since the epoch. */
  now(): number;
  /** For the environment of a process that starts. */
  env(): Readonly<Record<string, string>>;
  /** A process that started with that environment. */
  tell<T extends RunningProcess>(process: T): T;
  /** So much simulated time passes, so many times faster than real time does; resolves behind it. */
  pass(ms: number, factor: number): Promise<void>;
}

/** Tells processes how fast their time goes. */
export function timekeeper(): Timekeeper {
  const paces: Pace[] = [];
  const processes = new Set<RunningProcess>();
  return {
    now: () => simulatedMs(paces, Date.now()),
    env: () => ({ DEMO_PACES: JSON.stringify(paces) }),
    tell(process) {
      processes.add(process);
      process.child.once("exit", () => processes.delete(process));
      return process;
    },
    async pass(ms, factor) {
      const fromMs = Date.now() + leadMs;
      const untilMs = fromMs + ms / factor;
      paces.push({ fromMs, factor }, { fromMs: untilMs, factor: 1 });
      for (const { child } of processes) child.send(paces);
      await delay(untilMs - Date.now());
    },
  };
}

/** For the message to be read everywhere before it counts. */
const leadMs = 500;
