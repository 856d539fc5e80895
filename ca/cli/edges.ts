import type { EdgeList, EdgeSummary } from "../contract/edges.ts";
import { paths } from "../contract/paths.ts";
import { api, apiHelp, apiOptions } from "./api.ts";
import { noMore, readArguments } from "./arguments.ts";
import type { CliIo } from "./io.ts";
import { output } from "./output.ts";
import { table } from "./table.ts";

/** `countersign edges`: who talks to whom, and whether it is secured. */
export async function edges(args: readonly string[], io: CliIo): Promise<number> {
  const { values, positionals } = readArguments(args, { ...apiOptions, wide: { type: "boolean" } });
  if (values.help) {
    io.stdout(usage);
    return 0;
  }
  noMore(positionals);
  const out = output(values.output, io);
  const list = await api(values, io).call<EdgeList>("GET", paths.edges);
  out.print(list, edgeTable(list.edges, values.wide === true));
  out.explain(`${list.proxies === 0 ? "No proxy has reported yet; each does once a minute, and soon after something is new" : `${list.proxies} ${list.proxies === 1 ? "proxy" : "proxies"} reported lately`}.\n`);
  if (list.truncated) out.explain("There are more edges than fit here.\n");
  return 0;
}

/** What is not known to be secured is never shown as secured. */
export function edgeTable(list: readonly EdgeSummary[], wide: boolean): string {
  const shown = (id: string): string => {
    const name = id === "" ? "nobody known" : id.replace(/^spiffe:\/\//, "");
    return wide || name.length <= maxNameLength ? name : `…${name.slice(1 - maxNameLength)}`;
  };
  const rows = list.map(({ clientId, serverId, secured, reason }) => [shown(clientId), shown(serverId), secured ? "√ mutual TLS" : `× ${(reason ?? "unknown").replaceAll("_", " ")}`]);
  return table(["SRC", "DST", "SECURED"], rows);
}

/** Two of them and the last column are 79 columns. */
const maxNameLength = 31;

const usage = `countersign edges: who talks to whom, and is it secured

  countersign edges [--wide] [-o json]
      as the proxies of both sides report it; --wide shows whole names.
      Not secured, because:
      plain text  the client has no proxy, and the server takes plain text
      no route    the server has no name, and the client lets it pass
${apiHelp}`;
