import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { once } from "node:events";
import { canMakeNamespaces, makeNamespaces, type NamespaceHost } from "../../infra/demo/namespaces.ts";

/** Hosts of their own on one wire: network namespaces joined by a bridge that stands in a namespace of its own. */
export interface TestNetwork {
  /** The namespace of the wire: a capture there on the interface named as a host sees all that this host sends and receives. */
  readonly wire: TestHost;
  /** By the host's short name. */
  readonly hosts: Readonly<Record<string, TestHost>>;
  remove(): void;
}

export interface TestHost {
  readonly namespace: string;
  readonly address: string;
  /** Undefined where this machine has no IPv6. */
  readonly address6: string | undefined;
  /** Runs a command on the host to its end. @throws {Error} when it fails */
  run(command: string, args: readonly string[], env?: Readonly<Record<string, string>>): string;
  /** Starts a command on the host with nothing but PATH in its environment, and what is given. */
  start(command: string, args: readonly string[], env?: Readonly<Record<string, string>>): ChildProcess;
}

/** Whether this machine lets us make network namespaces, and redirect in them. */
export function canMakeNetworks(): boolean {
  return canMakeNamespaces(["nft", "list", "tables"], ["iptables", "-t", "nat", "-S"]);
}

/** Makes a host for each name, at 10.77.0.1, .2 and so on, and at fd77::1, ::2 and so on. */
export function makeNetwork(...names: readonly string[]): TestNetwork {
  const { wire, hosts, remove } = makeNamespaces(names, { ipv6: existsSync("/proc/net/if_inet6") });
  const hostIn = ({ namespace, address, address6 }: NamespaceHost): TestHost => {
    const inside = ["netns", "exec", namespace];
    return {
      namespace, address, address6,
      run: (command, args, env = {}) => execFileSync("ip", [...inside, command, ...args], { encoding: "utf8", env: { ...bareEnvironment(), ...env }, timeout: commandTimeoutMs, stdio: ["ignore", "pipe", "pipe"] }),
      start: (command, args, env = {}) => spawn("ip", [...inside, command, ...args], { env: { ...bareEnvironment(), ...env }, stdio: ["ignore", "pipe", "pipe"] }),
    };
  };
  return {
    wire: hostIn({ namespace: wire, address: "", address6: undefined }), remove,
    hosts: Object.fromEntries(Object.entries(hosts).map(([name, host]) => [name, hostIn(host)])),
  };
}

/** Waits until what a process prints has all of the texts. */
export async function printed({ stdout, stderr, exitCode }: ChildProcess, ...texts: readonly string[]): Promise<void> {
  let output = "";
  if (exitCode !== null) throw new Error(`the process ended with ${exitCode} before it printed "${texts.join('", "')}"`);
  for await (const chunk of mergeOf(stdout!, stderr!)) {
    output += String(chunk);
    if (texts.every((text) => output.includes(text))) return;
  }
  throw new Error(`the process ended before it printed "${texts.join('", "')}":\n${output}`);
}

async function* mergeOf(...streams: readonly NodeJS.ReadableStream[]): AsyncGenerator<unknown> {
  const queue: unknown[] = [];
  let open = streams.length;
  let wake: (() => void) | undefined;
  for (const stream of streams) {
    stream.on("data", (chunk) => { queue.push(chunk); wake?.(); });
    stream.on("end", () => { open -= 1; wake?.(); });
  }
  while (open > 0 || queue.length > 0) {
    if (queue.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    while (queue.length > 0) yield queue.shift();
  }
}

/** Ends a process that `start` began, and waits for its end. */
export async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  await once(child, "exit");
}

function bareEnvironment(): Record<string, string> {
  return { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };
}

const commandTimeoutMs = 20_000;
