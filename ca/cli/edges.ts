import type { EdgeList, EdgeSummary } from "../contract/edges.ts";
import { paths } from "../contract/paths.ts";
import { api, apiHelp, apiOptions, type Api } from "./api.ts";
import { noMore, readArguments } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { painter, signsOf } from "./signs.ts";
import { table } from "./table.ts";
import { endingWith, keepLooking } from "./watching.ts";

/**
 * `countersign edges`: who talks to whom, and whether it is secured.
 * @param stopped  resolves when the process is asked to end
 */
export async function edges(args: readonly string[], io: CliIo, stopped: () => Promise<unknown>): Promise<number> {
  const { values, positionals } = readArguments(args, { ...apiOptions, wide: { type: "boolean" }, watch: { type: "boolean" } });
  if (values.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(positionals);
  const out = output(values.output, io);
  const ending = values.watch === true ? endingWith(stopped) : undefined;
  const ca = api(values, io, ending);
  const read = () => readEdges(ca);
  if (ending !== undefined) {
    const look = async () => {
      const list = await read();
      // When each was last seen changes with each report.
      const value = { ...list, edges: list.edges.map(({ lastSeen: _lastSeen, connections: _connections, ...edge }) => edge) };
      return { value, draw: ({ columns }: { readonly columns: number }) => `${edgeTable(list.edges, io, values.wide === true, columns)}${countText(list)}` };
    };
    await keepLooking({ command: "edges", look, json: out.json, intervalMs: watchIntervalMs, ending }, io);
    return 0;
  }
  const list = await read();
  if (out.json) out.print(list, "");
  else io.stdout(edgeTable(list.edges, io, values.wide === true));
  out.explain(countText(list));
  return 0;
}

/** All that people would read, and more. */
async function readEdges(ca: Pick<Api, "call">): Promise<Omit<EdgeList, "nextCursor">> {
  const edges: EdgeSummary[] = [];
  for (let cursor = ""; ;) {
    const { nextCursor, ...page } = await ca.call<EdgeList>("GET", `${paths.edges}?limit=1000${cursor}`);
    edges.push(...page.edges);
    if (nextCursor === undefined || edges.length >= maxEdges) return { ...page, edges, truncated: page.truncated || nextCursor !== undefined };
    cursor = `&cursor=${encodeURIComponent(nextCursor)}`;
  }
}

function countText({ edges: shown, total, proxies, truncated }: Omit<EdgeList, "nextCursor">): string {
  const reported = proxies === 0 ? "No proxy has reported yet; each does within seconds of its first request" : `${proxies} ${proxies === 1 ? "proxy" : "proxies"} reported lately`;
  return `${reported}.\n${shown.length < total ? `The first ${shown.length} of ${total} edges are shown; the dashboard searches them all.\n` : truncated ? "There are more edges than proxies could report.\n" : ""}`;
}

/**
 * What is not known to be secured is never shown as secured.
 * @param wide     shows whole names
 * @param columns  of the screen; names get what room there is
 */
export function edgeTable(list: readonly EdgeSummary[], { env, hasColour }: Pick<CliIo, "env" | "hasColour">, wide: boolean, columns = 79): string {
  const [signs, paint] = [signsOf(env), painter(hasColour)];
  const maxNameLength = Math.max(minNameLength, Math.floor((columns - reasonLength) / 2));
  const shown = (id: string): string => {
    const name = id === "" ? "nobody known" : id.replace(/^spiffe:\/\//, "");
    return wide || name.length <= maxNameLength ? name : `…${name.slice(1 - maxNameLength)}`;
  };
  const rows = list.map(({ clientId, serverId, secured, reason }) => [shown(clientId), shown(serverId), secured ? `${signs.ok} mutual TLS` : `${signs.failed} ${(reason ?? "unknown").replaceAll("_", " ")}`]);
  // Two blanks are between columns and none is in a name, so this is the last one.
  return table(["SRC", "DST", "SECURED"], rows).replaceAll(new RegExp(`(?<= )(?:${signs.ok}|${signs.failed})(?: [^ \\n]+)+$`, "gm"), (state) => paint(state.startsWith(signs.ok) ? "ok" : "failed", state));
}

const maxEdges = 5000;
/** The longest reason, and what is between columns: two names of 31 fit 79. */
const reasonLength = 17;
const minNameLength = 12;
/** Proxies report what is new within seconds. */
const watchIntervalMs = 2000;

const usage = `countersign edges: who talks to whom, and is it secured

  countersign edges [--wide] [--watch] [-o json]
      as the proxies of both sides report it; --wide shows whole names.
      --watch: live, until Ctrl-C; with -o json a line for each change
      Not secured, because:
      plain text  the client has no proxy, and the server takes plain text
      no route    the server has no name, and the client lets it pass
${apiHelp}`;
