import type { TapEvent, TapRequest } from "../contract/taps.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { noMore, readArguments, required, seconds, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { longestTap, tapOn, tapOnce } from "./tapping.ts";
import { addUp, sortedRows, topTable, type TopRow } from "./top-rows.ts";
import { endingWith, keepLooking, type Look } from "./watching.ts";

/**
 * `countersign top WORKLOAD`: live requests added up, as `linkerd viz top` does.
 * @param stopped  resolves when the process is asked to end
 */
export async function top(args: readonly string[], io: CliIo, stopped: () => Promise<unknown>): Promise<number> {
  const { values, positionals: [workload, ...rest] } = readArguments(args, { ...apiOptions, for: { type: "string" }, path: { type: "string" }, limit: { type: "string" }, watch: { type: "boolean" } });
  if (values.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(rest);
  const { json, print, explain } = output(values.output, io);
  const request: TapRequest = {
    workload: required(workload, "the workload", "spiffe://TD/ns/shop/sa/cart"), limit: values.limit === undefined ? longestTap.limit : wholeNumber(values.limit),
    ...(values.for !== undefined && { seconds: seconds(values.for, "--for") }), ...(values.path !== undefined && { path: values.path }),
  };
  if (values.watch === true && (values.for !== undefined || values.limit !== undefined)) throw new UsageError("--watch goes with neither --for nor --limit.");
  const rows = new Map<string, TopRow>();
  let leftOut = 0;

  function onEvent(told: TapEvent): void {
    if (told.event === "tap" && values.watch !== true && io.screen === undefined) explain(`Open for ${told.data.seconds} s, or ${told.data.limit} requests.\n`);
    if (told.event !== "records") return;
    for (const record of told.data.records) addUp(rows, record);
    leftOut += told.data.leftOut;
  }

  if (values.watch !== true && (json || io.screen === undefined)) {
    await tapOnce(api(values, io), { request, onEvent });
    print(sortedRows(rows), topTable(rows));
  } else {
    await showLive(values.watch === true ? { ...request, seconds: longestTap.seconds } : request, values.watch === true);
  }
  if (leftOut > 0) explain(`${leftOut} more requests were left out: they came too fast.\n`);
  return 0;

  /** On the screen, or as lines; as long as the tap is open, or one after the other. */
  async function showLive(live: TapRequest, isEndless: boolean): Promise<void> {
    const over = new AbortController();
    const ending = AbortSignal.any([endingWith(stopped), over.signal]);
    const ca = api(values, io, ending);
    const first = Promise.withResolvers<void>();
    let failure: unknown;
    function told(event: TapEvent): void {
      failure = undefined;
      onEvent(event);
      first.resolve();
    }
    function onAway(error: unknown): void {
      if (!ending.aborted) failure = error;
      first.resolve();
    }
    async function look(): Promise<Look> {
      if (failure !== undefined) throw failure;
      return { value: sortedRows(rows), draw: () => `${topTable(rows)}${rows.size === 0 ? "Nothing shows as long as nobody asks.\n" : ""}` };
    }
    const tapping = { request: live, onEvent: told };
    const tapped = (isEndless ? tapOn(ca, { ...tapping, ending, onAway }) : tapOnce(ca, tapping)).catch(onAway).finally(() => {
      first.resolve();
      over.abort();
    });
    try {
      await first.promise;
      await keepLooking({ command: "top", look, json, intervalMs: lookIntervalMs, ending }, io);
    } finally {
      over.abort();
      await tapped;
    }
    if (failure !== undefined && !isEndless) throw failure;
  }
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text) || Number(text) > longestTap.limit) throw new UsageError(`--limit is a number up to ${longestTap.limit}, not ${text}.`);
  return Number(text);
}

/** Proxies report twice a second. */
const lookIntervalMs = 1000;

const usage = `countersign top: which requests of a workload are many, slow or failing

  countersign top spiffe://TD/ns/shop/sa/cart [--for 60s] [--path /items]
      [--limit 10000] [--watch] [-o json]
      live requests added up by who asks whom for what; a terminal is drawn
      anew as they come, and the last table stays
      GOOD: answered below status 500, and whole
      --watch: until Ctrl-C; with -o json a line for each change
  For admins and auditors; the audit log says who looked at whom.
${apiHelp}`;
