import { setTimeout as sleep } from "node:timers/promises";
import { inert, inertJson } from "../settings/inert.ts";
import { ApiError } from "./api.ts";
import type { CliIo, Screen } from "./io.ts";
import { painter, signsOf } from "./signs.ts";
import { wrap } from "../settings/wrap.ts";

/** What one look has found. */
export interface Look {
  /** The document; what changed is told by it. */
  readonly value: unknown;
  /** For people, as it fits so many columns; of what has more rows the first are shown. */
  readonly draw: (size: { readonly columns: number; readonly rows: number }) => string;
}

export interface Watching {
  /** As in `countersign edges`. */
  readonly command: string;
  /** @throws {ApiError} */
  readonly look: () => Promise<Look>;
  readonly json: boolean;
  readonly intervalMs: number;
  /** Aborted when the command is to end. */
  readonly ending: AbortSignal;
}

/**
 * Looks again and again until it is to end. On a terminal the screen is drawn anew, elsewhere each change is printed: as a line of JSON, or
 * under a line with the time. A CA that does not answer meanwhile is said to be away, and what was known then stays.
 * @returns the last look; undefined when there was none
 * @throws {ApiError} when the first look fails, and later for what will not pass by itself
 */
export async function keepLooking({ command, look, json, intervalMs, ending }: Watching, io: CliIo): Promise<Look | undefined> {
  const screen = json ? undefined : io.screen;
  let shown: { readonly look: Look; readonly document: string; readonly at: Date } | undefined;
  let away: { readonly since: Date; readonly why: string } | undefined;
  const teller = awayTeller(command, io);

  const redraw = (): void => {
    if (screen !== undefined && shown !== undefined) io.stdout(frameOf(screen, headOf(shown.at), shown.look.draw));
  };
  function headOf(at: Date): string {
    const { warning } = signsOf(io.env);
    const head = `countersign ${command} at ${time(at)}, every ${intervalMs / 1000} s; Ctrl-C ends it\n`;
    return away === undefined ? head : `${head}${wrap(`${warning} no answer since ${time(away.since)}, below is what was known before: ${inert(away.why)}`).replace(warning, painter(io.hasColour)("warning", warning))}\n`;
  }
  function told(found: Look): void {
    const document = JSON.stringify(found.value);
    const [isNew, now] = [document !== shown?.document, new Date()];
    shown = { look: found, document, at: now };
    away = undefined;
    if (screen === undefined) teller.answered();
    if (screen !== undefined) redraw();
    else if (isNew) io.stdout(json ? `${inertJson(found.value)}\n` : `-- ${now.toISOString()}\n${found.draw(printed)}`);
  }

  const stopFollowing = screen?.onResize(redraw);
  if (screen !== undefined) io.stdout(enterScreen);
  try {
    while (!ending.aborted) {
      try {
        told(await look());
      } catch (error) {
        if (ending.aborted) break;
        if (!(error instanceof ApiError) || shown === undefined || !passes(error)) throw error;
        if (screen === undefined) teller.missed(error);
        away = { since: away?.since ?? new Date(), why: error.message };
        redraw();
      }
      await sleep(intervalMs, undefined, { signal: ending }).catch(() => undefined);
    }
  } finally {
    stopFollowing?.();
    if (screen !== undefined) io.stdout(leaveScreen);
  }
  // The screen that was there before is back; what was seen last stays on it.
  if (screen !== undefined && shown !== undefined) io.stdout(shown.look.draw({ columns: screen.size().columns, rows: Infinity }));
  return shown?.look;
}

/** Says on standard error, once each time, that a CA is away and that it is back. */
export function awayTeller(command: string, { stderr }: Pick<CliIo, "stderr">) {
  let [known, isAway] = [false, false];
  return {
    answered(): void {
      if (isAway) stderr(`countersign ${command}: there is an answer again\n`);
      [known, isAway] = [true, false];
    },
    /** @throws {ApiError} the same, where there was never an answer, or it will not pass by itself */
    missed(error: ApiError): void {
      if (!known || !passes(error)) throw error;
      if (!isAway) stderr(`${wrap(`countersign ${command}: no answer since now: ${inert(error.message)}`)}\n`);
      isAway = true;
    },
  };
}

/** A signal that is aborted when a process is asked to end. */
export function endingWith(stopped: () => Promise<unknown>): AbortSignal {
  const ending = new AbortController();
  void stopped().then(() => ending.abort());
  return ending.signal;
}

/** Over what was there, so that nothing flickers; each line cut to the screen, and so many of them. */
function frameOf(screen: Screen, head: string, draw: Look["draw"]): string {
  const { columns, rows } = screen.size();
  const above = head.split("\n").slice(0, -1);
  const room = Math.max(1, rows - above.length - 1);
  const lines = draw({ columns, rows: room }).split("\n").slice(0, -1);
  const fitting = lines.length <= room ? lines : [...lines.slice(0, room - 1), `… and ${lines.length - room + 1} lines more`];
  return `${home}${[...above, "", ...fitting].slice(0, rows).map((line) => cut(line, columns)).join(`${eraseRight}\n`)}${eraseRight}${eraseBelow}`;
}

/** Colours take no room. */
function cut(line: string, columns: number): string {
  let room = columns;
  return line.replaceAll(/\u001b\[[\d;]*m|[^]/gu, (part) => (part.length > 1 && part.startsWith("\u001b") ? part : room-- > 0 ? part : ""));
}

/** What another moment may bring: no answer, or that the CA cannot now. */
function passes({ status }: ApiError): boolean {
  return status === undefined || status === 429 || status >= 500;
}

function time(at: Date): string {
  return at.toTimeString().slice(0, 8);
}

/** What is not drawn on a screen. */
const printed = { columns: 79, rows: Infinity } as const;
/** xterm's: a screen of its own, so that a resize leaves nothing torn behind, and no cursor on it. */
const enterScreen = "\u001b[?1049h\u001b[?25l\u001b[H\u001b[2J";
const leaveScreen = "\u001b[?25h\u001b[?1049l";
const home = "\u001b[H";
const eraseRight = "\u001b[K";
const eraseBelow = "\u001b[J";
