import { paths } from "../contract/paths.ts";
import { tapLine, type TapEvent, type TapRequest } from "../contract/taps.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { noMore, readArguments, required, UsageError } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";

/** `countersign tap WORKLOAD`: live requests, as the workload's proxies report them. */
export async function tap(args: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals: [workload, ...rest] } = readArguments(args, { ...apiOptions, ...tapOptions });
  if (values.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(rest);
  const { json, explain } = output(values.output, io);
  let leftOut = 0;
  await api(values, io).follow(paths.taps, requestOf(required(workload, "the workload", "spiffe://TD/ns/shop/sa/cart"), values), (event, data) => {
    const told = { event, data } as TapEvent;
    if (told.event === "tap") explain(`Open for ${told.data.seconds} s, or ${told.data.limit} requests. Nothing shows as long as nobody asks.\n`);
    else if (told.event === "records") {
      leftOut += told.data.leftOut;
      for (const record of told.data.records) io.stdout(json ? `${JSON.stringify(record)}\n` : `${tapLine(record)}\n`);
    } else if (told.event === "end") explain(`Over: ${reasons[told.data.reason]}.${leftOut > 0 ? ` ${leftOut} more requests were left out.` : ""}\n`);
  });
  return 0;
}

function requestOf(workload: string, { direction, method, path, seconds, limit }: { readonly [Name in keyof typeof tapOptions]?: string | undefined }): TapRequest {
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

const tapOptions = { direction: { type: "string" }, method: { type: "string" }, path: { type: "string" }, seconds: { type: "string" }, limit: { type: "string" } } as const;

const reasons: Readonly<Record<Extract<TapEvent, { event: "end" }>["data"]["reason"], string>> = {
  time: "its time has passed", limit: "it has shown as many requests as it was to", closing: "this replica of the CA stops", failed: "the CA's database does not answer",
};

const usage = `countersign tap: live requests of a workload

  countersign tap spiffe://TD/ns/shop/sa/cart [--direction inbound|outbound]
      [--method GET] [--path /items] [--seconds 60] [--limit 1000] [-o json]
  Method, path without its query, status, latency, and both identities; never
  a header or a body. --path is what it begins with. For admins and auditors;
  the audit log says who looked at whom.
${apiHelp}`;
