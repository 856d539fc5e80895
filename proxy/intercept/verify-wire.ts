import { spawn, type ChildProcess } from "node:child_process";
import { parseArgs } from "node:util";
import type { CommandOutput } from "./command.ts";
import { pcapReader } from "./pcap.ts";
import { wireWitness, type WireConnection } from "./wire.ts";

/**
 * Runs `countersign-proxy verify-wire ...`: looks at what really passes on an interface.
 * @returns the exit code: 0 all TLS, 1 plain text was seen or nothing at all, 2 wrong command line, 3 no capture
 */
export async function runVerifyWire(args: readonly string[], { out, err }: CommandOutput): Promise<number> {
  const options = parse(args);
  if (options === undefined || options.help) {
    (options === undefined ? err : out)(wireHelp);
    return options === undefined ? 2 : 0;
  }
  const { networkInterface, seconds, ports } = options;
  const witness = wireWitness();
  const read = pcapReader(witness.see);
  try {
    const capture = await startCapture(networkInterface, ports, read, err);
    out(`Looking at ${networkInterface} for ${seconds} s${ports.length > 0 ? `, TCP port ${ports.join(", ")}` : ""}.\n`);
    await ended(capture, seconds * 1000);
  } catch (error) {
    err(`countersign-proxy verify-wire: ${(error as Error).message}\n`);
    return 3;
  }
  const connections = witness.connections();
  out(table(connections));
  if (witness.missed() > 0) out(`${witness.missed()} segments of further connections were not looked at.\n`);
  if (connections.length === 0) {
    out("Nothing was seen, so nothing is shown: let the apps talk meanwhile.\n");
    return 1;
  }
  const plain = connections.filter(({ verdict }) => verdict === "plaintext").length;
  const unknown = connections.filter(({ verdict }) => verdict === "unknown").length;
  out(plain > 0 ? `× ${plain} of ${connections.length} connections carry plain text.\n` : `√ No plain text in ${connections.length} connections.\n`);
  if (unknown > 0) out(`‼ ${unknown} were open before and could not be judged for sure; reconnect them, or look again.\n`);
  return plain > 0 ? 1 : 0;
}

/** What `countersign-proxy verify-wire --help` prints. */
export const wireHelp = `countersign-proxy verify-wire: is what really passes on the wire TLS?

  countersign-proxy verify-wire --interface eth0 [--seconds 10] [--port 8080]
      captures TCP and says of each connection whether it is TLS; let the apps
      talk meanwhile. Needs root, and tcpdump or dumpcap (package tcpdump or
      wireshark-common).
      Exit code: 0 all TLS, 1 plain text was seen, or nothing, 3 no capture

  --interface NAME   e.g. eth0, or any
  --seconds N        how long to look [default: 10]
  --port LIST        these ports only
`;

interface Options {
  readonly help: boolean;
  readonly networkInterface: string;
  readonly seconds: number;
  readonly ports: readonly number[];
}

function parse(args: readonly string[]): Options | undefined {
  try {
    const text = { type: "string" } as const;
    const { values } = parseArgs({ args: [...args], options: { interface: text, seconds: text, port: text, help: { type: "boolean" } } });
    const ports = (values.port ?? "").split(",").filter((part) => part !== "").map(Number);
    const seconds = Number(values.seconds ?? defaultSeconds);
    const fits = ports.every((port) => Number.isInteger(port) && port > 0 && port <= 65_535) && seconds >= 1 && seconds <= maxSeconds;
    const wanted = values.help === true || (values.interface !== undefined && /^[A-Za-z0-9_.:@-]{1,64}$/.test(values.interface));
    return fits && wanted ? { help: values.help === true, networkInterface: values.interface ?? "", seconds, ports } : undefined;
  } catch {
    return undefined;
  }
}

/** Resolves when the capture has begun. */
async function startCapture(
  networkInterface: string, ports: readonly number[], read: (chunk: Buffer) => void, err: (text: string) => void,
): Promise<ChildProcess> {
  const filter = ports.length === 0 ? "tcp" : `tcp and (${ports.map((port) => `port ${port}`).join(" or ")})`;
  for (const [program, args] of captures(networkInterface, filter)) {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.on("data", (chunk: Buffer) => {
      try {
        read(chunk);
      } catch (error) {
        err(`countersign-proxy verify-wire: ${(error as Error).message}\n`);
        child.kill();
      }
    });
    const begun = await new Promise<"begun" | "missing">((resolve, reject) => {
      let said = "";
      child.once("error", (error: NodeJS.ErrnoException) => error.code === "ENOENT" ? resolve("missing") : reject(error));
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        if (/listening on|^File: /im.test(said)) resolve("begun");
      });
      child.once("exit", (code) => reject(new Error(`${program} ended with ${code}: ${said.trim().split("\n").at(-1)}. It needs root, or CAP_NET_RAW, and an interface that exists`)));
    });
    if (begun === "begun") return child;
  }
  throw new Error("neither tcpdump nor dumpcap is installed; install the package tcpdump");
}

/** Both write the capture to standard output, packet by packet. */
function captures(networkInterface: string, filter: string): readonly (readonly [string, readonly string[]])[] {
  return [
    ["tcpdump", ["-i", networkInterface, "-n", "-U", "--immediate-mode", "-s", "0", "-w", "-", filter]],
    ["dumpcap", ["-i", networkInterface, "-P", "-q", "-w", "-", "-f", filter]],
  ];
}

function ended(child: ChildProcess, afterMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill("SIGINT"), afterMs);
    child.removeAllListeners("exit");
    // Not 'exit': what was captured has to be read to its end.
    child.once("close", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function table(connections: readonly WireConnection[]): string {
  const byPair = new Map<string, { server: string; verdict: string; count: number; bytes: number }>();
  for (const { client, server, verdict, bytes } of connections) {
    const from = client.slice(0, client.lastIndexOf(":"));
    const row = byPair.get(`${from} ${server} ${verdict}`) ?? { server, verdict, count: 0, bytes: 0 };
    byPair.set(`${from} ${server} ${verdict}`, { ...row, count: row.count + 1, bytes: row.bytes + bytes });
  }
  const rows = [["CLIENT", "SERVER", "CONNECTIONS", "BYTES", "WIRE"], ...[...byPair].map(([key, { server, verdict, count, bytes }]) =>
    [key.split(" ")[0]!, server, String(count), String(bytes), verdict])];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd() + "\n").join("");
}

const defaultSeconds = 10;
const maxSeconds = 3600;
