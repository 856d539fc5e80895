import { tapLine, type TapEvent, type TapRequest } from "../contract/taps.ts";
import { inert, inertJson } from "../settings/inert.ts";
import { api, apiHelp, apiOptions, type ApiError } from "./api.ts";
import { noMore, readArguments, required, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { painter } from "./signs.ts";
import { longestTap, tapOn, tapOnce } from "./tapping.ts";
import { awayTeller, endingWith } from "./watching.ts";

/**
 * `countersign tap WORKLOAD`: live requests, as the workload's proxies report them.
 * @param stopped  resolves when the process is asked to end
 */
export async function tap(args: readonly string[], io: CliIo, stopped: () => Promise<unknown>): Promise<number> {
  const { values, positionals: [workload, ...rest] } = readArguments(args, { ...apiOptions, ...tapOptions });
  if (values.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(rest);
  const { json, explain } = output(values.output, io);
  const request = requestOf(required(workload, "the workload", "spiffe://TD/ns/shop/sa/cart"), values);
  if (values.watch === true && (values.seconds !== undefined || values.limit !== undefined)) throw new UsageError("--watch goes with neither --seconds nor --limit.");
  const paint = painter(io.hasColour);
  let leftOut = 0;

  function onEvent(told: TapEvent): void {
    if (told.event === "tap" && values.watch !== true) explain(`Open for ${told.data.seconds} s, or ${told.data.limit} requests. Nothing shows as long as nobody asks.\n`);
    else if (told.event === "records") {
      leftOut += told.data.leftOut;
      const columns = values.wide === true ? Infinity : (io.screen?.size().columns ?? 80) - 1;
      for (const record of told.data.records) {
        // What is in it came with somebody's request.
        const line = inert(tapLine(record, columns)).replace("tls=false", paint("failed", "tls=false"));
        io.stdout(json ? `${inertJson(record)}\n` : `${line}\n`);
      }
    } else if (told.event === "end" && values.watch !== true) explain(`Over: ${reasons[told.data.reason]}.${leftOut > 0 ? ` ${leftOut} more requests were left out.` : ""}\n`);
  }

  if (values.watch !== true) {
    await tapOnce(api(values, io), { request, onEvent });
    return 0;
  }
  const ending = endingWith(stopped);
  const away = awayTeller("tap", io);
  explain("Live until Ctrl-C. Nothing shows as long as nobody asks.\n");
  await tapOn(api(values, io, ending), {
    request: { ...request, ...longestTap }, ending,
    onEvent(told) {
      away.answered();
      onEvent(told);
    },
    onAway: (error: ApiError) => away.missed(error),
  });
  return 0;
}

function requestOf(workload: string, { direction, method, path, seconds, limit }: { readonly [Name in "direction" | "method" | "path" | "seconds" | "limit"]?: string | undefined }): TapRequest {
  if (direction !== undefined && direction !== "inbound" && direction !== "outbound") throw new UsageError(`--direction is inbound or outbound, not ${direction}.`);
  return {
    workload, ...(direction !== undefined && { direction }), ...(method !== undefined && { method: method.toUpperCase() }), ...(path !== undefined && { path }),
    ...numbered("seconds", seconds), ...numbered("limit", limit),
  };
}

function numbered(name: "seconds" | "limit", text: string | undefined): Partial<Record<"seconds" | "limit", number>> {
  if (text === undefined) return {};
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new UsageError(`--${name} is a number, not ${text}.`);
  return { [name]: Number(text) };
}

const tapOptions = {
  direction: { type: "string" }, method: { type: "string" }, path: { type: "string" }, seconds: { type: "string" }, limit: { type: "string" }, watch: { type: "boolean" }, wide: { type: "boolean" },
} as const;

const reasons: Readonly<Record<Extract<TapEvent, { event: "end" }>["data"]["reason"], string>> = {
  time: "its time has passed", limit: "it has shown as many requests as it was to", closing: "this replica of the CA stops", failed: "the CA's database does not answer",
};

const usage = `countersign tap: live requests of a workload

  countersign tap spiffe://TD/ns/shop/sa/cart [--direction inbound|outbound]
      [--method GET] [--path /items] [--seconds 60] [--limit 1000] [--watch]
      [--wide] [-o json]
      method, path without its query, status, latency, and both identities;
      never a header or a body
      --path: what it begins with; --watch: live, until Ctrl-C
      --wide: whole names and paths; -o json: a line for each request
  For admins and auditors; the audit log says who looked at whom.
${apiHelp}`;
