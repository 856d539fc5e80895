import { request } from "node:http";
import { parseArgs } from "node:util";
import { tapLine, type TapRecord } from "../../ca/contract/taps.ts";
import { inert, inertJson } from "../../ca/settings/inert.ts";
import type { CommandOutput } from "../intercept/command.ts";

/** Runs `countersign-proxy tap ...`: live requests of the proxy on this host. @returns the exit code: 0 looked, 1 could not, 2 wrong command line */
export async function runTap(args: readonly string[], { out, err }: CommandOutput): Promise<number> {
  if (args.includes("--help")) {
    out(tapHelp);
    return 0;
  }
  let values;
  try {
    ({ values } = parseArgs({ args: [...args], options, strict: true }));
  } catch (error) {
    err(`countersign-proxy tap: ${(error as Error).message}\n`);
    return 2;
  }
  const { admin = "127.0.0.1:4191", output = "text", wide = false, ...filter } = values;
  if (!URL.canParse(`http://${admin}`) || (output !== "text" && output !== "json")) {
    err("countersign-proxy tap: --admin is HOST:PORT, -o is text or json\n");
    return 2;
  }
  const url = new URL(`http://${admin}/tap`);
  for (const [name, value] of Object.entries(filter)) url.searchParams.set(name, value);
  return follow(url, (line) => out(shown(line, output, wide)), err);
}

function follow(url: URL, onLine: (line: string) => void, err: (text: string) => void): Promise<number> {
  return new Promise((resolve) => {
    const fail = (why: string): void => {
      err(`countersign-proxy tap: ${why}\n`);
      resolve(1);
    };
    request(url, (response) => {
      let rest = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        rest += chunk;
        if (response.statusCode !== 200) return;
        const lines = rest.split("\n");
        rest = lines.pop() ?? "";
        lines.forEach(onLine);
      });
      response.on("error", (error) => fail(`the proxy at ${url.host} has gone (${error.message})`));
      response.on("end", () => (response.statusCode === 200 ? resolve(0) : fail(rest.trim())));
    }).on("error", (error: NodeJS.ErrnoException) => fail(`no proxy answers at ${url.host} (${error.code ?? error.message}); name its admin address with --admin`)).end();
  });
}

function shown(line: string, output: string, wide: boolean): string {
  const record = JSON.parse(line) as TapRecord | { readonly leftOut: number };
  // What is in it came with somebody's request.
  if (output === "json") return `${inertJson(record)}\n`;
  if (!("leftOut" in record)) return `${inert(tapLine(record, wide ? Infinity : undefined))}\n`;
  return record.leftOut === 0 ? "" : `${record.leftOut} more were left out.\n`;
}

const options = {
  admin: { type: "string" }, direction: { type: "string" }, method: { type: "string" }, path: { type: "string" }, limit: { type: "string" },
  seconds: { type: "string" }, wide: { type: "boolean" }, output: { type: "string", short: "o" },
} as const;

/** What `countersign-proxy tap --help` prints. */
export const tapHelp = `countersign-proxy tap: live requests of the proxy on this host

  countersign-proxy tap [--admin 127.0.0.1:4191] [--direction inbound|outbound]
      [--method GET] [--path /items] [--limit N] [--seconds N] [--wide]
      [-o json]
  Method, path without its query, status, latency, and both identities; never
  a header or a body. --path is what it begins with; --wide shows whole names
  and paths. From afar, for admins and auditors of the CA:
  countersign tap spiffe://TD/ns/shop/sa/cart
`;
